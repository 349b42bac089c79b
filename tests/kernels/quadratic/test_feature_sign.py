"""Lasso codes against all sign patterns, and against soft thresholding."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.quadratic.feature_sign import feature_sign

seeds = st.integers(0, 10**6)
precisions = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def _run(G, Q, alpha, guesses=None, tol=0.0, max_iter=1000):
    eps = np.finfo(G.dtype).eps
    guesses = np.empty((0, G.shape[0]), G.dtype) if guesses is None else guesses.astype(G.dtype)
    codes, passes, converged = Q.copy(), np.full(len(Q), -1), np.zeros(len(Q), bool)
    feature_sign(G.copy(), codes, guesses, alpha, tol, 8 * eps, eps**0.5, max_iter, passes, converged)
    return codes, passes, converged


def _value(G, q, alpha, c):
    """Return the objective without the energy of the signal."""
    return 0.5 * c @ G @ c - q @ c + alpha * np.abs(c).sum()


def _least(G, q, alpha):
    """Return the least objective: some minimiser has independent atoms, and signs from which its values follow."""
    best = 0.0
    for signs in product((-1.0, 0.0, 1.0), repeat=q.size):
        S = np.flatnonzero(signs)
        block = G[np.ix_(S, S)]
        if S.size and np.linalg.cond(block) < 1e10:
            c = np.zeros(q.size)
            c[S] = np.linalg.solve(block, q[S] - alpha * np.array(signs)[S])
            best = min(best, _value(G, q, alpha, c))
    return best


def _atoms(seed, kind, m=6, n=5):
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((m, n)) * rng.uniform(0.3, 3, n)
    if kind != "plain":
        D[:, n // 2 :] = D[:, : n - n // 2] * (rng.choice([-1, 1], n - n // 2) if kind == "repeated" else 1)
    if kind == "near":
        D += 1e-4 * rng.standard_normal((m, n))
    return D, rng.standard_normal((3, m))


@given(seeds, st.sampled_from(["plain", "repeated", "near"]), st.floats(-3, 0), st.booleans())
def test_no_sign_pattern_is_better(seed, kind, power, warm):
    D, X = _atoms(seed, kind)
    G, Q = D.T @ D, X @ D
    alpha = 10**power * np.abs(Q).max()
    guesses = np.random.default_rng(seed).standard_normal(Q.shape) if warm else None
    codes, passes, converged = _run(G, Q, alpha, guesses)
    assert converged.all()
    assert (passes >= 0).all()
    for q, c, x in zip(Q, codes, X, strict=True):
        # A sum of tens of products, each at most the energy times few.
        assert _value(G, q, alpha, c) == pytest.approx(_least(G, q, alpha), rel=0, abs=1e-12 * (x @ x))


@precisions
def test_orthonormal_atoms_give_soft_thresholding(rng, dtype):
    # More active atoms than there is room for at first, twice over, and lengths that four does not divide.
    for n in (1, 2, 3, 7, 33, 150):
        Q = rng.standard_normal((4, n)).astype(dtype)
        codes, _, converged = _run(np.eye(n, dtype=dtype), Q, 0.01)
        assert converged.all()
        assert codes.dtype == dtype
        expected = np.sign(Q) * np.maximum(np.abs(Q) - dtype(0.01), 0)
        np.testing.assert_allclose(codes, expected, rtol=0, atol=16 * np.finfo(dtype).eps * np.abs(Q).max())


@precisions
def test_many_active_atoms_after_few(rng, dtype):
    D = rng.standard_normal((200, 120)) / np.sqrt(200)
    X = rng.standard_normal((4, 200)) * np.array([[0.001], [1], [0.001], [1]])
    G, Q = (D.T @ D).astype(dtype), (X @ D).astype(dtype)
    codes, _, converged = _run(G, Q, 0.01, tol=1e-6)
    assert converged.all()
    assert (np.count_nonzero(codes, axis=1)[[1, 3]] > 64).all()
    excess = np.abs(Q.astype(float) - codes.astype(float) @ G.astype(float)) - 0.01
    active = codes != 0
    assert not codes[[0, 2]].any()
    # Correlations are sums of 120 products of at most the largest correlation.
    slack = 1e-6 * 0.01 + 120 * np.finfo(dtype).eps * np.abs(Q).max()
    assert (excess <= slack).all()
    assert (np.abs(excess[active]) <= slack).all()


@precisions
def test_zeros_and_limits(dtype):
    G, none = np.eye(3, dtype=dtype), np.zeros((2, 3), dtype)
    codes, passes, converged = _run(G, none, 0.0)
    assert not codes.any()
    assert converged.all()
    assert passes.tolist() == [0, 0]
    assert _run(G, none[:0], 0.1)[0].shape == (0, 3)
    # A signal at the limit has a zero code; with all too few passes a code is left as it is.
    assert not _run(G, np.ones((1, 3), dtype), 1.0)[0].any()
    _, passes, converged = _run(np.array([[1, 0.9], [0.9, 1]], dtype), np.array([[1, 0.95]], dtype), 0.01, max_iter=1)
    assert passes.tolist() == [1]


def test_guesses_are_kept_and_used(rng):
    D = rng.standard_normal((60, 40))
    G, Q = D.T @ D, rng.standard_normal((5, 60)) @ D
    codes, passes, _ = _run(G, Q, 0.5)
    guesses = codes.copy()
    again, fewer, converged = _run(G, Q, 0.5, guesses)
    assert converged.all()
    assert (fewer <= 1).all()
    assert (fewer < passes).all()
    np.testing.assert_array_equal(guesses, codes)
    np.testing.assert_allclose(again, codes, atol=1e-12)
