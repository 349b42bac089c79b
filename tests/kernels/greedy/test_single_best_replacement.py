"""Single best replacement against a search that solves every trial support from nothing."""

import numpy as np
import pytest
from coding.coding_references import draw_problem, is_well_posed, l0_value, least_squares, seeds
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.greedy.single_best_replacement import single_best_replacement

EPS = np.finfo(float).eps


def run(X, D, alpha, warm=None, max_moves=1000, capacity=None):
    """Call the kernel as the coder does; return codes and moves."""
    dtype = X.dtype.type
    rows = np.ascontiguousarray(X @ D)
    warm = np.empty((0, D.shape[1]), dtype) if warm is None else np.ascontiguousarray(warm, dtype)
    eps = np.finfo(dtype).eps
    roundings = dtype(32 * eps) * np.sum(X**2, axis=1)
    capacity = capacity or min(D.shape)
    G, blind = np.ascontiguousarray(D.T @ D), np.empty(X.shape[0], np.bool_)
    dependent = dtype(np.sqrt(eps))
    moves = single_best_replacement(G, rows, warm, dtype(alpha), roundings, capacity, max_moves, dependent, blind)
    return rows, moves


def search(x, D, alpha, support):
    """Follow the definition; return the code, the number of moves, and whether the best move was always clear."""
    support, moves, clear = set(support), 0, True
    while True:
        now = l0_value(x, D, least_squares(x, D, sorted(support)), alpha)
        trials = [support ^ {i} for i in range(D.shape[1])]
        values = [l0_value(x, D, least_squares(x, D, sorted(t)), alpha) if len(t) <= len(x) else np.inf for t in trials]
        ranked = np.sort([*values, now])
        clear &= bool(ranked[1] - ranked[0] > 1e-9)
        if min(values) >= now - 1e-12:
            return least_squares(x, D, sorted(support)), moves, clear
        support, moves = trials[int(np.argmin(values))], moves + 1


@given(seeds, st.booleans())
def test_follows_the_definition(seed, warm):
    X, D, alpha = draw_problem(seed, m=(3, 9), n=(2, 9), n_samples=3)
    assume(is_well_posed(D))
    start = np.zeros((3, D.shape[1]))
    if warm:
        start[:, : D.shape[0] // 2] = 1.0
    codes, moves = run(X, D, alpha, start if warm else None)
    for i, x in enumerate(X):
        code, count, clear = search(x, D, alpha, np.flatnonzero(start[i]))
        # Where a support of full rank fits exactly, all additions tie and rounding chooses among them.
        if clear:
            np.testing.assert_allclose(codes[i], code, atol=1e-8 * (1 + np.abs(code).max()))
            assert moves[i] == count


def test_removals_occur_and_are_right():
    removals = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        D = rng.standard_normal((15, 18)) + rng.standard_normal((15, 1))
        x, alpha = rng.standard_normal(15), 0.15
        codes, moves = run(x[None], D, alpha)
        code, count, clear = search(x, D, alpha, [])
        assert clear
        np.testing.assert_allclose(codes[0], code, atol=1e-9 * (1 + np.abs(code).max()))
        assert moves[0] == count
        removals += (count - np.count_nonzero(code)) // 2
    assert removals > 20


@given(seeds)
def test_warm_supports_that_are_far_too_large(seed):
    X, D, _ = draw_problem(seed, m=12, n=12, n_samples=2, plain=True)
    # Atoms of which less than the root of the precision is left beside earlier ones stay out: one draw in two thousand.
    assume(np.diagonal(np.linalg.qr(D)[1] ** 2).min() > 2 * np.sqrt(EPS))
    codes, moves = run(X, D, 1e3, np.ones((2, 12)))
    # All atoms are worth less than their price: they leave one by one, by reflections alone.
    assert not codes.any()
    assert moves.tolist() == [12, 12]
    kept, moves = run(X, D, 1e-12, np.ones((2, 12)))
    for code, x in zip(kept, X, strict=True):
        np.testing.assert_allclose(code, np.linalg.solve(D, x), atol=1e-10 * np.linalg.cond(D) ** 2)


def test_dependent_atoms_of_a_warm_support_stay_out(rng):
    D = rng.standard_normal((6, 3))
    D = np.hstack([D, D[:, :1], D[:, 1:2] - D[:, 2:3]])
    X = rng.standard_normal((4, 6))
    codes, moves = run(X, D, 1e-9, np.ones((4, 5)))
    assert (np.count_nonzero(codes, axis=1) == 3).all()
    assert moves.tolist() == [0] * 4
    np.testing.assert_allclose(codes[:, :3], np.linalg.lstsq(D[:, :3], X.T)[0].T, atol=1e-10)
    # Those that depend do not take up room.
    repeated = np.hstack([np.repeat(D[:, :1], 8, axis=1), D[:, 1:3]])
    codes, _ = run(X, repeated, 1e-9, np.ones((4, 10)))
    assert (codes != 0).tolist() == [[True] + [False] * 7 + [True] * 2] * 4


def test_moves_and_capacity_are_limits(rng):
    D, X = rng.standard_normal((20, 30)), rng.standard_normal((3, 20))
    codes, moves = run(X, D, 1e-3, max_moves=4)
    assert moves.tolist() == [-1] * 3
    assert (np.count_nonzero(codes, axis=1) == 4).all()
    for code, x in zip(codes, X, strict=True):
        np.testing.assert_allclose(code, least_squares(x, D, np.flatnonzero(code)), atol=1e-10)
    codes, moves = run(X, D, 1e-3, capacity=3)
    assert (moves > 0).all()
    assert (np.count_nonzero(codes, axis=1) <= 3).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_kept(dtype):
    X, D, _ = draw_problem(0, m=30, n=60, n_samples=40, plain=True)
    codes, _ = run(X.astype(dtype), D.astype(dtype), 0.5)
    assert codes.dtype == dtype
    expected, _ = run(X, D, 0.5)
    same = ((codes != 0) == (expected != 0)).all(axis=1)
    assert same.mean() > 0.9
    assert codes[same] == pytest.approx(expected[same], abs=1e3 * float(np.finfo(dtype).eps))


def test_no_signal_no_price():
    codes, moves = run(np.zeros((1, 3)), np.eye(3), 0.0)
    assert not codes.any()
    assert moves.tolist() == [0]
    codes, _ = run(np.array([[1.0, 2.0, 0.0]]), np.eye(3), 0.0)
    assert codes.tolist() == [[1.0, 2.0, 0.0]]
