"""Preconditioned Lassos against explicit preconditioning and optimality conditions."""

from dataclasses import replace

import numpy as np
import pytest
from regression.subset_references import unit_columns
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.regression import OutlierPeelingLasso, PufferLasso

METHODS = [PufferLasso, OutlierPeelingLasso]


@parametrize_with_checks([PufferLasso(tol=1e-10), OutlierPeelingLasso(tol=1e-10)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _problem(rng, n=80, d=30):
    X = (rng.standard_normal((n, d)) + 2 * rng.standard_normal((n, 1))) * 10.0 ** rng.uniform(-2, 2, d) + 5
    return X, X[:, 3] / X[:, 3].std() - 2 * X[:, 7] / X[:, 7].std() + 0.3 * rng.standard_normal(n)


@pytest.mark.parametrize(("n", "d"), [(80, 30), (30, 80), (40, 40)])
def test_puffer_is_the_lasso_of_the_preconditioned_problem(rng, n, d):
    X, y = _problem(rng, n, d)
    Z = np.sqrt(n) * unit_columns(X)
    left, values, _ = np.linalg.svd(Z, full_matrices=False)
    kept = values > 1e-10 * values[0]
    F = np.sqrt(n) * (left[:, kept] / values[kept]) @ left[:, kept].T
    alpha = 0.3 * np.abs((F @ Z).T @ F @ (y - y.mean())).max() / n
    reference = Lasso(alpha, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(F @ Z, F @ (y - y.mean()))
    model = PufferLasso(alpha, tol=1e-13).fit(X, y)
    assert model.rank_ == kept.sum()
    assert model.support_.size > 1
    norms = np.linalg.norm(X - X.mean(axis=0), axis=0) / np.sqrt(n)
    np.testing.assert_allclose(model.coef_ * norms, reference.coef_, atol=1e-6)
    assert model.intercept_ == pytest.approx(np.mean(y - X @ model.coef_), rel=1e-9)


def test_puffer_on_orthogonal_columns_is_the_lasso(rng):
    Q = np.sqrt(40) * np.linalg.qr(rng.standard_normal((40, 12)))[0]
    y = rng.standard_normal(40)
    model = PufferLasso(0.1, fit_intercept=False, tol=1e-13).fit(Q, y)
    u = Q.T @ y / 40
    np.testing.assert_allclose(model.coef_, np.sign(u) * np.maximum(np.abs(u) - 0.1, 0), atol=1e-6)


def test_puffer_undoes_correlation_between_columns(rng):
    X = rng.standard_normal((400, 30)) + 5 * rng.standard_normal((400, 1))
    y = X[:, :3] @ [1.0, 1.0, 1.0] + 0.1 * rng.standard_normal(400)
    assert PufferLasso(0.5).fit(X, y).support_.tolist() == [0, 1, 2]


def _cancelling(rng, n=200, d=50):
    """Two columns that nearly agree, and a response along their difference."""
    X = rng.standard_normal((n, d))
    X[:, 11] = X[:, 4] + 0.001 * rng.standard_normal(n)
    signal = 1000 * (X[:, 11] - X[:, 4])
    return X, signal, signal + 0.1 * rng.standard_normal(n)


def test_peeling_saves_cancelling_features(rng):
    X, signal, y = _cancelling(rng)
    model = OutlierPeelingLasso(0.05).fit(X, y)
    assert model.peeled_.tolist() == [4, 11]
    assert model.n_outliers_ == 1
    plain = Lasso(0.05, max_iter=10**5).fit(X, y)
    assert np.mean((model.predict(X) - signal) ** 2) < 0.01
    assert np.mean((plain.predict(X) - signal) ** 2) > 0.5


def test_peeled_features_satisfy_the_optimality_conditions(rng):
    X, _, y = _cancelling(rng)
    X *= 10.0 ** rng.uniform(-2, 2, 50)
    y = y + X[:, 20] / X[:, 20].std()
    weights = rng.uniform(0.2, 2.0, 200)
    model = OutlierPeelingLasso(0.05, tol=1e-13).fit(X, y, sample_weight=weights)
    weights /= weights.mean()
    centred = X - np.average(X, axis=0, weights=weights)
    scales = np.sqrt(np.average(centred**2, axis=0, weights=weights))
    slope = centred.T @ (weights * (y - model.predict(X))) / 200 / scales
    free = np.isin(np.arange(50), model.peeled_)
    active = (model.coef_ != 0) & ~free
    assert active.any()
    assert np.abs(slope[free]).max() < 1e-9
    np.testing.assert_allclose(slope[active], 0.05 * np.sign(model.coef_[active]), atol=1e-6)
    assert np.abs(slope).max() < 0.05 + 1e-6


def test_without_outliers_peeling_is_the_lasso(rng):
    X = rng.standard_normal((200, 20))
    y = X[:, 3] - 2 * X[:, 7] + rng.standard_normal(200)
    model = OutlierPeelingLasso(0.1, tol=1e-13).fit(X, y)
    assert model.n_outliers_ == model.peeled_.size == 0
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    reference = Lasso(0.1, tol=1e-14).fit(Z, y)
    np.testing.assert_allclose(model.coef_ * X.std(axis=0), reference.coef_, atol=1e-6)


def test_known_covariance_shows_outliers_of_wide_designs(rng):
    X, _, y = _cancelling(rng, 40, 60)
    assert OutlierPeelingLasso().fit(X, y).n_outliers_ == 0
    covariance = np.eye(60)
    covariance[4, 11] = covariance[11, 4] = 1.0
    covariance[11, 11] = 1.0 + 1e-6
    model = OutlierPeelingLasso(covariance=4 * covariance).fit(X, y)
    assert model.peeled_.tolist() == [4, 11]


def test_too_many_outliers_are_reported(rng):
    X = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 50)) + 1e-3 * rng.standard_normal((60, 50))
    with pytest.warns(UserWarning, match="47 outlying eigenvalues ask for .* only the first 20"):
        model = OutlierPeelingLasso().fit(X, rng.standard_normal(60))
    assert model.peeled_.size == 20


@pytest.mark.parametrize("method", METHODS)
class TestBoth:
    def test_storage_and_scale_do_not_matter(self, rng, method):
        X = rng.standard_normal((60, 20)) * (rng.random((60, 20)) < 0.4)
        X[:, 2] = 0.0
        y = X[:, 3] - X[:, 4] + 0.3 * rng.standard_normal(60) + 1
        for fit_intercept in (True, False):
            one = method(0.1, tol=1e-13, fit_intercept=fit_intercept).fit(X, y)
            assert one.support_.size > 1
            for other in (sparse.csr_array(X), np.asfortranarray(X)):
                two = method(0.1, tol=1e-13, fit_intercept=fit_intercept).fit(other, y)
                np.testing.assert_allclose(two.coef_, one.coef_, atol=1e-6)
            scales = 10.0 ** rng.uniform(-6, 6, 20)
            scaled = method(0.1, tol=1e-13, fit_intercept=fit_intercept).fit(X * scales, y)
            np.testing.assert_allclose(scaled.coef_ * scales, one.coef_, atol=1e-6)
            assert method(0.1).fit(X.astype(np.float32), y).coef_.dtype == np.float32

    def test_weights_are_repetitions(self, rng, method):
        X, y = _problem(rng)
        counts = rng.integers(0, 4, y.size)
        weighted = method(0.1, tol=1e-13).fit(X, y, sample_weight=counts)
        repeated = method(0.1, tol=1e-13).fit(X.repeat(counts, axis=0), y.repeat(counts))
        scales = X.std(axis=0)
        np.testing.assert_allclose(weighted.coef_ * scales, repeated.coef_ * scales, atol=1e-6)

    def test_constant_data(self, rng, method):
        for X, y in ((rng.standard_normal((20, 4)), np.ones(20)), (np.ones((20, 4)), rng.standard_normal(20))):
            model = method(0.1).fit(X, y)
            assert not model.coef_.any()
            assert model.intercept_ == pytest.approx(y.mean())

    def test_too_few_iterations_are_reported(self, rng, method):
        X = rng.standard_normal((100, 400)) + rng.standard_normal((100, 1))
        y = X[:, :60].sum(axis=1)
        with pytest.warns(ConvergenceWarning, match="max_iter=1 working sets"):
            method(1e-3, max_iter=1, tol=1e-10).fit(X, y)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"alpha": 0.0}, "alpha must be a finite positive number; got 0"),
            ({"alpha": -1.0}, "alpha"),
            ({"alpha": np.nan}, "alpha"),
            ({"tol": 0.0}, "tol must be a finite positive number"),
            ({"max_iter": 0}, "max_iter must be an integer from 1 to"),
        ],
    )
    def test_bad_parameters(self, rng, method, arguments, message):
        with pytest.raises(ValueError, match=message):
            method(**arguments).fit(rng.standard_normal((20, 4)), np.ones(20))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_nonzero": 0}, "n_nonzero must be an integer from 1 to"),
        ({"threshold": 0.0}, "threshold must be a finite positive number"),
        ({"covariance": np.eye(3)}, r"covariance must have shape \(4, 4\); got \(3, 3\)"),
        ({"covariance": np.triu(np.ones((4, 4)))}, "covariance must be finite and symmetric"),
        ({"covariance": np.full((4, 4), np.nan)}, "covariance must be finite"),
        ({"covariance": -np.eye(4)}, "non-negative variances"),
    ],
)
def test_bad_parameters_of_peeling(rng, arguments, message):
    with pytest.raises(ValueError, match=message):
        OutlierPeelingLasso(**arguments).fit(rng.standard_normal((20, 4)), np.ones(20))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "d"), [(80, 30), (30, 50)])
def test_certificates_are_sharp(rng, method, n, d):
    X, y = _problem(rng, n, d)
    weights = rng.uniform(0.5, 2, n)
    alpha = 0.1 if method is OutlierPeelingLasso else 0.5
    model = method(alpha).fit(X, y, sample_weight=weights)
    c = model.certificate_
    assert model.support_.size > 1
    assert c.valid
    assert c.check(sparse.coo_array(X), y.tolist(), weights).valid
    assert model.dual_gap_ == c.measured <= c.bound
    moved = c.coef.copy()
    moved[model.support_[0]] *= 1.05
    wrong = [
        replace(c, coef=moved),
        replace(c, coef=np.where(c.coef == 0, np.nan, c.coef)),
        replace(c, intercept=c.intercept + 0.05),
        replace(c, bound=2 * c.bound),
        replace(c, bound=c.bound / 2),
        replace(c, tol=2 * c.tol),
        replace(c, alpha=1.2 * c.alpha),
        replace(c, fit_intercept=False),
    ]
    assert not any(w.check(X, y, weights).valid for w in wrong)
    assert not c.check(X, y).valid
    assert not c.check(X, 1.05 * y, weights).valid
    assert not c.check(X[:, ::-1], y, weights).valid
    with pytest.raises(ValueError, match=f"expecting {d} features"):
        c.check(X[:, 1:], y, weights)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_missed_tolerances_stay_missed(rng, method):
    X, y = rng.standard_normal((50, 150)), rng.standard_normal(50)
    model = method(0.01, max_iter=1, tol=1e-10).fit(X, y)
    assert not model.certificate_.valid
    assert not model.certificate_.check(X, y).valid


def test_a_constant_column_must_have_no_coefficient(rng):
    X, y = _problem(rng)
    X[:, 5] = 2.0
    c = PufferLasso(0.5).fit(X, y).certificate_
    assert c.valid
    coef = np.where(np.arange(30) == 5, 1.0, c.coef)
    assert not replace(c, coef=coef, intercept=c.intercept - 2.0).check(X, y).valid


def test_peeling_is_certified_for_the_levels_of_the_data(rng):
    X, _, y = _cancelling(rng)
    c = OutlierPeelingLasso(0.05).fit(X, y).certificate_
    assert c.peeled.tolist() == [4, 11]
    assert c.valid
    assert "strengths" in replace(c, peeled=c.peeled[:1]).check(X, y).reason
    free = c.coef.copy()
    free[4] += 5.0
    assert not replace(c, coef=free).check(X, y).valid
