"""Every argument that cannot be is refused by name: the error says what was given and what is allowed."""

import inspect

import numpy as np
import pytest
from estimator_cases import CASES

from sparsetheory.constraints import Anything

# One case for each class, whichever comes first.
ONE_EACH = {type(case.build(1.0, None)[0]): case for case in reversed(CASES.values())}
MODELS = {kind.__name__: case for kind, case in ONE_EACH.items()}
CANDIDATES = [object(), "nonsense", np.nan, np.inf, -3.5, -1, True, None, 10**30, 1j, [], [None], {}]


def _parameters():
    for name, case in MODELS.items():
        model = case.build(1.0, None)[0]
        for parameter in inspect.signature(type(model).__init__).parameters:
            if parameter != "self":
                yield name, parameter


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_has_one_constraint(name):
    model = MODELS[name].build(1.0, None)[0]
    assert set(model._constraints) == set(model.get_params(deep=False))
    # scikit-learn reads `cv`, and checks it.
    assert {p for p, constraint in model._constraints.items() if isinstance(constraint, Anything)} <= {"cv"}


@pytest.mark.parametrize("name", MODELS)
def test_defaults_are_allowed(name):
    model = MODELS[name].build(1.0, None)[0]
    for parameter in inspect.signature(type(model).__init__).parameters.values():
        if parameter.default is not inspect.Parameter.empty and parameter.name != "self":
            assert model._constraints[parameter.name].accepts(parameter.default), parameter.name


@pytest.mark.parametrize(("name", "parameter"), list(_parameters()))
def test_what_is_not_allowed_is_named_with_what_is(name, parameter):
    model, data = MODELS[name].build(1.0, None)
    constraint = model._constraints[parameter]
    wrong = [value for value in CANDIDATES if not constraint.accepts(value)]
    assert wrong or isinstance(constraint, Anything)
    for value in wrong:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            model.set_params(**{parameter: value}).fit(*data)
        assert str(caught.value) == f"{parameter} must be {constraint}; got {value!r}"


@pytest.mark.parametrize("value", ["nonsense", np.nan, -3.5], ids=["text", "nan", "negative"])
@pytest.mark.parametrize(("name", "parameter"), list(_parameters()))
def test_nonsense_is_refused_by_name(name, parameter, value):
    """Also where a constraint allows the kind of value, and only the data tell that it cannot be."""
    model, data = MODELS[name].build(1.0, None)
    model.set_params(**{parameter: value})
    if parameter == "cv" or (parameter == "checkpoint" and value == "nonsense"):
        pytest.skip("scikit-learn reads cv; any text may be the name of a file")
    with pytest.raises((TypeError, ValueError), match=parameter):
        model.fit(*data)
