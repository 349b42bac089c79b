"""Penalties over whole arrays: one row per signal, one column per feature, with its own numbers of the penalty."""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.numba_kernels.penalties.proximal import prox, subgradient_distance, value, zero_threshold
from sparsetheory.numba_kernels.penalties.tags import L1
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
    size = u.dtype.type(step)
    limits = np.empty_like(alpha)
    for j in range(alpha.size):
        same = j > 0 and alpha[j] == alpha[j - 1] and shape[j] == shape[j - 1]
        limits[j] = limits[j - 1] if same else zero_threshold(kind, size, alpha[j], shape[j])
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            # Soft thresholding alone needs no branch, and without one it vectorises.
            small = kind != L1 and abs(u[i, j]) <= limits[j]
            out[i, j] = u.dtype.type(0) if small else prox(kind, u[i, j], size, alpha[j], shape[j])


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
