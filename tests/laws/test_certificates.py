"""A right fit is certified, and no corrupted one is."""

from dataclasses import fields, replace

import numpy as np
import pytest
from estimator_cases import CASES, FLAT

from sparsetheory.certificates import Certificate, Status

# What describes the problem that was solved, or the evidence, instead of the solution.
_NOT_THE_SOLUTION = {"feature_alphas", "distances"}


@pytest.fixture(scope="module")
def fitted():
    cache = {}

    def fit(name):
        if name not in cache:
            cache[name] = CASES[name].fit()
        return cache[name]

    return fit


def _solution_arrays(certificate):
    """Yield name and value of the fields that hold floating-point arrays, or lists of them."""
    for field in fields(certificate):
        value = getattr(certificate, field.name)
        if field.name in _NOT_THE_SOLUTION:
            continue
        if isinstance(value, np.ndarray) and value.dtype.kind in "fc" and value.size:
            yield field.name, value
        if isinstance(value, list | tuple) and value and all(isinstance(v, np.ndarray) for v in value):
            yield field.name, value


def _changed(value, change):
    """Apply a change to an array, or to the first of several."""
    if isinstance(value, np.ndarray):
        copy = value.copy()
        change(copy.reshape(-1))
        return copy
    first = value[0].copy()
    change(first.reshape(-1))
    return type(value)([first, *value[1:]])


def _move(flat):
    flat[np.argmax(np.abs(flat))] *= 1.01


def _exchange(flat):
    largest, smallest = np.argmax(np.abs(flat)), np.argmin(np.abs(flat))
    flat[[largest, smallest]] = flat[[smallest, largest]]


def _drop(flat):
    flat[np.argmax(np.abs(flat))] = 0


def _poison(flat):
    flat[0] = np.nan


def _clear(flat):
    flat[:] = 0


CORRUPTIONS = {"moved": _move, "exchanged": _exchange, "dropped": _drop, "nan": _poison, "all zero": _clear}


@pytest.mark.parametrize("name", CASES)
def test_a_right_fit_is_certified(name, fitted):
    model, data = fitted(name)
    certificate = model.certificate_
    assert isinstance(certificate, Certificate)
    again = certificate.check(*data)
    assert again.status == certificate.status
    if certificate.status is Status.NOT_APPLICABLE:
        assert certificate.reason
    else:
        assert certificate.valid, certificate
        assert np.isfinite(certificate.bound)
        assert again.measured is None or again.measured <= again.bound * 1.001


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("name", CASES)
def test_no_corrupted_solution_is_certified(name, corruption, fitted):
    model, data = fitted(name)
    tried = 0
    for field, value in _solution_arrays(model.certificate_):
        wrong = _changed(value, CORRUPTIONS[corruption])
        corrupted = replace(model.certificate_, **{field: wrong})
        assert not corrupted.check(*data).valid, field
        tried += 1
    assert tried, "the certificate holds no solution"


@pytest.mark.parametrize("factor", [0.1, 10.0])
@pytest.mark.parametrize("name", CASES)
def test_the_promise_is_recomputed(name, factor, fitted):
    model, data = fitted(name)
    certificate = model.certificate_
    assert not replace(certificate, bound=certificate.bound * factor).check(*data).valid


@pytest.mark.parametrize("name", FLAT)
def test_no_other_intercept_is_certified(name, fitted):
    model, data = fitted(name)
    if any(field.name == "intercept" for field in fields(model.certificate_)):
        moved = replace(model.certificate_, intercept=model.certificate_.intercept + 1.0)
        assert not moved.check(*data).valid


@pytest.mark.parametrize("name", FLAT)
def test_no_other_response_is_certified(name, fitted):
    model, (X, y) = fitted(name)
    rng = np.random.default_rng(0)
    for other in (y + 1000.0, y + rng.standard_normal(y.size), 1.1 * y, rng.permutation(y)):
        assert not model.certificate_.check(X, other).valid


@pytest.mark.parametrize("name", FLAT)
def test_no_other_design_is_certified(name, fitted):
    model, (X, y) = fitted(name)
    rng = np.random.default_rng(0)
    for other in (rng.permutation(X, axis=1), 1.1 * X, rng.standard_normal(X.shape)):
        assert not model.certificate_.check(other, y).valid


@pytest.mark.parametrize("name", FLAT)
def test_data_of_another_shape_are_refused(name, fitted):
    model, (X, y) = fitted(name)
    with pytest.raises(ValueError, match=r"features|columns|shape"):
        model.certificate_.check(X[:, :-1], y)
    with pytest.raises(ValueError, match=r"samples|rows|shape|length"):
        model.certificate_.check(X, y[:-1])


# What a check finds anew.
_FOUND = {"measured", "status", "reason"}


def _other(value):
    """Return another value of the same kind, or None for what is not a single number, flag, text or list of rules."""
    if isinstance(value, bool | np.bool_):
        return not value
    if isinstance(value, str):
        return value + ", or so"
    if isinstance(value, float | np.floating):
        return 2 * value if value else 0.5
    if isinstance(value, tuple) and value and not isinstance(value[0], int | tuple | np.ndarray):
        return value[:-1]
    return None


@pytest.mark.parametrize("name", CASES)
def test_no_term_of_the_promise_can_be_changed(name, fitted):
    model, data = fitted(name)
    certificate = model.certificate_
    for field in fields(certificate):
        other = _other(getattr(certificate, field.name))
        if field.name in _FOUND or other is None:
            continue
        assert not replace(certificate, **{field.name: other}).check(*data).valid, field.name


@pytest.mark.parametrize("term", ["tol", "eps", "precision", "iteration"])
@pytest.mark.parametrize("name", CASES)
def test_a_looser_tolerance_is_another_statement(name, term, fitted):
    model, data = fitted(name)
    certificate = model.certificate_
    if hasattr(certificate, term):
        looser = {term: 100 * getattr(certificate, term) + 1e-6, "bound": 100 * certificate.bound}
        assert not replace(certificate, **looser).check(*data).valid


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("name", CASES)
def test_no_number_of_a_certificate_is_nonsense(name, value, fitted):
    model, data = fitted(name)
    certificate = model.certificate_
    for field in fields(certificate):
        if field.name not in _FOUND and isinstance(getattr(certificate, field.name), float):
            wrong = replace(certificate, **{field.name: value})
            restated = wrong.stated() if type(wrong).TERMS else wrong
            assert not wrong.check(*data).valid, field.name
            assert not restated.check(*data).valid or field.name == "intercept", field.name
