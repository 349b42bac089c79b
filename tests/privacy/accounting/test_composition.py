"""Composition of pure messages, against sums over all answers of randomised responses in exact arithmetic."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.privacy import basic_composition, kov_composition
from sparsetheory.privacy.accounting.composition import CompositionCurve

# The curve is raised by one part in 1e9; all roundings are far below another one.
RAISED = 1e-9


def direct_delta(odds, n_rounds, factor):
    """Return sum max(P - factor Q, 0) over all answers of n responses that are true with the given odds, exactly."""
    total = Fraction(0)
    for answers in product((0, 1), repeat=n_rounds):
        lies = sum(answers)
        total += max(odds ** (n_rounds - lies) - factor * odds**lies, 0)
    return total / (1 + odds) ** n_rounds


@pytest.mark.parametrize("n_rounds", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("eps", [0.01, 0.5, 1.0, 4.0])
def test_the_curve_is_that_of_randomised_responses(eps, n_rounds):
    odds, curve = Fraction(math.exp(eps)), kov_composition(eps, n_rounds)
    np.testing.assert_array_equal(curve.eps[: n_rounds // 2 + 1], (n_rounds - 2 * np.arange(n_rounds // 2 + 1)) * eps)
    assert curve.eps[-1] == 0
    for i in range(n_rounds // 2 + 1):
        exact = float(direct_delta(odds, n_rounds, odds ** (n_rounds - 2 * i)))
        assert exact == pytest.approx(curve.delta[i] / (1 + RAISED), rel=1e-11)
    for total in np.linspace(0.0, 1.1 * n_rounds * eps, 23):
        exact = float(direct_delta(odds, n_rounds, Fraction(math.exp(total))))
        # exp(total) is rounded in both.
        assert curve.delta_at(total) == pytest.approx(exact, rel=1e-8, abs=1e-14)


def test_long_compositions_are_those_of_exact_integers():
    # Odds of 2, in integers of two thousand bits.
    n_rounds, curve = 2000, kov_composition(math.log(2), 2000)
    for i in (1, 2, 500, 700, 1000):
        total = sum(
            math.comb(n_rounds, lies) * (2 ** (n_rounds - lies) - 2 ** (n_rounds - 2 * i + lies)) for lies in range(i)
        )
        exact = float(Fraction(total, 3**n_rounds))
        if exact > 1e-280:
            assert exact <= curve.delta[i] <= min(exact * (1 + 2 * RAISED), 1.0)


def test_reference_values():
    assert kov_composition(0.1, 100).eps_at(1e-6) <= 4.8
    # The corners alone, as the theorem lists them, give 4.8.
    curve = kov_composition(0.1, 100)
    assert curve.eps[np.flatnonzero(curve.delta <= 1e-6)[-1]] == pytest.approx(4.8)
    assert kov_composition(1.0, 10).eps_at(1e-6) == pytest.approx(10, abs=1e-4)


@given(
    st.floats(1e-3, 20.0, exclude_min=True),
    st.integers(1, 300),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_eps_and_delta_are_inverse_and_never_above_the_sum(eps, n_rounds, delta):
    curve = kov_composition(eps, n_rounds)
    total = curve.eps_at(delta)
    assert 0 <= total <= n_rounds * eps
    # A total that is rounded moves delta by as much as the rounding of exp(total).
    assert curve.delta_at(total) <= delta * (1 + 1e-9) + 1e-12
    if total > 0 and delta > 1e-6:
        assert curve.delta_at(total * (1 - 1e-6)) > delta * (1 - 1e-9) - 1e-12


@given(st.floats(1e-3, 5.0), st.integers(1, 60))
def test_the_curve_falls_in_eps_and_rises_with_rounds(eps, n_rounds):
    curve, longer = kov_composition(eps, n_rounds), kov_composition(eps, n_rounds + 1)
    assert np.all(np.diff(curve.eps) < 0)
    assert np.all(np.diff(curve.delta) >= 0)
    for total in np.linspace(0, n_rounds * eps, 7):
        assert curve.delta_at(total) <= longer.delta_at(total) * (1 + 1e-9) + 1e-15


def test_one_message_has_what_it_says():
    curve = kov_composition(0.7, 1)
    assert curve.eps_at(0.0) == 0.7
    assert curve.delta_at(0.0) == pytest.approx(math.tanh(0.35), rel=1e-8)
    assert curve.eps_at(math.tanh(0.35) + 1e-6) == 0


def test_probabilities_below_the_range_of_doubles_do_not_promise_more():
    # Half of the corners of a million rounds have no delta that a double holds.
    curve = kov_composition(1e-3, 10**6)
    assert curve.eps_at(0.0) == curve.eps_at(1e-300) == pytest.approx(1000)
    assert curve.eps_at(1e-6) == pytest.approx(4.8865, rel=1e-4)


def test_budgets_that_differ_add_up():
    assert basic_composition([0.1, 0.2, 0.3]) == math.fsum([0.1, 0.2, 0.3])
    assert basic_composition(np.full(1000, 0.01)) == pytest.approx(10, rel=1e-15)


@pytest.mark.parametrize("eps", [0, -1.0, math.nan, math.inf, 20.1, "1", True])
def test_eps_out_of_range_is_named(eps):
    with pytest.raises(ValueError, match=r"^eps must be a number in \(0, 20\]"):
        kov_composition(eps, 3)


@pytest.mark.parametrize("n_rounds", [0, 1.5, -2, 10**8, True])
def test_rounds_out_of_range_are_named(n_rounds):
    with pytest.raises(ValueError, match=r"^n_rounds must be"):
        kov_composition(1.0, n_rounds)


def test_other_bad_arguments_are_named():
    curve = kov_composition(1.0, 2)
    assert isinstance(curve, CompositionCurve)
    for delta in (-1e-9, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"^delta must be"):
            curve.eps_at(delta)
    with pytest.raises(ValueError, match=r"^eps must be"):
        curve.delta_at(-0.1)
    with pytest.raises(ValueError, match=r"^eps\[1\] must be"):
        basic_composition([0.5, -0.5])
    with pytest.raises(ValueError, match="one-dimensional"):
        basic_composition([[0.5]])


@given(st.floats(0.1, 20.0), st.integers(1, 10**5), st.floats(1e-6, 0.9))
def test_totals_are_rounded_to_the_private_side(eps, n_rounds, delta):
    curve = kov_composition(eps, n_rounds)
    # The part in 1e9 by which the curve is raised leaves room for exp of a large total.
    assert curve.delta_at(curve.eps_at(delta)) <= delta * (1 + RAISED)
