"""Results follow the unit of the response and of every feature."""

import numpy as np
import pytest
from estimator_cases import CASES

COLUMN_UNITS = 10.0 ** np.random.default_rng(0).uniform(-8, 8, 100)


def _reference(case, cache={}):  # noqa: B006
    if case.name not in cache:
        model, _ = case.fit()
        cache[case.name] = case.solution(model, 1.0, None)
    return cache[case.name]


def _agree(case, c, D):
    model, data = case.fit(c, D)
    found, wanted = case.solution(model, c, D), _reference(case)
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted) <= case.rtol * np.linalg.norm(wanted)
    assert model.certificate_.check(*data).status == model.certificate_.status


@pytest.mark.parametrize("c", [1e-8, 1e-3, 1e3, 1e8])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_unit_of_the_response(case, c):
    _agree(case, c, None)


@pytest.mark.parametrize("case", [k for k in CASES.values() if k.features], ids=lambda k: k.name)
def test_the_unit_of_every_feature(case):
    _, data = case.build(1.0, None)
    columns = max(A.shape[1] for A in data[0]) if isinstance(data[0], list) else data[0].shape[1]
    _agree(case, 1.0, COLUMN_UNITS[:columns])
