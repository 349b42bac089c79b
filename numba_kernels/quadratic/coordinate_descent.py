"""Cyclic coordinate descent for a quadratic plus any separable penalty, and correlations of chosen columns.

One step minimises exactly over one coordinate: ``w_j <- prox(w_j + g_j / h_j)`` with step ``1 / h_j``, where ``g`` is
the negative gradient and ``h_j`` the curvature of the quadratic.
"""

import numpy as np
from numpy.typing import NDArray

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.numba_kernels.penalties.proximal import (
    curvature,
    derivative,
    prox,
    value,
    zero_threshold,
)
from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = [
    "csc_correlations",
    "dense_correlations",
    "gram_sweeps",
    "largest_violation",
    "penalty_model",
    "penalty_sum",
    "warmup",
    "zero_limits",
]


@kernel
def gram_sweeps(
    gram: Float64Array,
    size: int,
    w: Float64Array,
    g: Float64Array,
    alpha: Float64Array,
    shape: Float64Array,
    kind: int,
    max_sweeps: int,
    tol: float,
) -> int:
    """Sweep over the leading `size` coordinates of a Gram matrix; `w` and `g` are updated in place.

    Parameters
    ----------
    gram : ndarray of shape (capacity, capacity)
        Symmetric, C-ordered; only the leading block is read.
    size : int
        Number of coordinates in use.
    w, g : ndarray of shape (capacity,)
        Coefficients and negative gradient ``b - gram @ w``.
    alpha, shape : ndarray of shape (capacity,)
        Numbers of the penalty of each coordinate.
    kind : int
        Tag of the penalty.
    max_sweeps : int
        Upper limit.
    tol : float
        Stop after a sweep whose largest ``h_j * change_j**2`` is at most this.

    Returns
    -------
    int
        Sweeps done. Each costs O(size) per coordinate that moves.
    """
    for sweep in range(max_sweeps):
        largest = 0.0
        for j in range(size):
            h = gram[j, j]
            if h <= 0.0:
                continue
            old = w[j]
            new = prox(kind, old + g[j] / h, 1.0 / h, alpha[j], shape[j])
            change = new - old
            if change != 0.0:
                w[j] = new
                for i in range(size):
                    g[i] -= change * gram[j, i]
                largest = max(largest, h * change * change)
        if largest <= tol:
            return sweep + 1
    return max_sweeps


@kernel
def penalty_sum(w: Float64Array, alpha: Float64Array, shape: Float64Array, kind: int) -> float:
    """Return the value of the penalty at `w`."""
    total = 0.0
    for j in range(w.size):
        if w[j] != 0.0:
            total += value(kind, w[j], alpha[j], shape[j])
    return total


@kernel
def zero_limits(h: Float64Array, alpha: Float64Array, shape: Float64Array, kind: int, out: Float64Array) -> None:
    """Write how large the gradient of a coordinate of curvature `h` may be while zero is its best value."""
    for j in range(h.size):
        out[j] = h[j] * zero_threshold(kind, 1.0 / h[j], alpha[j], shape[j]) if h[j] > 0.0 else np.inf


@kernel
def largest_violation(
    h: Float64Array, w: Float64Array, g: Float64Array, alpha: Float64Array, shape: Float64Array, kind: int
) -> float:
    """Return the largest ``h_j |w_j - prox(w_j + g_j / h_j)|``: how far a coordinate is from its best value.

    `g` is the negative gradient and `h` the curvature. Zero means that no single coordinate can improve, also where the
    penalty is not convex.
    """
    worst = 0.0
    for j in range(w.size):
        if h[j] > 0.0:
            best = prox(kind, w[j] + g[j] / h[j], 1.0 / h[j], alpha[j], shape[j])
            worst = max(worst, h[j] * abs(w[j] - best))
    return worst


@kernel
def penalty_model(
    w: Float64Array, alpha: Float64Array, shape: Float64Array, kind: int, slope: Float64Array, bend: Float64Array
) -> None:
    """Write first and second derivative of the penalty at coordinates that are not zero."""
    for j in range(w.size):
        slope[j] = derivative(kind, w[j], alpha[j], shape[j])
        bend[j] = curvature(kind, w[j], alpha[j], shape[j])


@kernel(fastmath=True)
def dense_correlations(columns: FloatArray, indices: IndexArray, residual: Float64Array, out: Float64Array) -> None:
    """Write the inner products of chosen Fortran-ordered columns with one vector; sums are in double precision."""
    n = residual.size
    for p in range(indices.size):
        j = indices[p]
        total = 0.0
        for i in range(n):
            total += columns[i, j] * residual[i]
        out[p] = total


@kernel
def csc_correlations(
    data: FloatArray,
    rows: NDArray[np.signedinteger],
    starts: NDArray[np.signedinteger],
    indices: IndexArray,
    residual: Float64Array,
    out: Float64Array,
) -> None:
    """Write the inner products of chosen sparse columns with one vector; sums are in double precision."""
    for p in range(indices.size):
        j = indices[p]
        total = 0.0
        for q in range(starts[j], starts[j + 1]):
            total += data[q] * residual[rows[q]]
        out[p] = total


def warmup() -> None:
    """Compile all kernels for the types that the package uses."""
    one = np.ones(1)
    gram_sweeps(np.eye(1), 1, np.zeros(1), one.copy(), one, one, 0, 1, 0.0)
    penalty_sum(one, one, one, 0)
    zero_limits(one, one, one, 0, np.empty(1))
    largest_violation(one, one, one, one, one, 0)
    penalty_model(one, one, one, 0, np.empty(1), np.empty(1))
    index = np.zeros(1, dtype=np.intp)
    for dtype in (np.float32, np.float64):
        columns = np.ones((1, 1), dtype=dtype, order="F")
        dense_correlations(columns, index, one, np.empty(1))
        for integer in (np.int32, np.int64):
            pointer = np.array([0, 1], dtype=integer)
            csc_correlations(columns[0], np.zeros(1, dtype=integer), pointer, index, one, np.empty(1))
