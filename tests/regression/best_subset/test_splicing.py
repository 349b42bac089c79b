"""Splicing against brute force over exchanges and supports."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.subset_references import correlated_problem, rss, unit_columns
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.regression import SplicingRegressor
from sparsetheory.regression.best_subset.splicing_search import splice
from sparsetheory.regression.best_subset.subset_least_squares import SubsetLeastSquares
from sparsetheory.regression.columns import Columns

seeds = st.integers(0, 10**6)


@parametrize_with_checks([SplicingRegressor(), SplicingRegressor(1)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@given(seeds, st.integers(1, 5), st.integers(1, 4))
def test_exchanges_strictly_decrease_the_loss_until_none_does(seed, size, max_exchange):
    X, y = correlated_problem(seed)
    U, y = unit_columns(X), y - y.mean()
    subsets = SubsetLeastSquares(Columns(U), y)
    start = np.random.default_rng(seed).choice(12, size, replace=False)
    subsets.include(start)
    found = splice(subsets, subsets.fit(start), max_exchange=max_exchange, max_iter=50, tol=1e-6)
    assert found.converged
    assert (np.diff(found.history) < 0).all()
    support = found.fit.support
    assert np.unique(support).size == size
    assert found.history[0] == pytest.approx(rss(U, y, start), rel=1e-9)
    assert found.history[-1] == pytest.approx(rss(U, y, support), rel=1e-9)
    # The rule, written down again: weakest selected against most correlated others.
    b = np.linalg.lstsq(U[:, support], y)[0]
    scores = np.abs(U.T @ (y - U[:, support] @ b))
    np.testing.assert_allclose(np.abs(found.correlation), scores, atol=1e-10)
    scores[support] = -1
    weak, strong = support[np.argsort(b**2)], np.argsort(-scores)
    for c in range(1, min(max_exchange, size) + 1):
        assert rss(U, y, [*weak[c:], *strong[:c]]) >= (1 - 2e-6) * found.history[-1]


@given(seeds)
def test_orthogonal_columns_give_the_best_subset(seed):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((20, 10)))[0]
    y = rng.standard_normal(20)
    best = min(combinations(range(10), 3), key=lambda s: rss(Q, y, s))
    assert tuple(SplicingRegressor(3, fit_intercept=False).fit(Q, y).support_) == best


def test_brute_force_is_nearly_always_met():
    met = 0
    for seed in range(40):
        X, y = correlated_problem(seed, n=40, d=12)
        U, centred = unit_columns(X), y - y.mean()
        best = min(rss(U, centred, s) for s in combinations(range(12), 3))
        found = rss(U, centred, SplicingRegressor(3).fit(X, y).support_)
        assert found >= best * (1 - 1e-9)
        met += found <= best * (1 + 1e-9)
    assert met >= 38


def _low_rank_problem(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 4)) @ rng.standard_normal((4, 100)) + 0.1 * rng.standard_normal((60, 100))
    return X, X[:, :6].sum(axis=1) - 6 * X[:, 7] + 0.1 * rng.standard_normal(60)


def test_repairs_what_greedy_selection_gets_wrong():
    ratios = []
    for seed in range(10):
        X, y = _low_rank_problem(seed)
        U, centred, greedy = unit_columns(X), y - y.mean(), []
        for _ in range(6):
            residual = centred - U[:, greedy] @ np.linalg.lstsq(U[:, greedy], centred)[0]
            greedy.append(int(np.argmax(np.abs(U.T @ residual))))
        found = SplicingRegressor(6).fit(X, y)
        ratios.append(2 * y.size * found.path_.losses[6] / rss(U, centred, greedy))
    assert np.median(ratios) < 0.8


@given(seeds)
def test_path_reports_the_losses_of_its_supports(seed):
    X, y = correlated_problem(seed)
    path = SplicingRegressor(max_n_nonzero=6).fit(X, y).path_
    U, centred = unit_columns(X), y - y.mean()
    assert [s.size for s in path.supports] == path.sizes.tolist() == list(range(7))
    losses = [rss(U, centred, s) / (2 * y.size) for s in path.supports]
    np.testing.assert_allclose(path.losses, losses, rtol=1e-9)
    assert (np.diff(path.losses) < 0).all()


@pytest.mark.parametrize(
    ("criterion", "cost"),
    [
        ("ebic", np.log(100) + 2 * np.log(30)),
        ("sic", np.log(30) * np.log(np.log(100))),
        ("bic", np.log(100)),
        ("aic", 2.0),
    ],
)
def test_criteria(rng, criterion, cost):
    X = rng.standard_normal((100, 30))
    y = X[:, 3] - X[:, 4] + 0.7 * rng.standard_normal(100)
    model = SplicingRegressor(criterion=criterion, max_n_nonzero=12).fit(X, y)
    path = model.path_
    np.testing.assert_allclose(path.criteria, 100 * np.log(2 * path.losses) + cost * np.arange(13), rtol=1e-12)
    assert model.n_nonzero_ == model.support_.size == np.argmin(path.criteria)
    assert {3, 4} <= set(model.support_)
    np.testing.assert_array_equal(path.supports[model.n_nonzero_], model.support_)


def test_default_criterion_finds_the_size():
    sizes = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((100, 300))
        y = X[:, 3] - 2 * X[:, 7] + X[:, 20] + 0.5 * rng.standard_normal(100)
        sizes.append(SplicingRegressor().fit(X, y).n_nonzero_)
    # A useless feature passes the cost log n + 2 log d with probability about d P(chi2 > 16) = 0.02.
    assert sizes.count(3) >= 18


def test_path_ends_where_nothing_is_left_to_explain(rng):
    X = rng.standard_normal((60, 90))
    model = SplicingRegressor(max_n_nonzero=20).fit(X, X[:, [4, 50]] @ [1.0, -1.0] + 1e3)
    assert model.support_.tolist() == [4, 50]
    assert model.path_.sizes.tolist() == [0, 1, 2]
    assert SplicingRegressor(20).fit(X, X[:, 4]).support_.tolist() == [4]


def test_fewer_independent_columns_than_asked_for(rng):
    X = np.repeat(rng.standard_normal((30, 3)), 4, axis=1)
    y = rng.standard_normal(30)
    model = SplicingRegressor(8).fit(X, y)
    assert np.sum((y - model.predict(X)) ** 2) == pytest.approx(rss(unit_columns(X), y - y.mean(), range(12)), rel=1e-9)
    assert model.support_.size <= 8


def test_constant_response_and_dead_columns(rng):
    X = rng.standard_normal((20, 5))
    model = SplicingRegressor().fit(X, np.full(20, 4.0))
    assert model.support_.size == model.n_nonzero_ == 0
    assert model.predict(X) == pytest.approx(np.full(20, 4.0))
    X[:, 1], X[:, 2] = 0.0, 3.0
    assert SplicingRegressor(5).fit(X, rng.standard_normal(20)).support_.tolist() == [0, 3, 4]


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_storage_does_not_matter(rng, fit_intercept):
    X = rng.standard_normal((60, 40)) * (rng.random((60, 40)) < 0.3)
    y = X[:, 3] - X[:, 4] + 0.3 * rng.standard_normal(60) + 1
    one = SplicingRegressor(fit_intercept=fit_intercept).fit(X, y)
    for other in (sparse.csr_array(X), sparse.csc_matrix(X), np.asfortranarray(X)):
        two = SplicingRegressor(fit_intercept=fit_intercept).fit(other, y)
        np.testing.assert_allclose(two.coef_, one.coef_, atol=1e-11)
        np.testing.assert_allclose(two.path_.losses, one.path_.losses, rtol=1e-10)
    single = SplicingRegressor(fit_intercept=fit_intercept).fit(X.astype(np.float32), y)
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.coef_, one.coef_, atol=1e-5)


def test_scale_of_columns_does_not_matter(rng):
    X, y = correlated_problem(5)
    scales = 10.0 ** rng.uniform(-6, 6, 12)
    one, two = SplicingRegressor().fit(X, y), SplicingRegressor().fit(X * scales, y)
    np.testing.assert_allclose(two.coef_ * scales, one.coef_, rtol=1e-8, atol=1e-12)


def test_weights_are_repetitions_for_the_criterion_too(rng):
    X, y = correlated_problem(8)
    counts = rng.integers(0, 9, y.size)
    weighted = SplicingRegressor().fit(X, y, sample_weight=counts)
    repeated = SplicingRegressor().fit(X.repeat(counts, axis=0), y.repeat(counts))
    np.testing.assert_allclose(weighted.path_.criteria, repeated.path_.criteria, rtol=1e-9)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9, atol=1e-12)


def test_too_few_exchanges_are_reported():
    X, y = _low_rank_problem(0)
    with pytest.warns(ConvergenceWarning, match="max_iter=1;"):
        hasty = SplicingRegressor(6, max_iter=1).fit(X, y)
    assert SplicingRegressor(6).fit(X, y).path_.losses[6] < hasty.path_.losses[6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_nonzero": 0}, "n_nonzero must be None or an integer from 1 to .*; got 0"),
        ({"n_nonzero": 9}, "n_nonzero"),
        ({"max_n_nonzero": 2.5}, "max_n_nonzero"),
        ({"max_n_nonzero": 9}, "max_n_nonzero"),
        ({"criterion": "cp"}, "criterion must be one of .*'cp'"),
        ({"max_exchange": 0}, "max_exchange must be an integer from 1 to .*; got 0"),
        ({"max_iter": True}, "max_iter"),
        ({"tol": -1.0}, "tol"),
    ],
)
def test_bad_parameters(rng, arguments, message):
    with pytest.raises(ValueError, match=message):
        SplicingRegressor(**arguments).fit(rng.standard_normal((20, 8)), np.ones(20))
