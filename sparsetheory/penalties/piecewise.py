"""Preparation of a penalty for coordinate and Newton steps: thresholds, kinks and pieces at every atom."""

import numpy as np

from sparsetheory.numba_kernels.penalties.piecewise import PenaltyTable
from sparsetheory.numba_kernels.penalties.proximal import weak_convexity
from sparsetheory.numba_kernels.penalties.tags import CAPPED_L1, CEL0, L0, LOG_SUM, LQ, MCP, SCAD
from sparsetheory.numba_kernels.quadratic.coordinate_descent import zero_limits
from sparsetheory.typing import FloatArray

__all__ = ["penalty_table"]


def penalty_table(kind: int, alpha: FloatArray, shape: FloatArray, squares: FloatArray) -> PenaltyTable:
    """Prepare a penalty for atoms of given squared norms.

    Parameters
    ----------
    kind : int
        Tag of the penalty.
    alpha, shape : ndarray of shape (n,)
        Its numbers at each atom.
    squares : ndarray of shape (n,)
        Squared norms, above 0; their dtype is that of the table.

    Returns
    -------
    PenaltyTable
    """
    dtype = squares.dtype
    alpha, shape, h = (np.array(numbers, dtype=np.float64) for numbers in (alpha, shape, squares))
    # With the norm of its atom, CEL0 leaves no coefficient on its slope: a step is hard thresholding, up to rounding.
    if kind == CEL0 and np.all(shape**2 >= h * (1 - 16 * np.finfo(dtype).eps)):
        kind = L0
    thresholds = np.empty(h.size)
    zero_limits(h, alpha, shape, kind, thresholds)
    pairs, which = np.unique(np.stack([alpha, shape]), axis=1, return_inverse=True)
    bends = np.array([weak_convexity(kind, *pair) for pair in pairs.T])[np.ravel(which)]
    pieces = _pieces(kind, alpha, shape)
    # Zero gives way at the slope there, unless a coefficient further out is better before.
    slopes = alpha / shape if kind == LOG_SUM else pieces[:, 2]
    jumps = kind in (L0, LQ) or bool(np.any(thresholds < slopes * (1 - 1e-9)))
    numbers = (np.ascontiguousarray(array, dtype=dtype) for array in (alpha, shape, 1 / h, thresholds, pieces))
    return PenaltyTable(kind, kind not in (LQ, LOG_SUM), bool(np.all(bends <= h)), jumps, *numbers)


def _pieces(kind: int, alpha: FloatArray, shape: FloatArray) -> FloatArray:
    table = np.zeros((alpha.size, 6))
    first, second, slope, bend, later_slope, later_bend = table.T
    first[:] = second[:] = np.inf
    if kind != L0:
        slope[:] = alpha
    if kind == CEL0:
        slope[:], bend[:] = np.sqrt(2 * alpha) * shape, shape**2
        first[:] = second[:] = np.sqrt(2 * alpha) / shape
    elif kind == MCP:
        bend[:] = 1 / shape
        first[:] = second[:] = alpha * shape
    elif kind == SCAD:
        later_slope[:], later_bend[:] = alpha * shape / (shape - 1), 1 / (shape - 1)
        first[:], second[:] = alpha, alpha * shape
    elif kind == CAPPED_L1:
        first[:] = second[:] = shape
    return table
