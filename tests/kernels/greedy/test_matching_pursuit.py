"""Batch-OMP against least squares, target by target."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.greedy.matching_pursuit import batch_omp


def _dictionary(rng, n_samples, n, dtype=np.float64):
    X = rng.standard_normal((n_samples, n))
    return (X / np.linalg.norm(X, axis=0)).astype(dtype)


def _run(X, Y, k, tol=-1.0):
    dtype = X.dtype.type
    epsilon = np.finfo(dtype).eps
    rows = np.ascontiguousarray(Y.T @ X)
    squares = np.sum(Y**2, axis=0)
    limits = dtype(tol), k, dtype(np.sqrt(epsilon)), dtype((10 * epsilon) ** 2)
    counts = batch_omp(np.ascontiguousarray(X.T @ X), rows, squares, *limits)
    return rows, counts


def _reference(X, y, k, tol=-1.0):
    """Follow the definition: the largest correlation with the residual, then least squares."""
    chosen, coef = [], np.zeros(X.shape[1])
    residual = y
    while len(chosen) < k and residual @ residual > tol:
        chosen.append(int(np.argmax(np.abs(X.T @ residual))))
        coef[:] = 0.0
        coef[chosen] = np.linalg.lstsq(X[:, chosen], y, rcond=None)[0]
        residual = y - X @ coef
    return coef, len(chosen)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 9), st.integers(1, 5))
def test_equals_least_squares_on_the_largest_correlations(seed, n, k, n_targets):
    rng = np.random.default_rng(seed)
    X, Y, k = _dictionary(rng, 30, n), rng.standard_normal((30, n_targets)), min(k, n)
    rows, counts = _run(X, Y, k)
    for row, count, y in zip(rows, counts, Y.T, strict=True):
        coef, size = _reference(X, y, k)
        assert count == size
        assert row == pytest.approx(coef, abs=1e-9)


def test_a_budget_ends_each_target_by_itself(rng):
    X, Y = _dictionary(rng, 30, 60), rng.standard_normal((30, 8)) * np.arange(1, 9)
    rows, counts = _run(X, Y, 20, tol=30.0)
    expected = [_reference(X, y, 20, 30.0) for y in Y.T]
    assert counts.tolist() == [size for _, size in expected]
    assert len(set(counts.tolist())) > 2
    assert rows == pytest.approx(np.array([coef for coef, _ in expected]), abs=1e-10)


def test_single_precision_stays_and_is_as_good_as_it_can_be(rng):
    X = _dictionary(rng, 64, 200)
    W = np.zeros((200, 50))
    for w in W.T:
        w[rng.choice(200, 5, replace=False)] = rng.choice([-1, 1], 5) * rng.uniform(1, 2, 5)
    Y = X @ W
    rows, _ = _run(X.astype(np.float32), Y.astype(np.float32), 5)
    double, _ = _run(X, Y, 5)
    assert rows.dtype == np.float32
    # Coefficients up to 2 on five columns whose least singular value is far above 0.1: tens of roundings.
    assert rows == pytest.approx(double, abs=50 * float(np.finfo(np.float32).eps))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_exact_representations_end_the_selection(rng, dtype):
    X = _dictionary(rng, 40, 80, dtype)
    Y = (X[:, [3, 50]] @ np.array([[2.0, 0.0, 1e-6], [1.0, 0.0, 3e-6]])).astype(dtype)
    rows, counts = _run(X, Y, 30)
    assert counts.tolist() == [2, 0, 2]
    assert rows[:, [3, 50]] == pytest.approx(np.array([[2.0, 1.0], [0.0, 0.0], [1e-6, 3e-6]]), rel=1e-5)


def test_repeated_columns_are_not_used_twice(rng):
    X = _dictionary(rng, 10, 3)
    rows, counts = _run(np.hstack([X, X, -X]), rng.standard_normal((10, 4)), 9)
    assert counts.tolist() == [3] * 4
    assert (np.count_nonzero(rows, axis=1) == 3).all()


def test_ill_conditioned_pairs_end_the_selection(rng):
    X = _dictionary(rng, 20, 4)
    X = np.hstack([X, X + 1e-9 * rng.standard_normal((20, 4))])
    rows, counts = _run(X / np.linalg.norm(X, axis=0), rng.standard_normal((20, 6)), 8)
    assert (counts <= 4).all()
    assert np.abs(rows).max() < 100


def test_numbers_that_are_not_finite_neither_hang_nor_spill(rng):
    X = _dictionary(rng, 20, 33)
    rows = np.ones((3, 33))
    rows[1], rows[2, 5] = np.nan, np.inf
    batch_omp(X.T @ X, rows, np.ones(3), -1.0, 4, 1e-8, 1e-30)
    assert np.isfinite(rows[0]).all()
