"""Formulas of bounds: values by hand, monotone where they must be, and never below what can happen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bandits import bounds, core_set_bound


def test_values_by_hand():
    assert bounds.one_shot(0.5, 4.0) == 3.0
    assert bounds.support_net(0.1, 0.2, 2.0, 1.0, 5, 1) == bounds.SearchBound(pytest.approx(0.6), pytest.approx(55.0))
    assert bounds.support_net(0.1, 1.0, 1.0, 1.0, 5, 4, net="grid").n_queries == pytest.approx(5 * 5**4)
    assert bounds.support_greedy(0.25, 8, 8) == bounds.SearchBound(2.5, pytest.approx(core_set_bound(8) + 1))
    found = bounds.design_net(0.1, 2.0, 4, 2)
    assert found.gap == pytest.approx(0.4)
    assert found.n_queries == pytest.approx(6 * (3.0**2 + 24))
    assert bounds.needle_success(0, 4) == 0.25
    assert bounds.needle_success(7, 4) == 1.0


def test_core_sets_of_smaller_rank_are_counted():
    """A support of three dependent columns may need a design for rank two, which the formula puts above rank three."""
    assert core_set_bound(2) > core_set_bound(3)
    assert bounds.support_greedy(0.1, 3, 3).n_queries == core_set_bound(2) + 1


def test_numbers_of_queries_beyond_double_precision_are_infinite():
    assert bounds.design_net(0.1, 1e-3, 10_000, 400).n_queries == math.inf
    assert bounds.support_net(0.1, 1e-3, 1.0, 1.0, 10_000, 400).n_queries == math.inf
    assert bounds.support_greedy(0.1, 10_000, 2000).n_queries == math.inf


def _worst_schedule(n, d, K, eps, sigma, alpha, reward_range):
    """Return the largest bound over all schedules whose phases have m_l, 2 m_l or half-way plays."""
    first = math.ceil(core_set_bound(d))

    def explore(plays, left):
        shortest = first * 2 ** len(plays)
        if left <= shortest:
            yield [*plays, left]
            return
        for length in {shortest, 3 * shortest // 2, min(2 * shortest, left)}:
            if length >= left:
                yield [*plays, left]
            else:
                yield from explore([*plays, length], left - length)

    return max(
        bounds.phased_regret(n, d, K, eps, sigma, alpha, reward_range, plays=plays).regret for plays in explore([], n)
    )


@given(
    st.integers(1, 3000),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.001, 0.01, 0.1]),
    st.sampled_from([0.0, 0.01, 0.2]),
)
def test_regret_without_plays_covers_all_plays(n, d, eps, sigma):
    whole = bounds.phased_regret(n, d, 50, eps, sigma, 0.01, 2.0)
    worst = _worst_schedule(n, d, 50, eps, sigma, 0.01, 2.0)
    assert worst <= whole.regret * (1 + 1e-12) <= 2.0 * n * (1 + 1e-9)


def test_longest_phases_alone_are_no_bound_under_misspecification():
    """With misspecification later phases cost more, so short phases are the worst ones."""
    n, first = 5000, math.ceil(core_set_bound(3))
    longest, left = [], n
    while left:
        longest.append(min(left, 2 * first * 2 ** len(longest)))
        left -= longest[-1]
    known = bounds.phased_regret(n, 3, 50, 0.01, 0.0, 0.01, plays=longest).regret
    assert known < _worst_schedule(n, 3, 50, 0.01, 0.0, 0.01, 1.0)


def test_regret_grows_like_the_root_of_the_number_of_plays():
    plays = 10.0 ** np.arange(8, 13)
    regrets = [bounds.phased_regret(int(n), 5, 100, 0.0, 1.0, 1e-6).regret for n in plays]
    slope = np.polyfit(np.log(plays), np.log(regrets), 1)[0]
    assert 0.45 < slope < 0.55


def test_regret_of_ranks_is_smaller():
    plays = [100, 200, 700]
    known = bounds.phased_regret(1000, 5, 10, 0.001, 0.1, plays=plays)
    lower = bounds.phased_regret(1000, 5, 10, 0.001, 0.1, plays=plays, ranks=[5, 2, 1])
    assert lower.regret < known.regret
    assert known.n_phases == 3
    assert known.delta == pytest.approx(2 * 10 * 3 / (10 * 1000))
    # By hand: everything in the first phase, then the width of the first and its loss, then those of the second.
    first, log = math.ceil(core_set_bound(5)), math.log(10_000)
    second = min(1.0, 0.4 * math.sqrt(4 * 5 * log / first) + 0.004 * 5**0.5 + 0.002)
    third = min(1.0, 0.4 * math.sqrt(4 * 2 * log / (2 * first)) + 0.004 * (5**0.5 + 2**0.5) + 0.002)
    assert lower.regret == pytest.approx(100 + 200 * second + 700 * third)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: bounds.one_shot(-1.0, 2.0), "eps"),
        (lambda: bounds.support_net(0.1, 0.0, 1.0, 1.0, 3, 1), "rho"),
        (lambda: bounds.support_net(0.1, 0.1, 1.0, 1.0, 3, 4), "s"),
        (lambda: bounds.support_net(0.1, 0.1, 1.0, 1.0, 3, 1, net="cells"), "net"),
        (lambda: bounds.design_net(0.1, 0.0, 3, 1), "eta"),
        (lambda: bounds.support_greedy(0.1, 3, 0), "s"),
        (lambda: bounds.needle_success(-1, 5), "n"),
        (lambda: bounds.phased_regret(10, 2, 5, 0.1, 1.0, alpha=1.0), "alpha"),
        (lambda: bounds.phased_regret(10, 2, 5, 0.1, 1.0, plays=[4, 5]), "plays"),
        (lambda: bounds.phased_regret(10, 2, 5, 0.1, 1.0, ranks=[2]), "ranks"),
        (lambda: bounds.phased_regret(10, 2, 5, 0.1, 1.0, plays=[10], ranks=[3]), "ranks"),
        (lambda: bounds.phased_regret(10, 2, 5, 0.1, 1.0, plays=[10], ranks=[2, 2]), "ranks"),
    ],
)
def test_bad_arguments_are_refused(call, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        call()
