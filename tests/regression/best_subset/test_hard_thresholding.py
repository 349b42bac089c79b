"""NIHT, HTP and CoSaMP against literal dense versions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.subset_references import correlated_problem, rss, unit_columns
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.regression import HTP, NIHT, CoSaMP

METHODS = [NIHT, HTP, CoSaMP]
seeds = st.integers(0, 10**6)


@parametrize_with_checks([method() for method in METHODS])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _top(values, k):
    return sorted(np.argsort(-np.abs(values), kind="stable")[:k].tolist())


def _refitted(U, y, support):
    b = np.zeros(U.shape[1])
    b[support] = np.linalg.lstsq(U[:, support], y, rcond=1e-11)[0]
    return b


def _loss(U, y, b):
    return np.sum((y - U @ b) ** 2) / (2 * y.size)


def _niht(U, y, k, n_iter):
    """Follow Blumensath and Davies literally."""
    b, losses = np.zeros(U.shape[1]), [_loss(U, y, np.zeros(U.shape[1]))]
    support = _top(U.T @ y, k)
    for _ in range(n_iter):
        g = U.T @ (y - U @ b)
        bend = np.sum((U[:, support] @ g[support]) ** 2)
        mu = g[support] @ g[support] / bend if bend else 0.0
        while True:
            u = b + mu * g
            new = np.zeros_like(b)
            new[_top(u, k)] = u[_top(u, k)]
            step = new - b
            if _top(u, k) == support or mu * np.sum((U @ step) ** 2) <= 0.99 * step @ step:
                break
            mu /= 2
        b, support = new, _top(u, k)
        losses.append(_loss(U, y, b))
    return losses


def _htp(U, y, k):
    b, support, seen, losses = np.zeros(U.shape[1]), [], [], [_loss(U, y, np.zeros(U.shape[1]))]
    while True:
        g = U.T @ (y - U @ b)
        outside = g.copy()
        outside[support] = 0
        new = _top(outside, k)
        point = U[:, new] @ g[new]
        point = point - U[:, support] @ np.linalg.lstsq(U[:, support], point, rcond=1e-11)[0]
        support = _top(b + g[new] @ g[new] / (point @ point) * g, k)
        if support in seen:
            return losses
        seen.append(support)
        b = _refitted(U, y, support)
        losses.append(_loss(U, y, b))


def _cosamp(U, y, k):
    b, support, seen, losses = np.zeros(U.shape[1]), [], [], [_loss(U, y, np.zeros(U.shape[1]))]
    while True:
        merged = sorted(set(support) | set(_top(U.T @ (y - U @ b), 2 * k)))
        support = _top(_refitted(U, y, merged), k)
        if support in seen:
            return losses
        seen.append(support)
        b = _refitted(U, y, support)
        losses.append(_loss(U, y, b))


@given(seeds, st.integers(1, 4))
def test_iterates_are_those_of_the_literal_algorithms(seed, k):
    X, y = correlated_problem(seed)
    U, centred = unit_columns(X), y - y.mean()
    niht = NIHT(k, tol=1e-5).fit(X, y)
    np.testing.assert_allclose(niht.history_, _niht(U, centred, k, niht.n_iter_), rtol=1e-8)
    np.testing.assert_allclose(HTP(k).fit(X, y).history_, _htp(U, centred, k), rtol=1e-8)
    np.testing.assert_allclose(CoSaMP(k).fit(X, y).history_, _cosamp(U, centred, k), rtol=1e-8)


@given(seeds, st.integers(1, 5))
def test_safe_steps_never_increase_the_loss(seed, k):
    X, y = correlated_problem(seed)
    safe = 1 / np.linalg.norm(unit_columns(X), 2) ** 2
    for step in (None, safe, 0.3 * safe):
        losses = NIHT(k, step=step, tol=1e-3).fit(X, y).history_
        assert (np.diff(losses) <= 1e-13 * losses[0]).all()


def test_long_steps_do_increase_the_loss():
    X, y = correlated_problem(0)
    step = 3 / np.linalg.norm(unit_columns(X), 2) ** 2
    with pytest.warns(ConvergenceWarning, match="max_iter=20"):
        losses = NIHT(5, step=step * 3, max_iter=20).fit(X, y).history_
    assert np.diff(losses).max() > 0.1 * losses[0]


@given(seeds, st.integers(1, 5))
def test_coefficients_are_least_squares_on_the_best_support(seed, k):
    X, y = correlated_problem(seed)
    for model in (HTP(k).fit(X, y), CoSaMP(k).fit(X, y), NIHT(k, tol=1e-3).fit(X, y)):
        residual = y - model.predict(X)
        assert residual.mean() == pytest.approx(0, abs=1e-9)
        assert np.abs(unit_columns(X)[:, model.support_].T @ residual).max() <= 1e-9
        least = residual @ residual / (2 * y.size)
        if isinstance(model, NIHT):
            assert least <= model.history_.min() + 1e-12
        else:
            assert least == pytest.approx(model.history_.min(), rel=1e-9)


def test_best_iterate_is_kept_although_cosamp_gets_worse():
    rng = np.random.default_rng(24)
    X = rng.standard_normal((60, 4)) @ rng.standard_normal((4, 100)) + 0.1 * rng.standard_normal((60, 100))
    y = X[:, :6].sum(axis=1) - 6 * X[:, 7] + 0.1 * rng.standard_normal(60)
    model = CoSaMP(6).fit(X, y)
    assert model.history_[-1] > 1.2 * model.history_.min()
    assert np.sum((y - model.predict(X)) ** 2) / 120 == pytest.approx(model.history_.min(), rel=1e-10)


def test_least_squares_at_the_end_of_niht_is_optional():
    X, y = correlated_problem(3)
    raw, refitted = (NIHT(3, tol=1e-2, refit=refit).fit(X, y) for refit in (False, True))
    losses = [np.sum((y - m.predict(X)) ** 2) / (2 * y.size) for m in (raw, refitted)]
    assert losses[0] == pytest.approx(raw.history_[-1], rel=1e-9)
    assert losses[1] < losses[0]


@pytest.mark.parametrize("method", METHODS)
class TestAll:
    def test_exact_recovery(self, rng, method):
        X, support = rng.standard_normal((150, 400)), [5, 17, 100, 399]
        y = X[:, support] @ [1.0, -2.0, 1.5, 0.7] + 4.0
        model = method(4, tol=1e-12 if method is NIHT else 1e-24).fit(X, y)
        assert model.support_.tolist() == support
        np.testing.assert_allclose(model.coef_[support], [1.0, -2.0, 1.5, 0.7], atol=1e-11)
        assert model.intercept_ == pytest.approx(4.0)

    def test_scale_and_order_of_columns_do_not_matter(self, rng, method):
        X, y = correlated_problem(5)
        scales, order = 10.0 ** rng.uniform(-6, 6, 12), rng.permutation(12)
        one, two = method(3).fit(X, y), method(3).fit((X * scales)[:, order], y)
        np.testing.assert_allclose(two.coef_ * scales[order], one.coef_[order], rtol=1e-7, atol=1e-12)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_storage_does_not_matter(self, rng, method, fit_intercept):
        X = rng.standard_normal((50, 30)) * (rng.random((50, 30)) < 0.3)
        y = X[:, 3] - X[:, 4] + 0.1 * rng.standard_normal(50) + 1
        one = method(3, fit_intercept=fit_intercept).fit(X, y)
        for other in (sparse.csr_array(X), sparse.csc_matrix(X), np.asfortranarray(X)):
            two = method(3, fit_intercept=fit_intercept).fit(other, y)
            np.testing.assert_allclose(two.coef_, one.coef_, atol=1e-10)
            assert two.intercept_ == pytest.approx(one.intercept_, abs=1e-10)
        X.flags.writeable = y.flags.writeable = False
        np.testing.assert_array_equal(method(3, fit_intercept=fit_intercept).fit(X, y).coef_, one.coef_)

    def test_weights_are_repetitions(self, rng, method):
        X, y = correlated_problem(8)
        counts = rng.integers(0, 4, y.size)
        weighted = method(3).fit(X, y, sample_weight=counts)
        repeated = method(3).fit(X.repeat(counts, axis=0), y.repeat(counts))
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9, atol=1e-12)
        assert weighted.intercept_ == pytest.approx(repeated.intercept_, rel=1e-9)

    def test_single_precision(self, rng, method):
        X = rng.standard_normal((50, 30)).astype(np.float32)
        y = X[:, 3] - X[:, 4]
        model = method(2).fit(X, y)
        assert model.coef_.dtype == np.float32
        assert model.support_.tolist() == [3, 4]

    def test_columns_of_zeros_constants_and_duplicates(self, rng, method):
        X = rng.standard_normal((40, 10))
        X[:, 0], X[:, 1], X[:, 7] = 0.0, 5.0, X[:, 6]
        y = X[:, 5] + 2 * X[:, 6] + 0.01 * rng.standard_normal(40)
        model = method(8).fit(X, y)
        assert not model.coef_[:2].any()
        assert np.isfinite(model.coef_).all()
        assert model.coef_[6] + model.coef_[7] == pytest.approx(2, abs=0.05)

    def test_constant_response(self, rng, method):
        model = method(3).fit(rng.standard_normal((20, 8)), np.full(20, 2.5))
        assert np.abs(model.coef_).max() < 1e-14
        assert model.intercept_ == pytest.approx(2.5)

    def test_default_size(self, rng, method):
        for n, expected in ((40, 5), (3, 3)):
            model = method(tol=0.1).fit(rng.standard_normal((n, 57)), rng.standard_normal(n))
            assert model.support_.size == expected

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"n_nonzero": 0}, "n_nonzero must be None or an integer from 1 to .*; got 0"),
            ({"n_nonzero": 9}, "n_nonzero"),
            ({"n_nonzero": 2.0}, "n_nonzero"),
            ({"n_nonzero": True}, "n_nonzero"),
            ({"max_iter": 0}, "max_iter must be an integer from 1 to .*; got 0"),
            ({"max_iter": 1.5}, "max_iter"),
            ({"tol": -1e-3}, "tol must be a finite non-negative number; got -0.001"),
            ({"tol": np.nan}, "tol"),
            ({"tol": "small"}, "tol"),
        ],
    )
    def test_bad_parameters(self, rng, method, arguments, message):
        with pytest.raises(ValueError, match=message):
            method(**arguments).fit(rng.standard_normal((20, 8)), np.ones(20))

    def test_bad_weights(self, rng, method):
        for weights in (np.zeros(20), -np.ones(20), np.ones(19)):
            with pytest.raises(ValueError, match=r"(?i)sample.weight"):
                method(2).fit(rng.standard_normal((20, 8)), np.ones(20), sample_weight=weights)


@pytest.mark.parametrize("method", [NIHT, HTP])
@pytest.mark.parametrize("step", [0.0, -1.0, np.inf, "auto"])
def test_bad_steps(rng, method, step):
    with pytest.raises(ValueError, match="step must be None or a finite positive number"):
        method(2, step=step).fit(rng.standard_normal((20, 8)), np.ones(20))


def test_too_few_iterations_are_reported():
    X, y = correlated_problem(2)
    with pytest.warns(ConvergenceWarning, match="NIHT did not settle within max_iter=2"):
        model = NIHT(3, max_iter=2).fit(X, y)
    assert model.n_iter_ == 2
    assert model.history_.size == 3


def test_fixed_points_of_pursuit_are_stable(rng):
    X, y = rng.standard_normal((80, 30)), rng.standard_normal(80)
    U, centred = unit_columns(X), y - y.mean()
    model = HTP(4, step=1.0).fit(X, y)
    b = _refitted(U, centred, model.support_)
    assert _top(b + U.T @ (centred - U @ b), 4) == model.support_.tolist()
    assert rss(U, centred, model.support_) / 160 == pytest.approx(model.history_.min(), rel=1e-10)
