"""The strength of a penalty from which on zero is optimal."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import Float64Array

__all__ = ["alpha_max", "least_alpha"]


def alpha_max(
    correlations: Float64Array, curvature: Float64Array, penalty: Penalty, weights: Float64Array | None = None
) -> float:
    """Return the smallest strength at which zero is the best value of every coordinate of a quadratic plus a penalty.

    Parameters
    ----------
    correlations : ndarray of shape (d,)
        Negative gradient at zero.
    curvature : ndarray of shape (d,)
        Second derivative along each coordinate; where it is zero, zero stays best.
    penalty : Penalty
        Its strength is replaced.
    weights : ndarray of shape (d,), optional
        Factors of the strength, above 0; one by default.

    Returns
    -------
    float
        0.0 if nothing pulls a coordinate away from zero.

    Notes
    -----
    For convex penalties the largest ratio of a correlation to the slope at zero, in closed form. For others thresholds
    are bisected, which grow with the strength: about a hundred evaluations of d thresholds.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.penalties import L0, L1
    >>> c, h = np.array([3.0, -4.0]), np.ones(2)
    >>> alpha_max(c, h, L1(1.0)), alpha_max(c, h, L1(1.0, positive=True)), alpha_max(c, h, L0(1.0))
    (4.0, 3.0, 8.0)
    """
    from sparsetheory.numba_kernels.quadratic.coordinate_descent import zero_limits

    pull = np.asarray(penalty.pull(correlations), dtype=np.float64)
    moved = np.flatnonzero((pull > 0) & (curvature > 0))
    if moved.size == 0:
        return 0.0
    pull, units = pull[moved], np.ones(moved.size) if weights is None else weights[moved]
    if penalty.convex:
        return float(np.max(pull / (units * penalty.l1_part)))
    h, limits = curvature[moved], np.empty(moved.size)
    shape = np.broadcast_to(np.asarray(penalty.shape, dtype=np.float64), curvature.size)[moved]

    def stays(alpha: float) -> bool:
        zero_limits(h, alpha * units, shape, penalty.kind, limits)
        return bool(np.all(pull <= limits))

    return least_alpha(stays, 1.0)


def least_alpha(stays: Callable[[Any], bool], one: Any) -> float:
    """Return the least number for which `stays` holds, in the precision of `one`; it must hold for all larger ones.

    Powers of two are tried first, up or down from one, so that few halvings are left from any order of magnitude; these
    end at neighbouring floating-point numbers.
    """
    zero, two = type(one)(0), one + one
    low, high, half = zero, one, one / two
    while not stays(high) and np.isfinite(high):
        low, high = high, two * high
    while low == 0 and (lower := half * high) > 0:
        if stays(lower):
            high = lower
        else:
            low = lower
    while low < (middle := half * (low + high)) < high:
        if stays(middle):
            high = middle
        else:
            low = middle
    return float(high)
