"""Sweeps that rows see late against sweeps of a whole matrix."""

import numpy as np
import pytest

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.numba_kernels.layerwise.pivots import new_tableau, pivot, update_rows


@kernel
def _pivot(tableau, at, sign, count):
    pivot(tableau, at, sign, count)


@kernel
def _update_rows(tableau, bounds, least, count):
    update_rows(tableau, bounds, least, count)


def sweep(A, k):
    """The sweep operator as textbooks write it, and its reverse where k has been swept in."""
    d = A[k, k]
    out = A - np.outer(A[:, k], A[k]) / d
    out[k] = out[:, k] = np.sign(d) * A[k] / d
    out[k, k] = -1 / d
    return out


def _bordered(p, responses, seed):
    X = np.random.default_rng(seed).standard_normal((3 * p, p + responses))
    return X.T @ X


def _tableau(A, p, m, capacity):
    tableau = new_tableau(p, m, len(A) - p, capacity)
    tableau.matrix[:], tableau.border[:] = A[:p, :p], A[p:, :p]
    tableau.diagonal[:], tableau.losses[:] = A.diagonal()[:p], A.diagonal()[p:]
    if m < p:
        for i in range(p):
            tableau.near[i] = A[i, i // m * m : i // m * m + m]
    return tableau


# Pivots enter, leave, and enter again; rows are read now and then.
STEPS = [2, 5, 0, 5, 7, 2, 9, 5, 11, 0, 2, 3, 7]


@pytest.mark.parametrize("m", [4, 12])
@pytest.mark.parametrize("reading", [0, 1, 5])
@pytest.mark.parametrize("responses", [1, 3])
def test_rows_that_see_sweeps_late_are_those_of_the_swept_matrix(m, reading, responses):
    A, p = _bordered(12, responses, seed=m), 12
    tableau, rng = _tableau(A, p, m, len(STEPS)), np.random.default_rng(0)
    for count, k in enumerate(STEPS):
        sign = 1.0 if A[k, k] < 0 else -1.0
        # The losses of different responses are kept, their inner products are not.
        A = sweep(A, k)
        _pivot(tableau, k, sign, count)
        np.testing.assert_allclose(tableau.diagonal, A.diagonal()[:p], rtol=1e-9)
        np.testing.assert_allclose(tableau.border, A[p:, :p], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(tableau.losses, A.diagonal()[p:], rtol=1e-9)
        if reading and count % reading == 0:
            _update_rows(tableau, rng.uniform(size=p), 0.5, count + 1)
    _update_rows(tableau, np.ones(p), 0.0, len(STEPS))
    off = ~np.eye(p, dtype=bool)
    np.testing.assert_allclose(tableau.matrix[off], A[:p, :p][off], rtol=1e-8, atol=1e-10)
    if m < p:
        for i in range(p):
            first = i // m * m
            same = np.arange(first, first + m) != i
            np.testing.assert_allclose(tableau.near[i, same], A[i, first : first + m][same], rtol=1e-8, atol=1e-10)


def test_many_columns_are_brought_up_to_date_in_tiles():
    A, p = _bordered(1100, 1, seed=1), 1100
    tableau = _tableau(A, p, p, 4)
    for count, k in enumerate([3, 1099, 600, 3]):
        sign = 1.0 if A[k, k] < 0 else -1.0
        A = sweep(A, k)
        _pivot(tableau, k, sign, count)
    _update_rows(tableau, np.ones(p), 0.0, 4)
    off = ~np.eye(p, dtype=bool)
    np.testing.assert_allclose(tableau.matrix[off], A[:p, :p][off], rtol=1e-8, atol=1e-8)
