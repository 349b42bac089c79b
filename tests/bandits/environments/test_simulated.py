"""Simulated experiments: every reward comes once, in time, and within the stated misspecification."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bandits import (
    CoreSetBandit,
    LinearBanditProblem,
    SimulatedExperiment,
    bounds,
    make_sparse_misspecified,
)


@given(st.integers(0, 3), st.integers(0, 4), st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=8))
def test_every_reward_arrives_once_and_in_time(low, more, batches):
    problem = LinearBanditProblem(np.eye(6), np.arange(6.0))
    experiment = SimulatedExperiment(problem, delay=(low, low + more), random_state=0)
    sent, came = Counter(), Counter()
    for t in range(len(batches) + low + more + 1):
        if t < len(batches):
            experiment.submit(batches[t])
            sent.update(batches[t])
        actions, rewards = experiment.collect()
        np.testing.assert_array_equal(rewards, actions)
        came.update(actions.tolist())
        due = Counter(a for batch in batches[: max(t + 1 - low - more, 0)] for a in batch)
        possible = Counter(a for batch in batches[: max(t + 1 - low, 0)] for a in batch)
        assert due <= came <= possible
        assert experiment.n_waiting == sum(sent.values()) - sum(came.values())
    assert came == sent
    assert problem.n_queries == sum(sent.values())


def test_rewards_come_out_of_order():
    problem = LinearBanditProblem(np.eye(50), np.arange(50.0))
    experiment = SimulatedExperiment(problem, delay=(0, 3), random_state=0)
    experiment.submit(np.arange(50))
    order = np.concatenate([experiment.collect()[0] for _ in range(4)])
    assert sorted(order) == list(range(50))
    assert np.any(np.diff(order) < 0)


@pytest.mark.parametrize("max_drift", [None, 0.05])
def test_drift_is_slow_and_covered(max_drift):
    instance = make_sparse_misspecified(40, 5, 2, 0.1, nu="sign", random_state=0)
    experiment = SimulatedExperiment(instance.problem(), drift=0.02, max_drift=max_drift, random_state=1)
    before, linear = experiment.rewards, instance.linear_rewards()
    for t in range(10):
        assert np.abs(experiment.rewards - linear).max() <= experiment.effective_eps * (1 + 1e-12)
        experiment.submit(np.arange(40))
        actions, rewards = experiment.collect()
        np.testing.assert_allclose(rewards, before[actions])
        assert 0 < np.abs(experiment.rewards - before).max() <= 0.02 + 1e-15
        before = experiment.rewards
        moved = 0.02 * (t + 1)
        assert experiment.effective_eps == pytest.approx(0.1 + min(moved, max_drift or moved))
    assert experiment.eps_after(0) == 0.1
    assert experiment.gap(int(np.argmax(experiment.rewards))) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_an_algorithm_survives_delay_and_drift_within_the_effective_misspecification(seed):
    instance = make_sparse_misspecified(300, 6, 2, 0.01, nu="adversarial", random_state=seed)
    experiment = SimulatedExperiment(instance.problem(), delay=(0, 5), drift=0.001, random_state=seed)
    search = CoreSetBandit(eps=experiment.eps_after(30)).start(instance.features())
    while not search.finished_:
        experiment.submit(search.ask(4))
        search.tell(*experiment.collect())
    # At least two rounds of four questions, and time for the last answers.
    assert search.n_queries_ / 4 <= experiment.n_rounds <= 30
    gap = experiment.gap(search.action_)
    assert gap <= bounds.one_shot(experiment.effective_eps, search.design_.max_leverage)
    assert gap <= search.bound_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": -1}, "delay must be"),
        ({"delay": (3, 1)}, "delay must be a number of rounds or a pair"),
        ({"delay": (1, 2, 3)}, "delay must be a number of rounds or a pair"),
        ({"delay": 0.5}, "delay must be"),
        ({"drift": -0.1}, "drift must be"),
        ({"max_drift": -1.0}, "max_drift must be"),
    ],
)
def test_bad_experiments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SimulatedExperiment(LinearBanditProblem(np.eye(2), [0, 1]), **options)


def test_what_no_experiment_knows_is_refused():
    with pytest.raises(ValueError, match="problem must be a LinearBanditProblem"):
        SimulatedExperiment(np.eye(2))
    experiment = SimulatedExperiment(LinearBanditProblem(np.eye(2), oracle=lambda a: np.ones(len(a))), drift=0.1)
    experiment.submit([0, 1])
    np.testing.assert_array_equal(experiment.collect()[1], 1.0)
    with pytest.raises(ValueError, match="rewards must be given"):
        _ = experiment.rewards
    with pytest.raises(ValueError, match="actions must be numbers from 0 to 1"):
        experiment.submit([2])
