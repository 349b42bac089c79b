"""Penalties over whole arrays: one row per signal, one column per feature, with its own numbers of the penalty."""

import math

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.numba_kernels.penalties.proximal import beyond, subgradient_distance, value, zero_threshold
from sparsetheory.numba_kernels.penalties.tags import FAMILY, L1
from sparsetheory.typing import FloatArray

__all__ = ["prox_array", "subgradient_distances", "value_sum", "warmup"]


@kernel
def prox_array(kind: int, u: FloatArray, step: float, alpha: FloatArray, shape: FloatArray, out: FloatArray) -> None:
    """Write the thresholded entries of `u` to `out`, which may be `u` itself.

    Parameters
    ----------
    kind : int
        Tag of the penalty.
    u, out : ndarray of shape (n, d)
        C-ordered; all arrays of one dtype.
    step : float
        Positive; cast to the dtype of `u`.
    alpha, shape : ndarray of shape (d,)
        Numbers of the penalty of each column.
    """
    size, tag = u.dtype.type(step), kind & FAMILY
    if tag == L1:
        # Soft thresholding alone needs no branch, and without one it vectorises.
        for i in range(u.shape[0]):
            for j in range(u.shape[1]):
                x, c = u[i, j], size * alpha[j]
                small = (abs(x) if tag == kind else x) <= c
                out[i, j] = u.dtype.type(0) if small else math.copysign(abs(x) - c, x)
        return
    limits = np.empty_like(alpha)
    for j in range(alpha.size):
        same = j > 0 and alpha[j] == alpha[j - 1] and shape[j] == shape[j - 1]
        limits[j] = limits[j - 1] if same else zero_threshold(tag, size, alpha[j], shape[j])
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            x = u[i, j]
            if (abs(x) if tag == kind else x) <= limits[j]:
                out[i, j] = u.dtype.type(0)
            else:
                out[i, j] = math.copysign(beyond(tag, abs(x), size, alpha[j], shape[j]), x)


@kernel
def value_sum(kind: int, x: FloatArray, alpha: FloatArray, shape: FloatArray) -> float:
    """Return the sum of the penalty over all entries, summed in double precision; arrays as in :func:`prox_array`."""
    total = 0.0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            total += value(kind, x[i, j], alpha[j], shape[j])
    return total


@kernel
def subgradient_distances(
    kind: int, x: FloatArray, gradient: FloatArray, alpha: FloatArray, shape: FloatArray, out: FloatArray
) -> None:
    """Write how far every entry of `x` is from being critical; arrays as in :func:`prox_array`."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = subgradient_distance(kind, x[i, j], gradient[i, j], alpha[j], shape[j])


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    for dtype in (np.float64, np.float32):
        grid, one = np.ones((1, 1), dtype), np.ones(1, dtype)
        prox_array(0, grid, 1.0, one, one, grid)
        value_sum(0, grid, one, one)
        subgradient_distances(0, grid, grid, one, one, grid)
