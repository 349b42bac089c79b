"""Successive halving against a plain simulation, and its counts of plays."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bandits import successive_halving


def _curves(limits):
    plays = np.zeros(len(limits))

    def play(arms, n_plays):
        plays[arms] += n_plays
        return np.asarray(limits)[arms] - 1 / plays[arms]

    return play, plays


def _simulated(rewards_after, n_arms, budget, factor):
    """The same by loops over Python lists."""
    n_rounds = 0
    while factor**n_rounds < n_arms:
        n_rounds += 1
    arms, plays = list(range(n_arms)), [0] * n_arms
    for _ in range(n_rounds):
        share = budget // (n_rounds * len(arms))
        for arm in arms:
            plays[arm] += share
        ranked = sorted(arms, key=lambda arm: (-rewards_after(arm, plays[arm]), arm))
        arms = ranked[: math.ceil(len(arms) / factor)]
    return arms, plays


@given(st.integers(1, 20), st.integers(2, 5), st.integers(0, 60), st.integers(0, 99))
def test_arms_and_plays_are_those_of_a_simulation(n_arms, factor, more, seed):
    # Few different limits, so that arms tie.
    limits = np.random.default_rng(seed).integers(0, 4, n_arms) / 4
    play, plays = _curves(limits)
    found = successive_halving(play, n_arms, 5 * n_arms + more, factor=factor)
    arms, expected = _simulated(lambda arm, n: limits[arm] - 1 / n, n_arms, 5 * n_arms + more, factor)
    assert [found.arm] == arms
    assert plays.tolist() == expected
    assert found.n_plays == sum(expected) <= 5 * n_arms + more
    assert [len(one.arms) for one in found.rounds] == [math.ceil(n_arms / factor**k) for k in range(len(found.rounds))]


def test_late_risers_are_found_where_the_first_rewards_deceive():
    def play(arms, n_plays):
        plays[arms] += n_plays
        return np.array([0.6, 0.9])[arms] - np.array([0.0, 1.0])[arms] / plays[arms]

    plays = np.zeros(2)
    assert successive_halving(play, 2, 6).arm == 0
    plays = np.zeros(2)
    assert successive_halving(play, 2, 8).arm == 1


def test_numbers_of_rounds_do_not_depend_on_rounding_of_logarithms():
    # log(125) / log(5) is 3.0000000000000004 in double precision.
    play, _ = _curves(np.arange(125.0))
    assert len(successive_halving(play, 125, 3 * 125, factor=5).rounds) == 3


def test_arms_stay_in_their_order_where_later_rewards_tie():
    # The last arm leads at first, and is level with another one later: of equal rewards the first arm stays.
    answers = iter([[0.1, 0.8, 0.2, 0.9], [0.7, 0.7]])
    found = successive_halving(lambda arms, n_plays: next(answers), 4, 8)
    assert [one.arms.tolist() for one in found.rounds] == [[0, 1, 2, 3], [1, 3]]
    assert found.arm == 1


def test_rewards_of_a_round_stay_where_a_caller_uses_its_array_again():
    buffer = np.zeros(2)

    def play(arms, n_plays):
        buffer[: len(arms)] += arms
        return buffer[: len(arms)]

    found = successive_halving(play, 2, 2)
    buffer[:] = 7
    assert found.rounds[0].rewards.tolist() == [0, 1]


def test_what_a_caller_does_to_its_arms_does_not_matter():
    def play(arms, n_plays):
        rewards = -np.abs(arms - 3.0)
        arms[:] = 0
        return rewards

    assert successive_halving(play, 8, 24).arm == 3


def test_bad_arguments_are_refused():
    play, _ = _curves(np.arange(4.0))
    with pytest.raises(ValueError, match="budget must be at least 8, one play of each of 4 arms in each of 2 rounds"):
        successive_halving(play, 4, 7)
    with pytest.raises(ValueError, match="n_arms must be an integer from 1"):
        successive_halving(play, 0, 7)
    with pytest.raises(ValueError, match="factor must be an integer from 2"):
        successive_halving(play, 4, 70, factor=1)
    for answer in (np.zeros(3), [0.0, np.nan, 0.0, 0.0], np.zeros((4, 1))):
        with pytest.raises(ValueError, match="one number for each of 4 arms"):
            successive_halving(lambda *_, answer=answer: answer, 4, 70)
