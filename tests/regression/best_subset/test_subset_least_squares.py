"""Least squares in a growing basis against least squares on whole columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.subset_references import unit_columns
from scipy import sparse

from sparsetheory.regression.best_subset.subset_least_squares import SubsetLeastSquares, leading
from sparsetheory.regression.columns import Columns


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]), min_size=1, max_size=12), st.integers(0, 15))
def test_leading_is_a_stable_sort(scores, count):
    expected = sorted((i for i, s in enumerate(scores) if s > 0), key=lambda i: (-scores[i], i))[:count]
    assert leading(np.array(scores), count).tolist() == expected


def _design(rng, kind):
    X = rng.standard_normal((30, 20)) + 2.0
    X[:, 4] = 0.0
    X[:, 5] = 7.0
    X[:, 6] = 2 * X[:, 2]
    X = X.astype(np.float32) if kind == "float32" else X
    return sparse.csc_array(X) if kind == "sparse" else X


@pytest.mark.parametrize("kind", ["dense", "float32", "sparse"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_equals_least_squares_on_columns(rng, kind, fit_intercept):
    X = _design(rng, kind)
    dense = (X.toarray() if kind == "sparse" else X).astype(np.float64)
    y = rng.standard_normal(30)
    y -= y.mean()
    columns = Columns(X, np.full((30, 1), 30**-0.5) if fit_intercept else None)
    subsets, U = SubsetLeastSquares(columns, y), unit_columns(dense, fit_intercept)
    for size in (3, 0, 8, 1, 5, 20):
        support = rng.choice(20, size, replace=False)
        subsets.include(support)
        fit = subsets.fit(support)
        reference = np.linalg.lstsq(U[:, support], y, rcond=1e-11)[0]
        residual = y - U[:, support] @ reference
        np.testing.assert_allclose(fit.coef, reference, atol=1e-12)
        assert fit.rss == pytest.approx(residual @ residual, abs=1e-12)
        np.testing.assert_allclose(subsets.correlate(fit), U.T @ residual, atol=1e-12)
        raw = dense @ subsets.coefficients(fit)
        np.testing.assert_allclose(raw - fit_intercept * raw.mean(), y - residual, atol=1e-11)
    np.testing.assert_allclose(subsets.gram(np.array([3, 4, 6])), U.T @ U[:, [3, 4, 6]], atol=1e-13)


def test_ridge(rng):
    U, y = unit_columns(rng.standard_normal((25, 6))), rng.standard_normal(25)
    subsets, support = SubsetLeastSquares(Columns(U), y), np.array([4, 1, 5])
    subsets.include(support)
    A = U[:, support]
    expected = np.linalg.solve(A.T @ A + 2 * 0.3 * np.eye(3), A.T @ y)
    np.testing.assert_allclose(subsets.fit(support, 0.3).coef, expected, atol=1e-13)


@pytest.mark.parametrize("distance", [1e-2, 1e-6, 1e-10, 1e-13, 0.0])
def test_coordinates_keep_inner_products_of_near_duplicates(rng, distance):
    base = rng.standard_normal((40, 5))
    X = np.hstack([base + distance * rng.standard_normal((40, 5)) for _ in range(4)])
    subsets = SubsetLeastSquares(Columns(X), rng.standard_normal(40))
    # Duplicates of old columns, of columns in the same batch, and of both.
    for batch in ([0, 1], [5, 2, 7, 12, 3, 8], np.arange(4, 13), np.arange(20)):
        subsets.include(np.asarray(batch))
    Z, U = subsets.coordinates(np.arange(20)), unit_columns(X, False)
    # Columns closer than 1e-11 to the span keep the part inside it: squares change by 1e-22 only.
    np.testing.assert_allclose(Z.T @ Z, U.T @ U, atol=2e-14)
    assert subsets.rank == (5 if distance < 1e-11 else 20)


def test_an_older_fit_is_still_understood(rng):
    X, y = rng.standard_normal((30, 9)), rng.standard_normal(30)
    subsets = SubsetLeastSquares(Columns(X), y)
    subsets.include(np.array([1, 2]))
    fit = subsets.fit(np.array([1, 2]))
    before = subsets.correlate(fit)
    subsets.include(np.array([5, 7, 8]))
    np.testing.assert_allclose(subsets.correlate(fit), before, atol=1e-13)


def test_squares_outside_a_span(rng):
    X = rng.standard_normal((30, 9))
    U, subsets = unit_columns(X, False), SubsetLeastSquares(Columns(X), X[:, 0])
    subsets.include(np.arange(9))
    coef, span, features = np.array([1.0, -2.0]), np.array([3, 4, 5]), np.array([0, 8])
    point = U[:, features] @ coef
    left = point - U[:, span] @ np.linalg.lstsq(U[:, span], point)[0]
    assert subsets.square_outside(span, features, coef) == pytest.approx(left @ left, rel=1e-12)
    assert subsets.square_outside(np.empty(0, dtype=int), features, coef) == pytest.approx(point @ point, rel=1e-12)
