"""Whoever presses Ctrl-C, or whose search gives up with an error, loses no answers."""

import pickle

import numpy as np
import pytest

from sparsetheory.bandits import AdaptiveSupportSearch, InconsistentOracleError, LinearBanditProblem, LinUCB
from sparsetheory.bandits.regression import ellipsoid
from sparsetheory.bandits.supports.basis import support_basis

FEATURES = np.random.default_rng(0).uniform(-1, 1, (300, 8))
REWARDS = 0.5 * FEATURES[:, 1] - 0.25 * FEATURES[:, 4] + 0.3 * np.sin(7.0 * np.arange(300))

THINKING = "sparsetheory.bandits.algorithms.adaptive_support_search.support_basis"


pytestmark = pytest.mark.filterwarnings("ignore::sparsetheory.bandits.errors.VacuousBoundWarning")


def problem():
    return LinearBanditProblem(FEATURES, rewards=REWARDS, eps=0.3)


def adaptive():
    return AdaptiveSupportSearch(3, eps=0.3, target=0.63, base="span")


def interrupting(function, call):
    """Return a function whose n-th call is interrupted."""
    calls = 0

    def called(*arguments):
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return function(*arguments)

    return called


def interrupt(where, function, call, action):
    """Do something during which the n-th call of a function is interrupted."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(where, interrupting(function, call))
        with pytest.raises(KeyboardInterrupt):
            action()


def same(left, right):
    assert (left.action_, left.n_queries_, left.finished_) == (right.action_, right.n_queries_, right.finished_)
    np.testing.assert_array_equal(left.queried_, right.queried_)
    assert left.certificate_.bound == pytest.approx(right.certificate_.bound)


@pytest.mark.parametrize("call", [1, 8, 15])
def test_a_search_that_was_interrupted_while_it_thought_goes_on(call):
    search, world = adaptive(), problem()
    interrupt(THINKING, support_basis, call, lambda: search.fit(world))
    assert world.n_queries == len(search.log_) > 0
    same(search.run(world), adaptive().fit(problem()))
    assert world.n_queries == search.n_queries_  # nothing was asked twice


def test_interrupted_again_and_again_it_keeps_the_answers():
    search, world = adaptive(), problem()
    interrupt(THINKING, support_basis, 15, lambda: search.fit(world))
    for call in (1, 3):
        interrupt(THINKING, support_basis, call, lambda: search.run(world))
    same(search.run(world), adaptive().fit(problem()))
    assert world.n_queries == search.n_queries_


def test_interrupted_while_it_sums_up_it_sums_up_later():
    search, world = adaptive(), problem()
    interrupt("sparsetheory.bandits.certificates.sparse_gap.support_basis", support_basis, 1, lambda: search.fit(world))
    assert search.finished_
    same(search.run(world), adaptive().fit(problem()))


def test_an_experiment_whose_oracle_was_interrupted_asks_for_what_is_open():
    world = problem()
    search = adaptive()
    oracle = interrupting(lambda actions: REWARDS[actions], 1)
    broken = LinearBanditProblem(FEATURES, oracle=oracle, eps=0.3)
    with pytest.raises(KeyboardInterrupt):
        search.fit(broken)
    assert search.open_.size
    same(search.run(world), adaptive().fit(problem()))


def test_a_strategy_that_was_interrupted_forgets_what_it_had_half_learned():
    strategy, world = LinUCB(50, noise_std=0.1), problem()
    where = "sparsetheory.bandits.regression.ellipsoid.learn"
    interrupt(where, ellipsoid.learn, 20, lambda: strategy.fit(world))
    same(strategy.run(world), LinUCB(50, noise_std=0.1).fit(problem()))
    assert world.n_queries == 50


def test_the_answers_of_a_search_that_gave_up_are_kept(tmp_path):
    search = AdaptiveSupportSearch(1, eps=1e-3).start(FEATURES)
    with pytest.raises(InconsistentOracleError) as given:
        search.run(problem())
    search.save(tmp_path / "search")
    for again in (pickle.loads(pickle.dumps(search)), AdaptiveSupportSearch.load(tmp_path / "search", FEATURES)):
        np.testing.assert_array_equal(again.log_.actions, search.log_.actions)
        with pytest.raises(InconsistentOracleError) as repeated:
            again.ask()
        assert repeated.value.eps_lower == given.value.eps_lower
