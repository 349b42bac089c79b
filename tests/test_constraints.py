"""Constraints say what they allow, and allow just that."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.constraints import (
    COUNT,
    FINITE,
    FLAG,
    FRACTION,
    JOBS,
    MISSING,
    NONNEGATIVE,
    POSITIVE,
    SIZE,
    Array,
    Choice,
    Instance,
    Integer,
    Real,
    Several,
    check_parameters,
    generator,
)

QUARTER, THREE, THIRD, LARGEST = np.float32(0.25), np.int8(3), Fraction(1, 3), 2**53
NUMBERS = [-1.5, -1, 0, 0.5, 1, 1.5, QUARTER, THREE, THIRD, LARGEST]
NO_NUMBERS = [None, "1", True, np.True_, np.nan, np.inf, -np.inf, 1j, [1.0], np.ones(1), 10**400, object()]


@pytest.mark.parametrize(
    ("constraint", "words", "allowed"),
    [
        (FINITE, "a finite number", NUMBERS),
        (NONNEGATIVE, "a finite non-negative number", [x for x in NUMBERS if x >= 0]),
        (POSITIVE, "a finite positive number", [x for x in NUMBERS if x > 0]),
        (FRACTION, "a number in (0, 1)", [0.5, QUARTER, THIRD]),
        (Real(0.0, 1.0, closed="left"), "a number in [0, 1)", [0, 0.5, QUARTER, THIRD]),
        (Real(-1.0), "a finite number of at least -1", [x for x in NUMBERS if x >= -1]),
        (Real(1.0, closed="neither"), "a finite number above 1", [1.5, THREE, LARGEST]),
        (COUNT, "an integer from 1 to 2**53", [1, THREE, LARGEST]),
        (SIZE, "an integer from 0 to 2**53", [0, 1, THREE, LARGEST]),
        (Integer(-1, 1), "an integer from -1 to 1", [-1, 0, 1]),
        (JOBS, "None or an integer other than 0, up to a million", [None, -1, 1, THREE]),
        (MISSING | COUNT, "None or an integer from 1 to 2**53", [None, 1, THREE, LARGEST]),
        (Choice("auto", 0.5), "one of 'auto', 0.5", [0.5]),
    ],
)
def test_numbers(constraint, words, allowed):
    assert str(constraint) == words
    for value in [*NUMBERS, *NO_NUMBERS]:
        # None, and arrays, which do not compare to one truth value, are told apart by identity.
        expected = any(value is other for other in allowed)
        assert constraint.accepts(value) == expected, value
        if not expected:
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                constraint.check("it", value)
            assert str(caught.value) == f"it must be {words}; got {value!r}"


def test_values_become_plain():
    assert type(COUNT.check("n", np.int32(3))) is int
    assert type(NONNEGATIVE.check("x", np.float32(0.5))) is float
    assert type(FLAG.check("flag", np.True_)) is bool
    assert type((MISSING | COUNT).check("n", np.int64(2))) is int
    assert (MISSING | COUNT).check("n", None) is None


def test_several_arguments_are_named_one_by_one():
    COUNT.require(n=1, m=2)
    with pytest.raises(ValueError, match="m must be an integer from 1 to"):
        COUNT.require(n=1, m=0, k=-1)


@pytest.mark.parametrize("value", [0, "True", None, 1.0])
def test_only_booleans_are_flags(value):
    with pytest.raises(ValueError, match="flag must be True or False; got"):
        FLAG.check("flag", value)


@pytest.mark.parametrize("value", [[1, 2], np.ones((2, 2)), sparse.eye_array(3), (1.0, 2j), 3.0])
def test_arrays(value):
    assert Array().accepts(value)


@pytest.mark.parametrize("value", [None, "ab", {"a": 1}, [[1], [2, 3]], [None], np.array(["a"]), object()])
def test_no_arrays(value):
    with pytest.raises(ValueError, match="weights must be an array of numbers; got"):
        Array().check("weights", value)


def test_sequences_and_instances():
    counts = Several(COUNT)
    assert str(counts) == "a sequence, each entry an integer from 1 to 2**53"
    assert counts.accepts([1, 2])
    assert counts.accepts(np.array([1, 2]))
    assert not counts.accepts([1, 0])
    assert not counts.accepts("12")
    assert not counts.accepts(1)
    assert str(Instance(dict)) == "a dict"
    assert Instance((dict, list)).accepts([])
    assert not Instance(dict).accepts([])


@pytest.mark.parametrize("value", [None, 0, 3, np.int64(3), np.random.default_rng(0), np.random.RandomState(0), [1, 2]])
def test_seeds(value):
    assert isinstance(generator(value), np.random.Generator)


@pytest.mark.parametrize("value", [-1, 1.5, "a", True, [1.5], {}])
def test_no_seeds(value):
    with pytest.raises(
        ValueError, match="random_state must be None, an int of at least 0, a Generator or a RandomState"
    ):
        generator(value)


class _Estimator:
    _constraints = {"n": COUNT, "flag": FLAG}  # noqa: RUF012

    def __init__(self, n, flag):
        self.n, self.flag = n, flag

    def get_params(self, deep):
        return vars(self)


def test_parameters_of_estimators():
    check_parameters(_Estimator(1, False))
    with pytest.raises(ValueError, match="flag must be True or False; got 'no'"):
        check_parameters(_Estimator(1, "no"))
