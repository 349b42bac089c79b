"""Regression with small l1 norm: its gap is what theory says, and a wrong model is found out."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.bandits import (
    InconsistentOracleError,
    LinearBanditProblem,
    SparseRegressionBandit,
    make_reed_solomon_needle,
    make_sparse_misspecified,
)

pytestmark = pytest.mark.filterwarnings("ignore::sparsetheory.bandits.VacuousBoundWarning")
ESTIMATORS = ("linf", "bpdn", "lasso")


@given(
    st.integers(0, 10_000), st.sampled_from(["gauss", "sign", "corr", "block"]),
    st.sampled_from(["uniform", "confusing", "adversarial"]), st.sampled_from([0.0, 0.02, 0.3]),
    st.sampled_from([0.0, 0.1]), st.sampled_from(ESTIMATORS), st.sampled_from(["uniform", "design", "e_optimal"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_errors_gap_and_certificate_hold(seed, feature, nu, eps, noise_std, estimator, exploration):
    instance = make_sparse_misspecified(200, 8, 2, eps, feature, nu, random_state=seed)
    problem = instance.problem(noise_std=noise_std, random_state=seed)
    search = SparseRegressionBandit(
        2, eps=eps, noise_std=noise_std, estimator=estimator, exploration=exploration, n_samples=80, delta=1e-5,
        random_state=seed,
    ).fit(problem)  # fmt: skip
    assert search.n_queries_ == 80
    assert np.abs(problem.features @ (search.theta_ - instance.theta)).max() <= search.sup_error_ * (1 + 1e-6) + 1e-7
    assert problem.gap(search.action_) <= search.bound_ + 1e-7
    assert search.certificate_.bound <= search.bound_ * (1 + 1e-9)
    checked = search.certificate_.check(problem)
    assert checked.status == ("valid" if search.kappa_ > 0 else "not applicable")
    if search.kappa_ > 0 and estimator != "lasso" and noise_std == 0:
        # The bound of a constrained estimate in the form in which it is known, with b the largest entry.
        b = np.abs(problem.features).max()
        assert search.sup_error_ <= b * 4 * np.sqrt(2) * eps / np.sqrt(search.kappa_) * (1 + 1e-3) + 1e-4


@pytest.mark.parametrize("estimator", ["linf", "bpdn"])
def test_few_samples_are_enough_for_features_that_are_nearly_uncorrelated(estimator):
    ratios = []
    for seed in range(8):
        nu = ("uniform", "confusing")[seed % 2]
        instance = make_sparse_misspecified(1000, 100, 4, 0.05, "sign", nu, random_state=seed)
        search = SparseRegressionBandit(4, eps=0.05, estimator=estimator, random_state=seed).fit(instance.problem())
        assert search.n_queries_ == np.ceil(16 * np.log(100))
        ratios.append(np.abs(instance.features() @ (search.theta_ - instance.theta)).max() / (0.05 * 2))
    assert max(ratios) <= 3


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_exact_model_is_found_exactly(estimator):
    instance = make_sparse_misspecified(500, 30, 2, 0.0, "sign", random_state=0)
    search = SparseRegressionBandit(2, eps=0.0, estimator=estimator, random_state=0).fit(instance.problem())
    np.testing.assert_allclose(search.theta_, instance.theta, atol=1e-6)
    assert instance.problem().gap(search.action_) <= 1e-6


@pytest.mark.parametrize(("estimator", "noise_std"), [("linf", 0.0), ("bpdn", 0.0), ("linf", 0.02), ("bpdn", 0.02)])
def test_a_wrong_model_is_refused_with_a_bound_of_how_wrong_it_is(estimator, noise_std):
    instance = make_sparse_misspecified(500, 6, 2, 0.4, "sign", "uniform", random_state=0)
    search = SparseRegressionBandit(
        2, eps=0.05, noise_std=noise_std, estimator=estimator, n_samples=200, random_state=0
    )
    with pytest.raises(InconsistentOracleError, match=r"within eps = 0\.05") as caught:
        search.fit(instance.problem(noise_std=noise_std, random_state=0))
    assert 0.05 < caught.value.eps_lower <= 0.4
    again = SparseRegressionBandit(2, eps=0.4, noise_std=noise_std, estimator=estimator, n_samples=200, random_state=0)
    assert np.isfinite(again.fit(instance.problem(noise_std=noise_std, random_state=0)).bound_)


def test_draws_are_logged_with_their_probabilities():
    instance = make_sparse_misspecified(100, 6, 2, 0.1, random_state=0)
    uniform = SparseRegressionBandit(2, eps=0.1, n_samples=40, random_state=0).fit(instance.problem())
    np.testing.assert_allclose(uniform.log_.propensities, 0.01)
    design = SparseRegressionBandit(2, eps=0.1, n_samples=4000, exploration="design", random_state=0)
    log = design.fit(instance.problem()).log_
    for action in np.unique(log.actions):
        (probability,) = set(log.propensities[log.actions == action])
        share = np.mean(log.actions == action)
        assert abs(share - probability) < 5 * np.sqrt(probability / 4000)


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_late_answers_and_interruptions_change_nothing(tmp_path, way):
    problem = make_sparse_misspecified(100, 6, 2, 0.1, "sign", random_state=0).problem()
    whole = SparseRegressionBandit(2, eps=0.1, n_samples=60, random_state=5).fit(problem)
    search = SparseRegressionBandit(2, eps=0.1, n_samples=60, random_state=5).start(problem.features)
    first, second = search.ask(20), search.ask(10)
    search.tell(second[::-1], problem.query(second[::-1]))
    assert search.certify().status == "not applicable"
    if way == "file":
        search.save(tmp_path / "search.npz")
        search = SparseRegressionBandit.load(tmp_path / "search.npz", problem.features)
    else:
        search = pickle.loads(pickle.dumps(search))
    search.tell(first, problem.query(first)).run(problem)
    np.testing.assert_allclose(search.theta_, whole.theta_, atol=1e-9)
    np.testing.assert_allclose(search.certify().bound, whole.certificate_.bound, rtol=1e-6)
    assert search.action_ == whole.action_


def test_budgets_needles_and_single_actions():
    problem = make_sparse_misspecified(100, 6, 2, 0.1, random_state=0).problem()
    cut = SparseRegressionBandit(2, eps=0.1, n_samples=60, random_state=0).fit(problem, budget=10)
    assert (cut.n_queries_, cut.bound_, cut.certificate_.status) == (10, np.inf, "not applicable")
    needle = make_reed_solomon_needle(5, 4, 2, needle=7)
    found = SparseRegressionBandit(4, eps=needle.eps, random_state=0).fit(needle.problem())
    assert found.certificate_.status == "not applicable"
    assert "restricted eigenvalue" in found.certificate_.reason
    assert found.vacuous_
    only = LinearBanditProblem(np.ones((1, 2)), rewards=[1.0])
    assert SparseRegressionBandit(1, eps=0.0).fit(only).certificate_.bound == 0
    zero = LinearBanditProblem(np.eye(3), rewards=[0.0, 0.0, 0.0])
    assert not SparseRegressionBandit(1, eps=0.0, random_state=0).fit(zero).theta_.any()
    one = LinearBanditProblem([[1.0], [0.5]], rewards=[1.0, 0.5])
    assert SparseRegressionBandit(1, eps=0.0, random_state=0).fit(one).action_ == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_certificate_is_caught_when_it_lies(estimator):
    problem = make_sparse_misspecified(100, 6, 2, 0.05, "sign", random_state=0).problem()
    certificate = (
        SparseRegressionBandit(2, eps=0.05, estimator=estimator, n_samples=200, random_state=0)
        .fit(problem)
        .certificate_
    )
    assert certificate.check(problem).valid
    lies = [
        {"bound": 0.9 * certificate.bound},
        {"kappa": 1.1 * certificate.kappa},
        {"eps": 2 * certificate.eps},
        {"fit": replace(certificate.fit, theta=certificate.fit.theta + 1.0)},
    ]
    for lie in lies:
        assert not replace(certificate, **lie).stated().check(problem).valid, lie
    assert not replace(certificate, eps=0.01).check(problem).valid


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_where_sparsity_counts_the_prices_are_needed(estimator):
    problem = make_sparse_misspecified(400, 40, 1, 0.05, "sign", random_state=0).problem()
    certificate = (
        SparseRegressionBandit(1, eps=0.05, estimator=estimator, n_samples=400, random_state=0)
        .fit(problem)
        .certificate_
    )
    assert certificate.check(problem).valid
    blank = replace(certificate.fit, prices=np.zeros_like(certificate.fit.prices))
    assert not replace(certificate, fit=blank).stated().check(problem).valid


@pytest.mark.parametrize(
    "options",
    [
        {"n_nonzero": 0}, {"eps": -0.1}, {"estimator": "ols"}, {"n_samples": 0}, {"n_samples": "many"},
        {"exploration": "greedy"}, {"delta": 0.0}, {"random_state": -1},
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(options):
    problem = make_sparse_misspecified(20, 6, 2, 0.1, random_state=0).problem()
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        SparseRegressionBandit(**{"n_nonzero": 1, "eps": 0.1, **options}).fit(problem)


def test_more_non_zeros_than_features_are_refused():
    problem = make_sparse_misspecified(20, 6, 2, 0.1, random_state=0).problem()
    with pytest.raises(ValueError, match="n_nonzero must be at most the number of features, 6; got 7"):
        SparseRegressionBandit(7, eps=0.1).fit(problem)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_single_precision_is_enough(estimator):
    instance = make_sparse_misspecified(300, 10, 2, 0.05, "gauss", random_state=0)
    features = instance.features().astype(np.float32)
    problem = LinearBanditProblem(features, instance.rewards, eps=0.05)
    search = SparseRegressionBandit(2, eps=0.05, estimator=estimator, n_samples=200, random_state=0).fit(problem)
    assert search.certificate_.check(problem).valid
