"""Optimism: the ellipsoid holds the truth, also where the model is wrong if it knows by how much."""

import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.bandits import LinearBanditProblem, LinUCB, make_reed_solomon_needle, make_sparse_misspecified
from sparsetheory.bandits.regression.ellipsoid import Ellipsoid

pytestmark = pytest.mark.filterwarnings("ignore::sparsetheory.bandits.VacuousBoundWarning")


def _problem(seed=0, eps=0.0, noise_std=0.2, n_actions=60, n_features=5):
    instance = make_sparse_misspecified(n_actions, n_features, 2, eps, "gauss", "confusing", random_state=seed)
    return instance.problem(noise_std=noise_std, random_state=seed)


@given(
    st.integers(0, 10_000), st.sampled_from([0.0, 0.02, 0.2]), st.sampled_from([0.0, 0.2, 1.0]), st.integers(1, 7),
    st.sampled_from([0.1, 1.0]),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_regret_gap_and_certificate_hold(seed, eps, noise_std, batch, regularization):
    problem = _problem(seed, eps, noise_std)
    strategy = LinUCB(300, noise_std=noise_std, delta=1e-4, batch=batch, regularization=regularization).fit(problem)
    assert strategy.n_queries_ == 300
    assert strategy.regret_curve_[-1] <= strategy.regret_bound_ + 1e-9
    assert problem.gap(strategy.action_) <= strategy.bound_
    np.testing.assert_allclose(strategy.bound_, strategy.certificate_.bound, rtol=1e-6)
    assert strategy.certificate_.check(problem).valid


@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([1e-4, 1.0]))
@settings(max_examples=25, deadline=None)
def test_updates_equal_ridge_regression(seed, d, regularization):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((20, d))
    ellipsoid, rows, answers = Ellipsoid(features, regularization), [], []
    for _ in range(15):
        action, rewards = int(rng.integers(20)), rng.standard_normal(rng.integers(1, 4))
        ellipsoid.learn(action, rewards)
        rows += [features[action]] * len(rewards)
        answers += rewards.tolist()
    V = regularization * np.eye(d) + np.array(rows).T @ np.array(rows)
    theta = np.linalg.solve(V, np.array(rows).T @ np.array(answers))
    scale = np.linalg.cond(V)
    np.testing.assert_allclose(ellipsoid.theta(), theta, rtol=1e-10 * scale, atol=1e-10 * scale)
    np.testing.assert_allclose(ellipsoid.predicted, features @ theta, rtol=1e-9, atol=1e-9 * scale)
    squares = np.einsum("ij,jk,ik->i", features, np.linalg.inv(V), features)
    np.testing.assert_allclose(ellipsoid.squares, squares, rtol=1e-9, atol=1e-9 * squares.max() * scale)
    log_det = np.linalg.slogdet(V)[1] - d * np.log(regularization)
    np.testing.assert_allclose(ellipsoid.log_det, log_det, rtol=1e-8, atol=1e-8)


def test_without_inflation_nothing_is_promised_but_the_certificate_knows_the_error():
    problem = _problem(eps=0.1)
    strategy = LinUCB(300, noise_std=0.2, inflate=False).fit(problem)
    assert strategy.regret_bound_ == np.inf
    assert strategy.certificate_.eps == 0.1
    assert strategy.certificate_.check(problem).valid
    exact = LinUCB(300, noise_std=0.2, inflate=False).fit(_problem())
    same = LinUCB(300, noise_std=0.2).fit(_problem())
    np.testing.assert_array_equal(exact.log_.actions, same.log_.actions)
    assert exact.regret_bound_ == same.regret_bound_ < np.inf


def test_regret_per_play_falls_and_best_actions_are_found():
    problem = _problem(noise_std=0.1)
    strategy = LinUCB(4000, noise_std=0.1).fit(problem)
    curve = strategy.regret_curve_
    assert curve[-1] < 2 * curve[1999] * 0.9
    assert problem.gap(strategy.action_) < 0.05


def test_many_rounds_of_many_actions_are_fast():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1000, 20)) / 5
    problem = LinearBanditProblem(features, rewards=features[:, 0], noise_std=1.0, random_state=0)
    LinUCB(10).fit(problem)
    start = time.process_time()
    strategy = LinUCB(5000, delta=0.01).fit(problem)
    # More rounds than updates without renewal; a round is far less than a millisecond.
    assert time.process_time() - start < 6
    assert strategy.certificate_.check(problem).valid


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_one_action_is_asked_at_a_time_and_interruptions_change_nothing(tmp_path, way):
    whole, problem = LinUCB(60, noise_std=0.2, batch=4).fit(_problem(1, 0.05)), _problem(1, 0.05)
    strategy = LinUCB(60, noise_std=0.2, eps=0.05, batch=4).start(problem.features)
    for _ in range(17):
        actions = strategy.ask(2)
        assert len(set(strategy.open_)) <= 1
        strategy.tell(actions, problem.query(actions))
    if way == "file":
        strategy.save(tmp_path / "experiment.npz")
        strategy = LinUCB.load(tmp_path / "experiment.npz", problem.features)
    else:
        strategy = pickle.loads(pickle.dumps(strategy))
    strategy.run(problem)
    np.testing.assert_array_equal(strategy.log_.rewards, whole.log_.rewards)
    assert strategy.regret_bound_ == whole.regret_bound_
    assert pickle.loads(pickle.dumps(strategy)).regret_curve_[-1] == whole.regret_curve_[-1]


def test_budgets_needles_and_single_actions():
    problem = _problem()
    cut = LinUCB(300, noise_std=0.2, batch=7).fit(problem, budget=45)
    assert cut.n_queries_ == 45
    assert cut.regret_curve_[-1] <= cut.regret_bound_
    assert cut.certificate_.check(problem).valid
    needle = make_reed_solomon_needle(5, 4, 2, needle=7).problem()
    assert LinUCB(200, noise_std=0.1).fit(needle).certificate_.check(needle).valid
    only = LinUCB(5).fit(LinearBanditProblem(np.ones((1, 2)), rewards=[1.0]))
    assert (only.regret_bound_, only.certificate_.bound) == (0.0, 0.0)
    zero = LinUCB(5).fit(LinearBanditProblem(np.zeros((3, 2)), rewards=[0.0, 0.0, 0.0], noise_std=1.0, random_state=0))
    assert zero.n_queries_ == 5


def test_a_certificate_is_caught_when_it_lies():
    problem = _problem(eps=0.01)
    certificate = LinUCB(500, noise_std=0.2).fit(problem).certificate_
    assert not replace(certificate, bound=0.5 * certificate.bound).stated().check(problem).valid
    assert not replace(certificate, eps=0.2).check(problem).valid
    assert not replace(certificate, action=int(np.argmin(problem.rewards))).stated().check(problem).valid


@pytest.mark.parametrize(
    "options", [{"horizon": 0}, {"norm_bound": 0.0}, {"regularization": 0.0}, {"delta": 0.0}, {"batch": 0}, {"eps": -1}]
)
def test_bad_parameters_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        LinUCB(**{"horizon": 10, **options}).fit(_problem())


def test_a_live_experiment_has_to_say_how_wrong_the_model_is():
    with pytest.raises(ValueError, match="eps must be given"):
        LinUCB(10).start(np.eye(2))
    assert LinUCB(10, inflate=False).start(np.eye(2)).ask().size == 1


def test_single_precision_is_enough():
    problem = _problem()
    single = LinearBanditProblem(problem.features.astype(np.float32), problem.rewards, noise_std=0.2, random_state=0)
    assert LinUCB(300, noise_std=0.2).fit(single).certificate_.check(single).valid


@pytest.mark.parametrize("unit", [1e3, 1e6, 1e8])
def test_features_that_are_long_against_the_penalty_lose_no_digits(unit):
    rng = np.random.default_rng(0)
    three = rng.standard_normal((30, 3))
    features = unit * np.column_stack([three, three[:, 0]])
    problem = LinearBanditProblem(features, rewards=three[:, 0], noise_std=0.1, random_state=0)
    strategy = LinUCB(300, noise_std=0.1, norm_bound=1 / unit).fit(problem)
    means, ellipsoid = strategy.log_.means(), strategy._ellipsoid
    rows = np.vstack([np.sqrt(means.counts)[:, None] * features[means.actions], np.eye(4)])
    _, singular, right = np.linalg.svd(rows, full_matrices=False)
    squares = np.square(features @ right.T / singular).sum(axis=1)
    np.testing.assert_allclose(ellipsoid.squares, squares, rtol=1e-6)
    assert ellipsoid.log_det == pytest.approx(2 * np.log(singular).sum(), rel=1e-6)
    assert strategy.regret_curve_[-1] <= strategy.regret_bound_ < np.inf
    assert strategy.certificate_.check(problem).status == "valid"
