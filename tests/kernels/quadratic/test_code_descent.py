"""Coordinate and Newton steps against proximal operators, all sign patterns and least squares."""

import numpy as np
import pytest
from coding.coding_references import penalties, seeds
from hypothesis import given
from hypothesis import strategies as st
from kernels.quadratic.test_feature_sign import _atoms, _least, _value

from sparsetheory.numba_kernels.quadratic.code_descent import code_descent
from sparsetheory.penalties import L0, L1, MCP
from sparsetheory.penalties.piecewise import penalty_table

precisions = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def _run(G, Q, penalty, guesses=None, tol=1e-10, max_iter=1000):
    eps = np.finfo(G.dtype).eps
    table = penalty_table(penalty, np.diagonal(G))
    guesses = np.empty((0, G.shape[0]), G.dtype) if guesses is None else guesses.astype(G.dtype)
    codes, passes, converged = Q.copy(), np.full(len(Q), -1), np.zeros(len(Q), bool)
    tol = max(tol, 8 * eps)
    code_descent(G.copy(), codes, guesses, table, 0.9, tol, 8 * eps, eps**0.5, max_iter, passes, converged)
    return codes, passes, converged


@precisions
@pytest.mark.parametrize("family", range(10))
@pytest.mark.parametrize("n", [1, 3, 7, 33, 150])
def test_orthogonal_atoms_give_the_proximal_operator(family, n, dtype):
    rng = np.random.default_rng(n)
    norms, Q = rng.uniform(0.5, 2, n).astype(dtype), rng.standard_normal((4, n)).astype(dtype)
    squares, penalty = norms**2, penalties(0.02, np.diag(norms).astype(float))[family]
    codes, _, converged = _run(np.diag(squares), Q, penalty)
    assert converged.all()
    assert codes.dtype == dtype
    if n == 150:
        assert (np.count_nonzero(codes, axis=1) > 64).all()
    for i, h in enumerate(squares.astype(float)):
        one = penalties(0.02, np.array([[np.sqrt(h)]]))[family]
        expected = one.prox((Q[:, i].astype(float) / h)[:, None], 1 / h)[:, 0]
        # Besides rounding, what is within tol of its threshold may be on either side; a jump is seen there only.
        limit = one.zero_threshold(1 / h) * h
        clear = np.abs(np.abs(Q[:, i]) - limit) > 64 * np.finfo(dtype).eps * np.abs(Q).max()
        slack = 256 * np.finfo(dtype).eps * np.abs(Q).max() / h
        np.testing.assert_allclose(codes[clear, i], expected[clear], rtol=0, atol=slack)


@given(seeds, st.sampled_from(["plain", "repeated", "near"]), st.floats(-3, 0), st.booleans())
def test_l1_reaches_the_minimum(seed, kind, power, warm):
    D, X = _atoms(seed, kind)
    G, Q = D.T @ D, X @ D
    alpha = 10**power * np.abs(Q).max()
    guesses = np.random.default_rng(seed).standard_normal(Q.shape) if warm else None
    codes, _, converged = _run(G, Q, L1(alpha), guesses, tol=1e-13)
    # Coordinate steps between nearly dependent atoms may be too slow to arrive, which has to show.
    assert converged.all() or kind == "near"
    for q, c, x in zip(Q[converged], codes[converged], X[converged], strict=True):
        assert _value(G, q, alpha, c) == pytest.approx(_least(G, q, alpha), rel=0, abs=1e-12 * (x @ x))


@given(seeds, st.booleans())
def test_l0_codes_are_least_squares_on_their_supports(seed, warm):
    rng = np.random.default_rng(seed)
    D, X = rng.standard_normal((12, 8)) * rng.uniform(0.3, 3, 8), rng.standard_normal((4, 12))
    G, Q, alpha = D.T @ D, X @ D, 10 ** rng.uniform(-3, 0)
    codes, _, converged = _run(G, Q, L0(alpha), rng.standard_normal(Q.shape) if warm else None)
    assert converged.all()
    for q, c in zip(Q, codes, strict=True):
        S, h = np.flatnonzero(c), np.diagonal(G)
        if S.size:
            exact = np.linalg.solve(G[np.ix_(S, S)], q[S])
            scale = np.abs(q).max() / np.linalg.eigvalsh(G[np.ix_(S, S)])[0]
            np.testing.assert_allclose(c[S], exact, rtol=0, atol=8 * 1e-10 * scale)
        # Best in every entry: h c^2 >= 2 alpha on the support, r^2 <= 2 alpha h off it.
        off = np.setdiff1d(np.arange(8), S)
        assert (h[S] * c[S] ** 2 >= 2 * alpha * (1 - 1e-8)).all()
        assert ((q - G @ c)[off] ** 2 <= 2 * alpha * h[off] * (1 + 1e-8) + 1e-9 * np.abs(q).max()).all()


@precisions
def test_many_active_atoms_after_few(rng, dtype):
    D = rng.standard_normal((200, 120)) / np.sqrt(200)
    X = rng.standard_normal((4, 200)) * np.array([[0.001], [1], [0.001], [1]])
    G, Q = (D.T @ D).astype(dtype), (X @ D).astype(dtype)
    for penalty in (L1(0.01), MCP(0.01), L0(1e-4)):
        codes, _, converged = _run(G, Q, penalty, tol=1e-6)
        assert converged.all()
        assert not codes[[0, 2]].any()
        assert (np.count_nonzero(codes, axis=1)[[1, 3]] > 64).all()
        alone = np.vstack([_run(G, q[None], penalty, tol=1e-6)[0] for q in Q])
        np.testing.assert_array_equal(codes, alone)


@precisions
def test_zeros_and_limits(dtype):
    G, none = np.eye(3, dtype=dtype), np.zeros((2, 3), dtype)
    for penalty in penalties(0.1, np.eye(3)):
        codes, _, converged = _run(G, none, penalty)
        assert not codes.any()
        assert converged.all()
        assert _run(G, none[:0], penalty)[0].shape == (0, 3)
    pair, q = np.array([[1, 0.9], [0.9, 1]], dtype), np.array([[1, -0.95]], dtype)
    _, passes, converged = _run(pair, q, L1(0.001), max_iter=1)
    assert passes.tolist() == [1]
    assert not converged.any()
    assert _run(pair, q, L1(0.001))[2].all()
