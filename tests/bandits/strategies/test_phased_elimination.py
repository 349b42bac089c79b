"""Elimination in phases: what is proved of it holds, and it plays the same however it is asked."""

import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.bandits import (
    LinearBanditProblem,
    PhasedElimination,
    bounds,
    make_reed_solomon_needle,
    make_sparse_misspecified,
)

pytestmark = pytest.mark.filterwarnings("ignore::sparsetheory.bandits.VacuousBoundWarning")


def _sphere(n_actions, n_features, seed=0, eps=0.0, noise_std=1.0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n_actions, n_features))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    theta = rng.standard_normal(n_features)
    rewards = features @ (theta / np.linalg.norm(theta)) + eps * rng.uniform(-1, 1, n_actions)
    return LinearBanditProblem(features, rewards=rewards, eps=eps, noise_std=noise_std, random_state=seed)


def _formula(problem, strategy):
    plays = [phase.n_plays for phase in strategy.phases_]
    ranks = [max(1, phase.rank) for phase in strategy.phases_]
    return bounds.phased_regret(
        sum(plays), problem.n_features, problem.n_actions, problem.eps, strategy.noise_std, strategy.alpha,
        float(np.ptp(problem.rewards)), plays=plays, ranks=ranks,
    )  # fmt: skip


@given(
    st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 6), st.sampled_from([0.0, 0.02, 0.2]),
    st.sampled_from([0.0, 0.05, 1.0]), st.integers(1, 20_000),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_regret_gap_and_certificate_hold_and_are_no_worse_than_the_formula(seed, K, d, eps, noise_std, horizon):
    problem = _sphere(K, d, seed, eps, noise_std)
    strategy = PhasedElimination(horizon, noise_std=noise_std, alpha=1e-9).fit(problem)
    assert strategy.n_queries_ == horizon == sum(phase.n_plays for phase in strategy.phases_)
    regret = strategy.regret_curve_[-1]
    assert regret <= strategy.regret_bound_ * (1 + 1e-9) + 1e-9
    assert strategy.regret_bound_ <= _formula(problem, strategy).regret * (1 + 1e-9) + 1e-9
    assert problem.gap(strategy.action_) <= strategy.bound_ + 1e-9
    certificate = strategy.certificate_
    assert certificate.check(problem).status in ("valid", "not applicable")
    assert (strategy.log_.propensities == 1).all()


@given(st.integers(0, 10_000), st.sampled_from(["gauss", "corr", "block", "sign"]), st.sampled_from([1.0, 1.3, 2.0]))
@settings(max_examples=25, deadline=None)
def test_survivors_are_near_the_best_for_the_worst_errors_of_the_model(seed, feature, target_mult):
    instance = make_sparse_misspecified(80, 5, 2, 0.1, feature, "adversarial", random_state=seed)
    problem = instance.problem()
    strategy = PhasedElimination(3000, noise_std=0.0, target_mult=target_mult).fit(problem)
    gaps = [problem.gap(action) for action in strategy.active_]
    assert max(gaps) <= strategy.bound_ + 1e-9
    assert strategy.regret_curve_[-1] <= strategy.regret_bound_ + 1e-6


@given(st.integers(0, 10_000), st.integers(5, 60), st.integers(1, 6), st.sampled_from([0.0, 0.05, 0.5]))
@settings(max_examples=25, deadline=None)
def test_estimates_of_a_phase_err_by_no_more_than_its_bias_and_width(seed, K, d, eps):
    instance = make_sparse_misspecified(K, d, min(2, d), eps, "gauss", "adversarial", random_state=seed)
    problem = instance.problem(noise_std=0.3, random_state=seed)
    strategy = PhasedElimination(1000, noise_std=0.3, alpha=1e-9).fit(problem)
    complete = [phase for phase in strategy.phases_ if np.isfinite(phase.width)]
    errors = np.abs(problem.features @ (strategy.theta_ - instance.theta))[strategy.active_]
    assert errors.max() <= complete[-1].bias(eps, 1.0) + complete[-1].width
    first = np.ceil(bounds.core_set_bound(np.linalg.matrix_rank(problem.features)))
    for number, phase in enumerate(complete):
        assert phase.bias(eps, 1.0) <= 2 * eps * np.sqrt(phase.rank) * (1 + 1e-9)
        assert phase.width <= 0.3 * np.sqrt(4 * phase.rank * np.log(1e9) / (first * 2**number)) * (1 + 1e-9)


def test_one_phase_keeps_the_promise_of_the_one_shot_bound_with_noise():
    problem = _sphere(60, 4, eps=0.05)
    strategy = PhasedElimination(500, noise_std=1.0).fit(problem)
    last = [phase for phase in strategy.phases_ if np.isfinite(phase.width)][-1]
    planned = np.ceil(bounds.core_set_bound(4)) * 2 ** (len(strategy.phases_) - 2)
    assert last.width <= np.sqrt(4 * 4 * np.log(60 * 500) / planned)
    assert last.amplification <= 2 * np.sqrt(4)


@pytest.mark.parametrize("horizon", [10_000, 300_000])
def test_regret_has_the_order_that_is_promised(horizon):
    problem = _sphere(300, 5)
    strategy = PhasedElimination(horizon).fit(problem)
    assert 1 < strategy.regret_curve_[-1] / np.sqrt(5 * horizon * np.log(horizon * 300)) < 12
    assert np.all(np.diff(strategy.regret_curve_) >= 0)


def test_without_noise_and_error_the_first_phase_finds_the_best_action():
    problem = _sphere(200, 6, noise_std=0.0)
    strategy = PhasedElimination(10_000, noise_std=0.0).fit(problem)
    assert problem.gap(strategy.action_) == 0
    first = strategy.phases_[0].n_plays
    assert strategy.regret_curve_[-1] == strategy.regret_curve_[first - 1]


def test_a_million_plays_take_no_time():
    problem = _sphere(1000, 20)
    PhasedElimination(1000).fit(problem)
    start = time.process_time()
    PhasedElimination(1_000_000).fit(problem)
    assert time.process_time() - start < 3


def test_asking_in_small_parts_and_telling_late_plays_the_same():
    problem = _sphere(40, 3)
    whole = PhasedElimination(2000).fit(_sphere(40, 3))
    strategy = PhasedElimination(2000).start(problem.features)
    while strategy.ask(37).size or strategy.open_.size:
        if not strategy.ask(1).size:
            actions = strategy.open_
            strategy.tell(actions, problem.query(actions))
    np.testing.assert_array_equal(strategy.log_.actions, whole.log_.actions)
    np.testing.assert_array_equal(strategy.active_, whole.active_)
    assert strategy.certificate_.status == "not applicable"
    assert strategy.certificate_.reason == "eps is not known"
    np.testing.assert_array_equal(strategy.regret(problem), whole.regret_curve_)


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_an_interrupted_experiment_goes_on_as_if_nothing_had_happened(tmp_path, way):
    whole, problem = PhasedElimination(3000).fit(_sphere(40, 3, eps=0.1)), _sphere(40, 3, eps=0.1)
    strategy = PhasedElimination(3000, eps=0.1).start(problem.features)
    while len(strategy.log_) < 700:
        actions = strategy.ask(100)
        strategy.tell(actions, problem.query(actions))
    early = strategy.certify()
    if way == "file":
        strategy.save(tmp_path / "experiment.npz")
        strategy = PhasedElimination.load(tmp_path / "experiment.npz", problem.features)
    else:
        strategy = pickle.loads(pickle.dumps(strategy))
    assert strategy.certify().bound == early.bound
    strategy.run(problem)
    np.testing.assert_array_equal(strategy.log_.rewards, whole.log_.rewards)
    assert strategy.action_ == whole.action_
    assert strategy.certificate_.bound == whole.certificate_.bound
    assert strategy.regret_bound_ == whole.regret_bound_
    assert pickle.loads(pickle.dumps(strategy)).certificate_.bound == whole.certificate_.bound


def test_a_budget_ends_it_with_what_is_known():
    problem = _sphere(40, 3)
    strategy = PhasedElimination(5000).fit(problem, budget=600)
    assert not strategy.finished_
    assert strategy.n_queries_ == 600 == len(strategy.regret_curve_)
    assert np.isfinite(strategy.certificate_.bound)
    assert strategy.regret_curve_[-1] <= strategy.regret_bound_
    assert PhasedElimination(5000).fit(_sphere(40, 3), budget=0).action_ == 0


def test_needles_and_degenerate_features():
    needle = make_reed_solomon_needle(5, 4, 2, needle=7)
    strategy = PhasedElimination(2000, noise_std=0.0).fit(needle.problem())
    assert strategy.certificate_.check(needle.problem()).valid
    ones = LinearBanditProblem(np.ones((4, 3)), rewards=[1.0, 1.0, 1.0, 1.0], noise_std=1.0, random_state=0)
    assert PhasedElimination(500).fit(ones).n_queries_ == 500
    only = PhasedElimination(50).fit(LinearBanditProblem(np.ones((1, 2)), rewards=[3.0]))
    assert (only.action_, only.regret_bound_, only.certificate_.bound) == (0, 0.0, 0.0)
    # After the first phase the zero row is best, and alone.
    worse = LinearBanditProblem([[0.0], [1.0], [0.5]], rewards=[0.0, -1.0, -0.5], noise_std=0.01, random_state=0)
    strategy = PhasedElimination(500, noise_std=0.01).fit(worse)
    assert strategy.action_ == 0
    assert worse.gap(strategy.action_) <= strategy.certificate_.check(worse).bound
    twice = LinearBanditProblem([[0.0], [0.0], [1.0]], rewards=[0.0, 0.0, -1.0], noise_std=0.01, random_state=0)
    assert PhasedElimination(500, noise_std=0.01).fit(twice).action_ in (0, 1)


def test_a_direction_that_designs_drop_counts_as_misspecification():
    features = np.column_stack([np.random.default_rng(0).uniform(0.5, 1, 30), np.full(30, 1.0)])
    features[:, 1] = features[:, 0] + 1e-7 * np.random.default_rng(1).uniform(-1, 1, 30)
    theta = np.array([1e6, -1e6])
    problem = LinearBanditProblem(features, rewards=features @ theta)
    strategy = PhasedElimination(500, noise_std=0.0, norm_bound=2e6).fit(problem)
    assert strategy.phases_[0].rho_drop > 0
    assert problem.gap(strategy.action_) <= strategy.bound_
    assert strategy.certificate_.check(problem).valid
    assert strategy.regret_curve_[-1] <= strategy.regret_bound_


def test_a_certificate_is_caught_when_it_lies():
    from dataclasses import replace

    problem = _sphere(40, 3, eps=0.05)
    certificate = PhasedElimination(20_000).fit(problem).certificate_
    assert certificate.check(problem).valid
    assert not replace(certificate, bound=0.5 * certificate.bound).stated().check(problem).valid
    assert not replace(certificate, bound=2 * certificate.bound).check(problem).valid
    assert not replace(certificate, delta=certificate.delta / 1e3).stated().check(problem).valid
    worst = int(np.argmin(problem.rewards))
    assert not replace(certificate, action=worst).stated().check(problem).valid


@pytest.mark.parametrize(
    "options",
    [{"horizon": 0}, {"horizon": 2.5}, {"noise_std": -1}, {"alpha": 1.0}, {"target_mult": 0.9}, {"eps": -0.1}],
)
def test_bad_parameters_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        PhasedElimination(**{"horizon": 10, **options}).fit(_sphere(5, 2))


def test_bad_problems_are_refused():
    with pytest.raises(ValueError, match="noise_std must be at least that of the problem"):
        PhasedElimination(10, noise_std=0.5).fit(_sphere(5, 2))
    strategy = PhasedElimination(10).fit(_sphere(5, 2))
    with pytest.raises(ValueError, match="rewards must be given"):
        strategy.regret(LinearBanditProblem(np.eye(5)[:, :2], oracle=len))
    with pytest.raises(ValueError, match="problem must have features of shape"):
        strategy.regret(_sphere(6, 2))


def test_single_precision_is_enough():
    problem = _sphere(100, 4)
    single = LinearBanditProblem(problem.features.astype(np.float32), problem.rewards, noise_std=1.0, random_state=0)
    strategy = PhasedElimination(5000).fit(single)
    assert strategy.certificate_.check(single).valid


def test_bounds_do_not_depend_on_coefficients_where_no_direction_was_dropped():
    proved = set()
    for norm_bound in (1.0, 1e9):
        strategy = PhasedElimination(3000, noise_std=0.3, norm_bound=norm_bound).fit(_sphere(30, 4, noise_std=0.3))
        # Few actions are left at the end, which span less than all.
        assert min(phase.rank for phase in strategy.phases_) < 4
        proved.add((strategy.bound_, strategy.regret_bound_, strategy.certificate_.bound))
    assert len(proved) == 1


@pytest.mark.parametrize("unit", [1.0, 2.0, 1e-3, 1e7])
def test_a_feature_that_is_there_twice_in_other_units_costs_no_certificate(unit):
    features = np.random.default_rng(0).standard_normal((50, 3))
    twice = np.column_stack([features, unit * features[:, 0]])
    problem = LinearBanditProblem(twice, rewards=features[:, 0], noise_std=0.1, random_state=0)
    strategy = PhasedElimination(20_000, noise_std=0.1).fit(problem)
    assert strategy.bound_ <= 0.5
    assert strategy.certificate_.bound <= strategy.bound_ * (1 + 1e-6)
    assert strategy.certificate_.check(problem).status == "valid"


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_dropped_directions_cost_their_length_in_any_units(unit):
    # Two features that differ by so little that designs drop the difference, on which half of the rewards rest.
    rng = np.random.default_rng(0)
    first, tiny = rng.standard_normal(40), 1e-6 * rng.standard_normal(40)
    features = np.column_stack([first, unit * (first + tiny), rng.standard_normal(40)])
    theta = np.array([-5e5, 5e5 / unit, 1.0])
    problem = LinearBanditProblem(features, rewards=features @ theta)
    strategy = PhasedElimination(2000, noise_std=0.0, norm_bound=float(np.linalg.norm(theta))).fit(problem)
    assert any(phase.rho_drop > 0 for phase in strategy.phases_)
    assert problem.gap(strategy.action_) <= strategy.bound_ < np.inf
    assert strategy.certificate_.check(problem).status == "valid"
    assert problem.gap(strategy.action_) <= strategy.certificate_.bound < np.inf


@pytest.mark.parametrize("seed", range(6))
def test_an_action_that_is_left_alone_pays_for_no_width(seed):
    # With heavy tails all but one action may go at once, long before phases are long.
    rng = np.random.default_rng(seed)
    features = rng.standard_t(1.2, (100, 4))
    rewards = features @ rng.standard_normal(4)
    rewards /= np.ptp(rewards)
    problem = LinearBanditProblem(features, rewards=rewards, noise_std=0.1, random_state=seed)
    strategy = PhasedElimination(20_000, noise_std=0.1, alpha=1e-9).fit(problem)
    assert len(strategy.active_) == 1
    assert strategy.regret_curve_[-1] <= strategy.regret_bound_
    assert strategy.regret_bound_ <= bounds.phased_regret(20_000, 4, 100, 0.0, 0.1, 1e-9, 1.0).regret
    assert problem.gap(strategy.action_) == pytest.approx(0, abs=1e-9)
    assert max(strategy.bound_, strategy.certificate_.bound) <= 1e-9
    assert strategy.certificate_.check(problem).status == "valid"
