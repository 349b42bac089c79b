"""Preparation of a penalty for coordinate and Newton steps: thresholds, kinks and pieces at every atom."""

import numpy as np

from sparsetheory.numba_kernels.penalties.piecewise import PenaltyTable
from sparsetheory.numba_kernels.penalties.proximal import weak_convexity
from sparsetheory.numba_kernels.quadratic.coordinate_descent import zero_limits
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.separable import L0
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["penalty_table"]


def penalty_table(penalty: Penalty, squares: FloatArray) -> PenaltyTable:
    """Prepare a penalty for atoms of given squared norms.

    Parameters
    ----------
    penalty : Penalty
        Any penalty of the package.
    squares : ndarray of shape (n,)
        Squared norms, above 0; their dtype is that of the table.

    Returns
    -------
    PenaltyTable

    Raises
    ------
    ValueError
        If a number of the penalty is out of its interval in that dtype.
    """
    dtype = squares.dtype
    numbers = (*penalty.numbers(squares.size, dtype), squares)
    alpha, shape, h = (np.array(array, dtype=np.float64) for array in numbers)
    pairs, which = np.unique(np.stack([alpha, shape]), axis=1, return_inverse=True)
    bends = np.array([weak_convexity(penalty.kind, *pair) for pair in pairs.T])[np.ravel(which)]
    if penalty.counts_nonzeros and np.all(bends >= h * (1 - 16 * np.finfo(dtype).eps)):
        # CEL0 with the norm of its atom leaves no coefficient on its slope: steps threshold hard, up to rounding.
        penalty, bends = L0(penalty.alpha, positive=penalty.positive), np.full(h.size, np.inf)
    thresholds = np.empty(h.size)
    zero_limits(h, alpha, shape, penalty.kind, thresholds)
    # Zero gives way at the slope there, unless a coefficient further out is better before.
    jumps = bool(np.any(thresholds < penalty.slope_at_zero(alpha, shape) * (1 - 1e-9)))
    arrays = (alpha, shape, 1 / h, thresholds, _pieces(penalty, alpha, shape))
    return PenaltyTable(
        penalty.kind,
        penalty.positive,
        penalty.quadratic,
        bool(np.all(bends <= h)),
        jumps,
        *(np.ascontiguousarray(array, dtype=dtype) for array in arrays),
    )


def _pieces(penalty: Penalty, alpha: Float64Array, shape: Float64Array) -> FloatArray:
    """Return per atom two kinks, then slope and bend of two pieces; zero where there are fewer."""
    table = np.zeros((alpha.size, 6))
    for i, (kink, slope, bend) in enumerate(penalty.pieces(alpha, shape) if penalty.quadratic else []):
        # A single piece ends at both kinks.
        table[:, i:2] = kink[:, None]
        table[:, 2 + 2 * i], table[:, 3 + 2 * i] = slope, bend
    return table
