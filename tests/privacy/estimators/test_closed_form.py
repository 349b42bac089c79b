"""The soft threshold of least squares against other routes to it."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import t as student
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.privacy import ThresholdedLeastSquares
from sparsetheory.privacy.solvers import tall_least_squares as tall


def _expected_failures(estimator):
    # These have 30 features and 15 samples; `test_least_squares_and_its_law` compares weights with repetitions.
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": "needs more samples than features" for kind in kinds}


@parametrize_with_checks(
    [ThresholdedLeastSquares(), ThresholdedLeastSquares(0.1, fit_intercept=False)],
    expected_failed_checks=_expected_failures,
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _data(rng, n=300, d=8):
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 100.0 * rng.standard_normal(d)
    return X, X[:, 1] - 2 * X[:, 5] + 7.0 + 0.5 * rng.standard_normal(n)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("block", [64, 10**6])
def test_least_squares_and_its_law(fit_intercept, weighted, block, rng, monkeypatch):
    monkeypatch.setattr(tall, "_NUMBERS", block * 8)
    X, y = _data(rng)
    w = rng.integers(0, 4, 300).astype(float) if weighted else None
    model = ThresholdedLeastSquares(fit_intercept=fit_intercept).fit(X, y, w)
    counts = np.ones(300, dtype=int) if w is None else w.astype(int)
    A, b = np.repeat(X, counts, axis=0), np.repeat(y, counts)
    if fit_intercept:
        A = np.column_stack([A, np.ones(len(A))])
    solution, rss, _, _ = np.linalg.lstsq(A, b)
    left = len(A) - A.shape[1]
    std = np.sqrt(rss[0] / left)
    width = student.isf(0.05 / 16, left) * std * np.sqrt(np.diag(np.linalg.inv(A.T @ A)))[:8]
    np.testing.assert_allclose(model.unthresholded_, solution[:8], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(model.thresholds_, width, rtol=1e-6)
    assert model.noise_std_ == pytest.approx(std, rel=1e-8)
    expected = np.sign(solution[:8]) * np.maximum(np.abs(solution[:8]) - width, 0)
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-6, atol=1e-9)
    assert model.certificate_.check(X, y, w).valid
    if weighted:
        assert not model.certificate_.check(X, y).valid


def test_a_fixed_threshold_is_one_for_columns_of_unit_spread(rng):
    X, y = _data(rng)
    model = ThresholdedLeastSquares(0.7).fit(X, y)
    np.testing.assert_allclose(model.thresholds_ * X.std(axis=0), 0.7, rtol=1e-10)
    np.testing.assert_array_equal(ThresholdedLeastSquares(0.0).fit(X, y).coef_, model.unthresholded_)


def test_sparse_designs_are_the_same(rng):
    X, y = _data(rng)
    X = X * (rng.random(X.shape) < 0.3)
    dense, thin = (ThresholdedLeastSquares().fit(form(X), y) for form in (np.asarray, sparse.csc_array))
    np.testing.assert_allclose(thin.coef_, dense.coef_, rtol=1e-10)


def test_intervals_cover_all_coefficients_together(rng):
    # 300 fits, of which 285 are expected to cover; fewer than 268 happen once in ten thousand runs.
    covered = 0
    truth = np.array([1.0, 0.0, 0.0, -0.5, 0.0])
    for _ in range(300):
        X = rng.standard_normal((20, 5))
        model = ThresholdedLeastSquares().fit(X, X @ truth + rng.standard_normal(20))
        low, high = model.intervals_.T
        inside = np.all((low <= truth) & (truth <= high))
        covered += inside
        if inside:  # the lemma
            assert set(model.support_) <= {0, 3}
            assert np.all(np.abs(model.coef_ - truth) <= 2 * model.thresholds_)
    assert covered >= 268


def test_explained_and_constant_responses(rng):
    X, _ = _data(rng)
    for y in (X @ np.arange(8.0) + 3, np.full(300, 4.0), np.zeros(300)):
        model = ThresholdedLeastSquares().fit(X, y)
        assert model.certificate_.check(X, y).valid
        np.testing.assert_allclose(model.predict(X), y, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: (X[:9], None), "X must have more than 9 samples"),
        (lambda X: (X, np.r_[np.ones(9), np.zeros(291)]), "X must have more than 9 samples"),
        (lambda X: (np.column_stack([X[:, :-1], X[:, 0] - X[:, 1]]), None), "X must have independent columns"),
        (lambda X: (np.column_stack([X[:, :-1], np.ones(300)]), None), "X must have independent columns; got column 7"),
        (lambda X: (X, -np.ones(300)), "sample_weight"),
    ],
)
def test_what_has_no_unique_answer_is_refused(change, message, rng):
    X, y = _data(rng)
    X, w = change(X)
    with pytest.raises(ValueError, match=message):
        ThresholdedLeastSquares().fit(X, y[: len(X)], w)
