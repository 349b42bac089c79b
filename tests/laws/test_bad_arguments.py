"""Every argument that cannot be is refused by name."""

import inspect

import numpy as np
import pytest
from estimator_cases import CASES

# Free text, callables of other libraries, or switches whose truth value is taken.
_UNCHECKED = {"checkpoint", "verbose", "cv", "random_state"}
# Seeds, and what joblib and scikit-learn read.
_NO_COUNTS = {"random_state", "n_jobs", "cv"}


def _parameters():
    for name, case in CASES.items():
        if "-" in name:
            continue
        model, _ = case.build(1.0, None)
        for parameter in inspect.signature(type(model).__init__).parameters.values():
            switch = isinstance(parameter.default, bool)
            if parameter.name not in {"self", *_UNCHECKED} and not switch:
                yield name, parameter.name


@pytest.mark.parametrize("value", [object(), "nonsense", np.nan, -3.5], ids=["object", "text", "nan", "negative"])
@pytest.mark.parametrize(("name", "parameter"), list(_parameters()))
def test_nonsense_is_refused_by_name(name, parameter, value):
    model, data = CASES[name].build(1.0, None)
    model.set_params(**{parameter: value})
    with pytest.raises((TypeError, ValueError), match=parameter):
        model.fit(*data)


def _counts():
    for name, case in CASES.items():
        for parameter, value in case.build(1.0, None)[0].get_params().items():
            if (
                isinstance(value, int)
                and not isinstance(value, bool)
                and parameter not in {"random_state", "n_jobs", "cv"}
            ):
                yield name, parameter


@pytest.mark.parametrize(("name", "parameter"), list(_counts()))
def test_counts_that_no_machine_reaches_are_refused_by_name(name, parameter):
    model, data = CASES[name].build(1.0, None)
    with pytest.raises(ValueError, match=parameter):
        model.set_params(**{parameter: 10**30}).fit(*data)


@pytest.mark.parametrize("value", ["a", -1, 1.5, True])
@pytest.mark.parametrize("name", [n for n, c in CASES.items() if "random_state" in c.build(1.0, None)[0].get_params()])
def test_seeds_that_are_none(name, value):
    model, data = CASES[name].build(1.0, None)
    with pytest.raises(ValueError, match="random_state"):
        model.set_params(random_state=value).fit(*data)
