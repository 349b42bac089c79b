"""Explore, then commit: the loss has the order that is known, and what is proved holds."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.bandits import (
    ESTC,
    LinearBanditProblem,
    make_estc_hard,
    make_reed_solomon_needle,
    make_sparse_misspecified,
)

pytestmark = pytest.mark.filterwarnings("ignore::sparsetheory.bandits.VacuousBoundWarning")


def _problem(seed=0, eps=0.0, noise_std=1.0, feature="sign", n_actions=300):
    instance = make_sparse_misspecified(n_actions, 12, 2, eps, feature, random_state=seed)
    return instance.problem(noise_std=noise_std, random_state=seed)


@given(
    st.integers(0, 10_000), st.sampled_from(["sign", "gauss", "block", "corr"]), st.sampled_from([0.0, 0.05]),
    st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from(["e_optimal", "design", "uniform"]), st.booleans(),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_regret_gap_and_certificate_hold(seed, feature, eps, noise_std, exploration, strong):
    problem = _problem(seed, eps, noise_std, feature)
    # With the larger penalty the cone of sparse errors is used, with the default mostly that of all errors.
    alpha = 2 * (eps + noise_std * np.sqrt(2 * np.log(24 / 1e-4) / 500)) if strong else None
    strategy = ESTC(
        2, horizon=3000, noise_std=noise_std, exploration=exploration, alpha=alpha, delta=1e-4, random_state=seed
    ).fit(problem)
    assert strategy.n_queries_ == 3000
    assert strategy.n_explored_ <= 3000
    assert strategy.regret_curve_[-1] <= strategy.regret_bound_ * (1 + 1e-9)
    assert problem.gap(strategy.action_) <= strategy.bound_
    assert strategy.certificate_.bound <= strategy.bound_ * (1 + 1e-6)
    assert strategy.certificate_.check(problem).status in ("valid", "not applicable")


@pytest.mark.parametrize(("eps", "low", "high"), [(0.0, 0.6, 0.72), (0.05, 0.66, 0.85)])
def test_regret_grows_like_the_power_two_thirds_and_faster_where_the_model_is_wrong(eps, low, high):
    horizons = np.array([10**3, 10**4, 10**5, 10**6])
    # The loss after the exploration is a gap of a multiple of eps, which varies; the mean over instances is stable.
    regrets = np.zeros(len(horizons))
    for seed in range(3):
        for i, horizon in enumerate(horizons):
            instance = make_sparse_misspecified(500, 20, 2, eps, "sign", random_state=seed)
            problem = instance.problem(noise_std=1.0, random_state=seed)
            strategy = ESTC(2, horizon=int(horizon), exploration="uniform", random_state=seed).fit(problem)
            regrets[i] += strategy.regret_curve_[-1]
    slope = np.polyfit(np.log(horizons), np.log(regrets), 1)[0]
    assert low < slope < high


def test_the_length_of_the_exploration_is_that_of_the_formula():
    problem = _problem(noise_std=0.5)
    strategy = ESTC(2, horizon=50_000, noise_std=0.5, exploration="uniform", random_state=0).fit(problem)
    smallest = np.linalg.eigvalsh(problem.features.T @ problem.features / problem.n_actions)[0]
    assert strategy.n_explored_ == np.ceil((50_000**2 * 2 * (2 * 0.5) ** 2 * np.log(24) / smallest**2) ** (1 / 3))
    draws = strategy.log_.propensities[: strategy.n_explored_]
    np.testing.assert_allclose(draws, 1 / problem.n_actions)
    assert (strategy.log_.propensities[strategy.n_explored_ :] == 1).all()
    assert len(set(strategy.log_.actions[strategy.n_explored_ :])) == 1


def test_an_e_optimal_design_explores_less_on_the_instance_that_is_made_for_it():
    problem = make_estc_hard(6, 3, kappa=0.5, random_state=0).problem(noise_std=1.0, random_state=0)
    lengths = [
        ESTC(3, horizon=10**5, exploration=kind, random_state=0).fit(problem).n_explored_
        for kind in ("e_optimal", "uniform")
    ]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_late_answers_and_interruptions_change_nothing(tmp_path, way):
    whole, problem = ESTC(2, horizon=2000, random_state=3).fit(_problem(1)), _problem(1)
    strategy = ESTC(2, horizon=2000, eps=0.0, random_state=3).start(problem.features)
    for _ in range(5):
        actions = strategy.ask(50)
        strategy.tell(actions, problem.query(actions))
    assert strategy.certify().status == "not applicable"
    if way == "file":
        strategy.save(tmp_path / "experiment.npz")
        strategy = ESTC.load(tmp_path / "experiment.npz", problem.features)
    else:
        strategy = pickle.loads(pickle.dumps(strategy))
    strategy.run(problem)
    np.testing.assert_array_equal(strategy.log_.actions, whole.log_.actions)
    np.testing.assert_array_equal(strategy.theta_, whole.theta_)
    assert strategy.certificate_.bound == whole.certificate_.bound


def test_budgets_needles_and_degenerate_features():
    cut = ESTC(2, horizon=2000, random_state=0).fit(_problem(), budget=100)
    assert (cut.n_queries_, cut.n_explored_, cut.certificate_.status) == (100, 100, "not applicable")
    assert cut.regret_curve_[-1] <= cut.regret_bound_
    needle = make_reed_solomon_needle(5, 4, 2, needle=7).problem()
    explored = ESTC(4, horizon=500, noise_std=0.1, exploration="uniform", random_state=0).fit(needle)
    assert explored.n_explored_ == 500  # the features do not span all directions
    assert ESTC(1, horizon=5).fit(LinearBanditProblem(np.ones((1, 3)), rewards=[1.0])).regret_bound_ == 0
    one = LinearBanditProblem(np.array([[1.0], [0.5]]), rewards=[1.0, 0.5], noise_std=0.1, random_state=0)
    assert ESTC(1, horizon=500, noise_std=0.1, random_state=0).fit(one).action_ == 0


@pytest.mark.parametrize(
    "options",
    [{"n_nonzero": 0}, {"horizon": 0}, {"exploration": "all"}, {"max_reward": 0.0}, {"alpha": -1.0}, {"delta": 1.0}],
)
def test_bad_parameters_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        ESTC(**{"n_nonzero": 1, "horizon": 10, **options}).fit(_problem())


def test_more_non_zeros_than_features_are_refused():
    with pytest.raises(ValueError, match="n_nonzero must be at most the number of features, 12; got 13"):
        ESTC(13, horizon=10).fit(_problem())
