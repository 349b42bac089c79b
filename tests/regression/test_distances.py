"""Distances of columns to spans, against exact determinants and least squares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.anchor_references import all_distances, clustered, exact_distances
from scipy import sparse

from sparsetheory.regression.distances import inverse_factor, leave_one_out_distances, residual_norms
from sparsetheory.regression.orthonormal import orthonormal_basis

EPS = np.finfo(float).eps


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 9), st.floats(-8, 8))
def test_leave_one_out_against_determinants(seed, k, decades, exponent):
    rng = np.random.default_rng(seed)
    n = 12
    XS = clustered(rng, n, k, 1, 10.0**-decades) * 10.0 ** (exponent * rng.uniform(0, 1, k))
    expected = exact_distances(XS) / np.sqrt(n)
    condition = np.linalg.cond(XS / np.linalg.norm(XS, axis=0))
    np.testing.assert_allclose(leave_one_out_distances(XS), expected, rtol=n * k * EPS * condition)


def test_a_gram_matrix_would_lose_these_digits(rng):
    XS = clustered(rng, 30, 4, 1, 1e-7)
    expected = exact_distances(XS) / np.sqrt(30)
    through_gram = 1 / np.sqrt(np.abs(np.diag(np.linalg.inv(XS.T @ XS))) * 30)
    np.testing.assert_allclose(leave_one_out_distances(XS), expected, rtol=1e-6)
    assert np.max(np.abs(through_gram / expected - 1)) > 1e-3


def test_dependent_columns_are_replaced_by_an_independent_subset(rng):
    base = rng.standard_normal((20, 3))
    for XS in (
        np.hstack([base, base[:, :1]]),
        np.hstack([base, base @ rng.standard_normal((3, 2))]),
        np.hstack([base, np.zeros((20, 1))]),
        np.hstack([base, -1e6 * base]),
    ):
        found = leave_one_out_distances(XS)
        kept = np.isfinite(found)
        assert kept.sum() == 3
        assert np.linalg.matrix_rank(XS[:, kept]) == 3
        np.testing.assert_allclose(found[kept], exact_distances(XS[:, kept]) / np.sqrt(20), rtol=1e-10)


def test_nearly_dependent_columns_are_kept(rng):
    x, e = rng.standard_normal((2, 50))
    for gap in (1e-8, 1e-11, 1e-12):
        found = leave_one_out_distances(np.column_stack([x, x + gap * e]))
        assert np.all(np.isfinite(found))
        across = np.linalg.norm(e - x * (e @ x) / (x @ x)) / np.sqrt(50)
        np.testing.assert_allclose(found, gap * across, rtol=100 * EPS / gap)


def test_no_columns_and_zero_columns():
    assert leave_one_out_distances(np.zeros((5, 0))).shape == (0,)
    assert np.all(np.isinf(leave_one_out_distances(np.zeros((5, 2)))))
    assert leave_one_out_distances([[3.0], [4.0]]) == pytest.approx([5 / np.sqrt(2)])


def test_inverse_factor_orthonormalises(rng):
    XS = np.hstack([rng.standard_normal((15, 4)) * [1.0, 1e3, 1e-5, 1.0], np.ones((15, 2))])
    W, kept = inverse_factor(XS)
    U = XS[:, kept] @ W
    assert kept.size == 5
    np.testing.assert_allclose(U.T @ U, np.eye(5), atol=1e-12)


@given(st.integers(0, 10**6), st.integers(0, 12))
def test_distances_shrink_as_anchors_are_added(seed, m):
    rng = np.random.default_rng(seed)
    X = clustered(rng, 20, 30, 4, 10.0 ** rng.uniform(-6, 0))
    order = rng.permutation(30)[:m]
    last = np.full(30, np.inf)
    for count in range(m + 1):
        now = residual_norms(X, orthonormal_basis(X[:, order[:count]])[0])
        # Rounding of a distance is about eps times the norm of the column.
        assert np.all(now <= last + 100 * EPS * np.linalg.norm(X, axis=0))
        last = now


@pytest.mark.parametrize("layout", [np.asfortranarray, np.ascontiguousarray, sparse.csc_array, np.float32])
def test_residual_norms(rng, layout):
    X = clustered(rng, 40, 60, 5, 1e-3)
    X = X.astype(np.float32).astype(float) if layout is np.float32 else X
    Q = orthonormal_basis(X[:, [0, 1, 2, 3, 4]])[0]
    found, expected = residual_norms(layout(X), Q), all_distances(X, [0, 1, 2, 3, 4])
    # Squares above 1e-7 of the norm's come from a difference, which loses 7 of 16 digits.
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-13)
    np.testing.assert_allclose(residual_norms(layout(X), Q[:, :0]), np.sqrt((X**2).mean(0)), rtol=1e-14)


def test_residual_norms_are_root_mean_squares():
    X = np.vstack([np.eye(3)] * 12)
    np.testing.assert_allclose(residual_norms(X, np.zeros((36, 0))), 1 / np.sqrt(3))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "X must be finite"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), "X must be finite"),
        (np.ones((3, 2)), "Q must be a matrix with one row per row of X, 3"),
        (np.ones((2, 2), dtype=np.float16), "half precision"),
    ],
)
def test_bad_designs(X, message):
    with pytest.raises(ValueError, match=message):
        residual_norms(X, [[1.0], [0.0]])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (np.array([[1.0, np.nan]]), "columns must be finite"),
        (np.array([[np.inf]]), "columns must be finite"),
        (np.ones(3), "columns must have 2 axes"),
        (np.ones((2, 2), dtype=np.float16), "half precision"),
    ],
)
def test_bad_columns(columns, message):
    with pytest.raises(ValueError, match=message):
        leave_one_out_distances(columns)


def test_a_basis_must_be_a_matrix():
    with pytest.raises(ValueError, match="Q must have 2 axes"):
        residual_norms(np.eye(3), np.ones(3))
