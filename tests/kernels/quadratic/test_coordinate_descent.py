"""Sweeps and correlations against plain NumPy."""

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.numba_kernels.quadratic import coordinate_descent as cd
from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, LogSum, Lq

PENALTIES = [
    L1(0.3),
    L0(0.1),
    Lq(0.2, 0.5),
    CEL0(0.1, 1.3),
    MCP(0.3, 2.0),
    SCAD(0.3, 3.7),
    LogSum(0.2, 0.5),
    CappedL1(0.3, 1.0),
]


def _setting(rng, penalty, k=7, capacity=10):
    A = rng.standard_normal((20, k))
    gram = np.zeros((capacity, capacity))
    gram[:k, :k] = A.T @ A / 20
    b = A.T @ rng.standard_normal(20) / 5
    w, g = np.zeros(capacity), np.zeros(capacity)
    g[:k] = b
    return gram, b, w, g, np.full(capacity, penalty.alpha), np.full(capacity, float(penalty.shape))


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: type(p).__name__)
def test_sweeps_minimise_one_coordinate_at_a_time(rng, penalty):
    gram, b, w, g, alpha, shape = _setting(rng, penalty)
    k, expected = 7, np.zeros(7)
    for _ in range(3):
        for j in range(k):
            h = gram[j, j]
            u = expected[j] + (b[j] - gram[j, :k] @ expected) / h
            expected[j] = penalty.prox(u, 1 / h)
    assert cd.gram_sweeps(gram, k, w, g, alpha, shape, penalty.kind, 3, 0.0) <= 3
    np.testing.assert_allclose(w[:k], expected, atol=1e-12)
    np.testing.assert_allclose(g[:k], b - gram[:k, :k] @ expected, atol=1e-12)
    assert not w[k:].any()


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: type(p).__name__)
def test_violation_vanishes_where_no_coordinate_can_improve(rng, penalty):
    gram, b, w, g, alpha, shape = _setting(rng, penalty)
    h = np.diag(gram)[:7].copy()
    start = cd.largest_violation(h, w[:7], g[:7], alpha, shape, penalty.kind)
    cd.gram_sweeps(gram, 7, w, g, alpha, shape, penalty.kind, 10_000, 0.0)
    end = cd.largest_violation(h, w[:7], g[:7], alpha, shape, penalty.kind)
    moves = [h[j] * abs(float(penalty.prox(b[j] / h[j], 1 / h[j]))) for j in range(7)]
    assert start == pytest.approx(max(moves), abs=1e-12)
    assert end < 1e-9


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: type(p).__name__)
def test_limits_and_sums(rng, penalty):
    h = rng.uniform(0.5, 2, 6)
    limits = np.empty(6)
    alpha, shape = np.full(6, penalty.alpha), np.full(6, float(penalty.shape))
    cd.zero_limits(h, alpha, shape, penalty.kind, limits)
    np.testing.assert_allclose(limits, [c * penalty.zero_threshold(1 / c) for c in h], rtol=1e-12)
    x = rng.standard_normal(6)
    assert cd.penalty_sum(x, alpha, shape, penalty.kind) == pytest.approx(penalty.value(x))


def test_curvature_zero_never_moves(rng):
    gram, _, w, g, alpha, shape = _setting(rng, L1(0.1))
    gram[3] = gram[:, 3] = 0
    cd.gram_sweeps(gram, 7, w, g, alpha, shape, 0, 50, 0.0)
    assert w[3] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_correlations_of_chosen_columns(rng, dtype):
    X = np.asfortranarray(rng.standard_normal((30, 12)).astype(dtype))
    X[X < 0.3] = 0
    r, index, out = rng.standard_normal(30), np.array([5, 0, 11]), np.empty(3)
    expected = X.astype(np.float64)[:, index].T @ r
    cd.dense_correlations(X, index, r, out)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    thin = sparse.csc_array(X)
    cd.csc_correlations(thin.data, thin.indices, thin.indptr, index, r, out)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
