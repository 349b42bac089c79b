"""The penalised estimators."""

import time

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import Lasso
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.penalties.separable import CEL0, MCP
from sparsetheory.regression import WorkingSetLasso, WorkingSetLassoCV, lasso_path


@parametrize_with_checks(
    [
        WorkingSetLasso(alpha=0.1, tol=1e-10),
        WorkingSetLasso(alpha=0.1, penalty="mcp", tol=1e-10),
        WorkingSetLassoCV(n_alphas=5, cv=3, tol=1e-10),
    ]
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _problem(rng, n=60, d=100):
    X = rng.standard_normal((n, d))
    return X, 2 + X[:, 0] - 2 * X[:, 5] + 0.1 * rng.standard_normal(n)


def test_equals_scikit_learn(rng):
    X, y = _problem(rng)
    ours = WorkingSetLasso(alpha=0.1, tol=1e-12).fit(X, y)
    theirs = Lasso(alpha=0.1, tol=1e-12, max_iter=10**5).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-7)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, abs=1e-7)


def test_certificate_is_recomputed_and_can_fail(rng):
    X, y = _problem(rng)
    s = rng.uniform(0.5, 2, y.size)
    model = WorkingSetLasso(alpha=0.1, unpenalised=[7]).fit(X, y, sample_weight=s)
    checked = model.certificate_.check(X, y, sample_weight=s)
    assert checked.valid
    assert checked.measured == pytest.approx(model.dual_gap_, abs=1e-10)
    assert not model.certificate_.check(X, y).valid
    assert not model.certificate_.check(X, y + 0.1 * rng.standard_normal(y.size), sample_weight=s).valid


def test_certificate_of_another_penalty(rng):
    X, y = _problem(rng)
    model = WorkingSetLasso(alpha=0.2, penalty=MCP(1.0, gamma=3.0)).fit(X, y)
    assert model.support_.tolist() == [0, 5]
    assert model.certificate_.check(X, y).valid
    assert not model.certificate_.check(X, 2 * y).valid


def test_a_level_beyond_the_largest_gives_zero(rng):
    X, y = _problem(rng)
    for penalty in ("l1", "mcp"):
        assert not WorkingSetLasso(alpha=100.0, penalty=penalty).fit(X, y).coef_.any()


def test_screening_keeps_what_a_large_gap_leaves_open(rng):
    # Orthonormal columns. The 64 cheap ones are the first two working sets; of the others one is clearly needed, and as
    # long as it is missing, the gap does not tell about the last.
    X = 10 * np.linalg.qr(rng.standard_normal((100, 66)))[0]
    weights, products = np.append(np.full(64, 1e-3), [1.0, 1.0]), np.append(np.full(64, 3e-3), [2.0, 1.05])
    model = WorkingSetLasso(1.0, weights=weights, fit_intercept=False, tol=1e-10).fit(X, X @ products)
    np.testing.assert_allclose(model.coef_, products - weights, atol=1e-5)


def test_level_of_a_given_penalty_object_is_replaced(rng):
    X, y = _problem(rng)
    a, b = (WorkingSetLasso(alpha=0.2, penalty=p).fit(X, y) for p in (MCP(9.0), "mcp"))
    np.testing.assert_array_equal(a.coef_, b.coef_)
    assert clone(a).penalty == MCP(9.0)


def test_cross_validation_picks_the_level_of_least_error(rng):
    X, y = _problem(rng)
    model = WorkingSetLassoCV(n_alphas=15, cv=4).fit(X, y)
    assert model.mse_path_.shape == (15, 4)
    assert model.alpha_ == model.alphas_[np.argmin(model.mse_path_.mean(axis=1))]
    train = np.arange(15, 60)
    fold = lasso_path(X[train], y[train], alphas=model.alphas_, fit_intercept=True)
    np.testing.assert_allclose(model.mse_path_[:, 0], ((fold.predict(X[:15]) - y[:15, None]) ** 2).mean(axis=0))
    assert {0, 5} <= set(model.support_)


def test_every_fold_needs_a_row_that_counts(rng):
    X, y = _problem(rng)
    weights = np.ones(y.size)
    weights[:12] = 0.0
    with pytest.raises(ValueError, match="sample_weight must be positive somewhere in every fold"):
        WorkingSetLassoCV(n_alphas=5).fit(X, y, sample_weight=weights)


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, "a"])
def test_bad_level(rng, alpha):
    with pytest.raises((ValueError, TypeError), match="alpha must be"):
        WorkingSetLasso(alpha=alpha).fit(*_problem(rng))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_iter": 0}, "max_iter must be an integer from 1 to"),
        ({"max_iter": 2.5}, "max_iter must be an integer from 1 to"),
        ({"max_iter": True}, "max_iter must be an integer from 1 to"),
        ({"tol": 0.0}, "tol must be a finite positive number"),
        ({"tol": np.nan}, "tol must be a finite positive number"),
        ({"tol": "a"}, "tol must be a finite positive number"),
        ({"penalty": "lq"}, "penalty 'lq' needs q; pass an object"),
        ({"penalty": "capped_l1"}, "penalty 'capped_l1' needs theta; pass an object"),
        ({"penalty": "l3"}, "penalty"),
        ({"penalty": CEL0(1.0, norms=np.ones(5))}, "penalty must have one number per feature, 100; got 5"),
        ({"weights": np.ones(99)}, "weights must be 100"),
        ({"weights": np.full(100, np.nan)}, "weights must be 100"),
        ({"weights": "a"}, "weights must be None or one non-negative number per feature"),
        ({"unpenalised": [True, False, True]}, "unpenalised must hold indices"),
        ({"unpenalised": np.ones(101, dtype=bool)}, "unpenalised must hold indices"),
        ({"unpenalised": [-1]}, "unpenalised must hold indices"),
        ({"unpenalised": [100]}, "unpenalised must hold indices"),
        ({"unpenalised": [0.5]}, "unpenalised must hold indices"),
        ({"unpenalised": "a"}, "unpenalised must be None or indices of features"),
    ],
)
def test_bad_parameters(rng, parameters, message):
    X, y = _problem(rng)
    for model in (WorkingSetLasso(0.1), WorkingSetLassoCV(n_alphas=3)):
        with pytest.raises(ValueError, match=message):
            model.set_params(**parameters).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_alphas": 0}, "n_alphas must be an integer from 1 to"),
        ({"min_ratio": 1.0}, r"min_ratio must be a number in \(0, 1\); got"),
        ({"min_ratio": "a"}, r"min_ratio must be a number in \(0, 1\); got"),
        ({"alphas": [0.1, np.nan]}, "alphas must be positive"),
        ({"alphas": "a"}, "alphas must be None or positive finite numbers"),
        ({"n_jobs": 0}, "n_jobs must be None or an integer"),
        ({"n_jobs": 1.5}, "n_jobs must be None or an integer"),
    ],
)
def test_bad_parameters_of_cross_validation(rng, parameters, message):
    with pytest.raises(ValueError, match=message):
        WorkingSetLassoCV(**parameters).fit(*_problem(rng))


def test_an_intercept_costs_a_tall_sparse_design_little(rng):
    # Columns are never formed densely: 20,000 of length 20,000 would be 3 GB, and take a hundred times as long.
    shape, count = (20_000, 20_000), 100_000
    rows, columns = rng.integers(0, 20_000, (2, count))
    X = sparse.csc_array((rng.standard_normal(count), (rows, columns)), shape)
    y = X[:, :20].sum(axis=1) + 0.1 * rng.standard_normal(20_000)
    alpha = 0.2 * np.abs(X.T @ (y - y.mean())).max() / y.size
    seconds = {}
    for options in ({"fit_intercept": False}, {}, {"unpenalised": [0, 1]}):
        times = []
        for _ in range(3):
            start = time.process_time()
            model = WorkingSetLasso(alpha, **options).fit(X, y)
            times.append(time.process_time() - start)
        seconds[str(options)] = min(times)
        assert model.certificate_.valid
    plain, centred, free = seconds.values()
    assert centred < 3 * plain + 0.05
    assert free < 5 * plain + 0.05
