"""Intervals widen by the rounding slack, clip, and decide in three ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.lowrank import ErrorInterval
from sparsetheory.lowrank.interval import rounding_slack


def test_intervals_decide_in_three_ways():
    interval = ErrorInterval(0.5, 1.0, 100.0)
    assert [interval.decide(e) for e in (0.1, 0.09, 0.07)] == [True, None, False]
    assert ErrorInterval(0.0, 0.0, 0.0).relative() == (0.0, 0.0)
    assert ErrorInterval(0.0, 0.0, 0.0).decide(0.0)


def test_equality_is_accepted():
    assert ErrorInterval(0.25, 0.25, 1.0).decide(0.5) is True


def test_slack_is_a_hundred_roundings_per_row_or_column():
    assert rounding_slack(30, 7, 2.0) == rounding_slack(7, 30, 2.0) == 100 * 2.0**-53 * 30 * 2.0


def test_bounds_are_widened_and_clipped():
    interval = ErrorInterval.from_bounds(3.0, 4.0, 5.0, (10, 20), "test")
    slack = rounding_slack(10, 20, 5.0)
    assert (interval.lo, interval.hi, interval.slack) == (3.0 - slack, 4.0 + slack, slack)
    assert (interval.contains(3.0), interval.contains(4.0)) == (True, True)
    assert not interval.contains(3.0 - 2 * slack)
    assert not interval.contains(4.0 + 2 * slack)
    clipped = ErrorInterval.from_bounds(-1.0, 6.0, 5.0, (10, 20), "test")
    assert (clipped.lo, clipped.hi) == (0.0, 5.0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 2))
def test_decisions_agree_with_every_value_inside(a, b, eps):
    lo, hi = min(a, b), max(a, b)
    verdict = ErrorInterval(lo, hi, 1.0).decide(eps)
    if verdict is None:
        assert lo <= eps**2 < hi
    else:
        assert verdict is (hi <= eps**2)
        assert verdict is (lo <= eps**2)


def test_zero_tolerance_accepts_rounding_and_nothing_more():
    slack = rounding_slack(10, 10, 1.0)
    assert ErrorInterval.from_bounds(0.9 * slack, 0.9 * slack, 1.0, (10, 10), "").decide(0.0) is True
    assert ErrorInterval.from_bounds(3.1 * slack, 3.1 * slack, 1.0, (10, 10), "").decide(0.0) is False


@pytest.mark.parametrize("eps", [-0.1, np.nan])
def test_bad_tolerance(eps):
    with pytest.raises(ValueError, match="eps must be at least 0"):
        ErrorInterval(0.5, 1.0, 100.0).decide(eps)
