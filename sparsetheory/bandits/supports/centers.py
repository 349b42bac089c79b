r"""A point well inside ``|left - rows v| <= 1``, or a proof that there is none, in a few steps of Newton.

The largest residual is smoothed to ``log(sum_i exp(s |left_i - rows_i v|)) / s``, for growing s. Its gradient is
``-rows^T p`` for weights p with the signs of residuals and the sum of magnitudes 1. Where it vanishes, no v changes
``p (left - rows v)``, which is at most the largest residual: so weights whose product with `left` is above 1 prove that
nothing is inside. A linear program says the same exactly, and takes ten times as long.
"""

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = ["nearest_center", "proves_contradiction"]

# A point with residuals below the first is well inside; one below the second when the steps end is inside.
_WELL, _INSIDE = 0.9, 0.999
# Sharpness of the smoothed maximum, and the steps with each.
_SHARPNESS, _STEPS = (8.0, 32.0, 128.0), 3
# Products that prove a contradiction exceed 1 by more than rounding.
_ROUNDING = 1e-9


def nearest_center(rows: Float64Array, left: Float64Array) -> Float64Array | None:
    """Return a point inside; an empty array where it is proved that there is none; None where that stays open.

    Parameters
    ----------
    rows : ndarray of shape (n, k)
        With orthogonal columns of length ``sqrt(n)``.
    left : ndarray of shape (n,)
        Orthogonal to the columns.

    Returns
    -------
    ndarray of shape (k,) or (0,), or None
    """
    point = np.zeros(rows.shape[1])
    for sharpness in _SHARPNESS:
        for _ in range(_STEPS):
            residual = left - rows @ point
            sizes = np.abs(residual)
            if sizes.max() <= _WELL:
                return point
            weights = np.exp(sharpness * (sizes - sizes.max()))
            weights /= weights.sum()
            signed = np.copysign(weights, residual)
            if proves_contradiction(rows, left, signed):
                return np.empty(0)
            downhill = rows.T @ signed
            curvature = sharpness * ((rows.T * weights) @ rows - np.outer(downhill, downhill))
            curvature[np.diag_indices_from(curvature)] += 1e-3
            point = _shorter(rows, left, point, np.linalg.solve(curvature, downhill))
    return point if np.abs(left - rows @ point).max() <= _INSIDE else None


def _shorter(rows: Float64Array, left: Float64Array, point: Float64Array, step: Float64Array) -> Float64Array:
    """Return the point after a step, which is halved as long as the largest residual grows by much."""
    before = np.abs(left - rows @ point).max()
    for _ in range(4):
        if np.abs(left - rows @ (point + step)).max() <= 1.02 * before:
            return point + step
        step = step / 2
    return point


def proves_contradiction(rows: Float64Array, left: Float64Array, weights: Float64Array) -> bool:
    """Return whether weights prove that no point is inside, once they are made orthogonal to all columns."""
    for _ in range(2):  # twice is enough
        weights = weights - rows @ (rows.T @ weights) / len(rows)
    return bool(abs(float(weights @ left)) > (1 + _ROUNDING) * float(np.abs(weights).sum()))
