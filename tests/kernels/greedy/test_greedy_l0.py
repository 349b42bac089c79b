"""Greedy coordinate descent against a search over the objective."""

import numpy as np
import pytest
from coding.coding_references import draw_problem, l0_value, seeds
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.greedy.greedy_l0 import greedy_l0


def _run(X, D, alpha, warm=None, tol=1e-9, max_moves=10_000):
    dtype = X.dtype.type
    rows = np.ascontiguousarray(X @ D)
    warm = np.empty((0, D.shape[1]), dtype) if warm is None else np.ascontiguousarray(warm, dtype)
    energies = dtype(0.5) * np.sum(X**2, axis=1)
    roundings = dtype(64 * np.finfo(dtype).eps) * energies
    gram = np.ascontiguousarray(D.T @ D)
    moves = greedy_l0(gram, rows, warm, dtype(alpha), roundings, dtype(tol**2) * energies, max_moves)
    return rows, moves


def _best_single_change(x, D, c, alpha):
    """Return the code after the best change of one entry."""
    trials = [c]
    for i in range(c.size):
        without = c.copy()
        without[i] = 0.0
        refitted = without.copy()
        refitted[i] = D[:, i] @ (x - D @ without)
        trials += [without, refitted]
    return min(trials, key=lambda t: l0_value(x, D, t, alpha))


@given(seeds, st.booleans(), st.integers(1, 12))
def test_every_move_is_the_best(seed, warm, n_moves):
    X, D, alpha = draw_problem(seed, m=(3, 12), n=(2, 14), n_samples=3, plain=True)
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((3, D.shape[1])) * (rng.random((3, D.shape[1])) < 0.3)
    codes, moves = _run(X, D, alpha, start if warm else None, max_moves=n_moves)
    for x, c, first, count in zip(X, codes, start if warm else np.zeros_like(start), moves, strict=True):
        expected = first
        for _ in range(n_moves if count < 0 else count):
            expected = _best_single_change(x, D, expected, alpha)
        np.testing.assert_allclose(c, expected, atol=1e-8)


@given(seeds)
def test_at_the_end_no_single_change_helps(seed):
    X, D, alpha = draw_problem(seed, m=(3, 12), n=(2, 14), n_samples=3, plain=True)
    alpha = max(alpha, 0.05)
    codes, moves = _run(X, D, alpha, tol=1e-7, max_moves=10**6)
    assert (moves >= 0).all()
    for x, c in zip(X, codes, strict=True):
        now = l0_value(x, D, c, alpha)
        best = l0_value(x, D, _best_single_change(x, D, c, alpha), alpha)
        assert now - best <= 1e-13 * (x @ x)
        assert np.abs(D[:, c != 0].T @ (x - D @ c)).max(initial=0.0) <= 1.1e-7 * np.linalg.norm(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_kept(dtype):
    X, D, _ = draw_problem(0, m=30, n=60, n_samples=40, plain=True)
    codes, _ = _run(X.astype(dtype), D.astype(dtype), 0.5, tol=1e-6)
    assert codes.dtype == dtype
    expected, _ = _run(X, D, 0.5, tol=1e-6)
    same = ((codes != 0) == (expected != 0)).all(axis=1)
    assert same.mean() > 0.9
    # Both are within tol times the norm of the signal of the same least-squares code, over the least singular value.
    assert codes[same] == pytest.approx(expected[same], abs=5e-4)


def test_entries_of_many_roundings_come_to_rest():
    # Two nearly parallel atoms with large coefficients of opposite signs, and a tolerance of zero.
    D = np.array([[1.0, np.cos(1e-2)], [0.0, np.sin(1e-2)]])
    codes, moves = _run(np.array([[1.0, 1.0]]), D, 1e-3, np.array([[-100.0, 101.0]]), tol=0.0, max_moves=10**6)
    assert moves[0] >= 0
    assert codes[0] == pytest.approx(np.linalg.solve(D, [1.0, 1.0]), rel=1e-8)


def test_no_signal_no_price():
    codes, moves = _run(np.zeros((1, 3)), np.eye(3), 0.0)
    assert not codes.any()
    assert moves.tolist() == [0]
    assert _run(np.array([[1.0, 2.0, 0.0]]), np.eye(3), 0.0)[0].tolist() == [[1.0, 2.0, 0.0]]


def test_ties_with_zero_stay_zero():
    assert _run(np.array([[1.0, 1.5]]), np.eye(2), 0.5)[0].tolist() == [[0.0, 1.5]]


@pytest.mark.parametrize(("start", "alpha"), [(0.0, 0.4995), (1.0, 0.5005)])
def test_gains_of_rounding_do_not_count(start, alpha):
    # A single column: to set or to clear its entry gains 5e-4.
    for rounding, stays in ((1e-3, True), (1e-4, False)):
        row = np.ones((1, 1))
        moves = greedy_l0(np.eye(1), row, np.full((1, 1), start), alpha, np.full(1, rounding), np.zeros(1), 9)
        assert moves[0] == (0 if stays else 1)
        assert row[0, 0] == (start if stays else 1.0 - start)
