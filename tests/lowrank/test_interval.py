"""Intervals widen by the rounding slack, clip, and decide in three ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.lowrank import ErrorInterval
from sparsetheory.lowrank.interval import resolution, rounding_slack


def test_intervals_decide_in_three_ways():
    interval = ErrorInterval(0.5, 1.0, 100.0)
    assert [interval.decide(e) for e in (0.1, 0.09, 0.07)] == [True, None, False]
    assert ErrorInterval(0.0, 0.0, 0.0).relative() == (0.0, 0.0)
    assert ErrorInterval(0.0, 0.0, 0.0).decide(0.0)


def test_equality_is_accepted():
    assert ErrorInterval(0.25, 0.25, 1.0).decide(0.5) is True


def test_slack_follows_the_smaller_dimension_and_the_logarithm_of_the_larger_one():
    assert rounding_slack(32, 7, 2.0) == rounding_slack(7, 32, 2.0) == 100 * 2.0**-53 * (7 + 5) * 2.0
    assert rounding_slack(5, 2**20, 1.0) == 100 * 2.0**-53 * 25


def test_resolution_grows_with_steps_and_is_twice_what_widens_a_tail():
    zero = ErrorInterval.from_tails(0.0, 0.0, 1.0, (8, 4), "", steps=3)
    assert 2 * zero.relative()[1] == pytest.approx(resolution(8, 4, 3), rel=1e-9, abs=0)
    assert resolution(8, 4, 3) - resolution(8, 4) == pytest.approx(2 * 3 * 16 * 2.0**-53, rel=1e-6, abs=0)


def test_bounds_are_widened_and_clipped():
    interval = ErrorInterval.from_bounds(3.0, 4.0, 5.0, (10, 20), "test")
    slack = rounding_slack(10, 20, 5.0)
    assert (interval.lower, interval.upper, interval.slack) == (3.0 - slack, 4.0 + slack, slack)
    assert (interval.contains(3.0), interval.contains(4.0)) == (True, True)
    assert not interval.contains(3.0 - 2 * slack)
    assert not interval.contains(4.0 + 2 * slack)
    clipped = ErrorInterval.from_bounds(-1.0, 6.0, 5.0, (10, 20), "test")
    assert (clipped.lower, clipped.upper) == (0.0, 5.0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 2))
def test_decisions_agree_with_every_value_inside(a, b, eps):
    lo, hi = min(a, b), max(a, b)
    verdict = ErrorInterval(lo, hi, 1.0).decide(eps)
    if verdict is None:
        assert lo <= eps**2 < hi
    else:
        assert verdict is (hi <= eps**2)
        assert verdict is (lo <= eps**2)


def test_nothing_is_decided_within_the_resolution():
    slack = rounding_slack(10, 10, 1.0)
    assert ErrorInterval.from_bounds(0.9 * slack, 0.9 * slack, 1.0, (10, 10), "").decide(0.0) is None
    assert ErrorInterval.from_bounds(1.1 * slack, 1.1 * slack, 1.0, (10, 10), "").decide(0.0) is False
    noise, tolerance = resolution(10, 10) / 4, resolution(10, 10)
    tail = ErrorInterval.from_tails(noise**2, noise**2, 1.0, (10, 10), "")
    assert [tail.decide(eps) for eps in (0.0, noise, tolerance)] == [None, None, True]
    assert ErrorInterval.from_tails(tolerance**2, tolerance**2, 1.0, (10, 10), "").decide(0.0) is False


def test_tails_move_no_further_than_the_data():
    # The 1-Lipschitz error moves by the backward error; its square by twice that times the error.
    moved = resolution(10, 20) / 2
    interval = ErrorInterval.from_tails(1.0, 4.0, 9.0, (10, 20), "", 2.0)
    assert np.sqrt([interval.lower, interval.upper]) == pytest.approx([1 - 3 * moved, 2 + 3 * moved], rel=1e-15)
    assert interval.slack == pytest.approx(12 * moved, rel=1e-2, abs=0)
    assert (interval.energy, interval.unit) == (9.0, 2.0)


@pytest.mark.parametrize("eps", [-0.1, np.nan])
def test_bad_tolerance(eps):
    with pytest.raises(ValueError, match="eps must be at least 0"):
        ErrorInterval(0.5, 1.0, 100.0).decide(eps)
