"""Where a regularisation path starts."""

import numpy as np

from sparsetheory.constraints import COUNT, FRACTION
from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.numba_kernels.quadratic.coordinate_descent import zero_limits
from sparsetheory.penalties.base import Penalty
from sparsetheory.regression.lasso.quadratic import Quadratic
from sparsetheory.typing import Float64Array

__all__ = ["largest_level", "level_grid"]

# Rounding errors of a correlation, as a share of the norms of its factors.
_ROUNDINGS = 16 * float(np.finfo(np.float64).eps)


def level_grid(
    quadratic: Quadratic, penalty: Penalty, weights: Float64Array, n_alphas: int, min_ratio: float
) -> Float64Array:
    """Return a geometric grid of levels from :func:`largest_level` down to `min_ratio` times it.

    Raises
    ------
    ValueError
        If `n_alphas` is not a positive integer or `min_ratio` not strictly between 0 and 1.
    """
    count = COUNT.check("n_alphas", n_alphas)
    FRACTION.check("min_ratio", min_ratio)
    return largest_level(quadratic, penalty, weights) * np.geomspace(1.0, min_ratio, count)


def largest_level(quadratic: Quadratic, penalty: Penalty, weights: Float64Array) -> float:
    """Return the smallest level from which on zero is optimal in every coordinate; 1 if it always is.

    For the l1 norm this is ``max |x_j'y| / (n u_j)``; other penalties are bisected on their thresholds, which grow with
    the level.
    """
    movable = np.flatnonzero((weights > 0) & (quadratic.curvature > 0) & (quadratic.linear != 0))
    if movable.size == 0:
        return 1.0
    correlation, weights = np.abs(quadratic.linear[movable]), weights[movable]
    if penalty.kind == tags.L1:
        return float(np.max(correlation / weights))
    curvature, limits = quadratic.curvature[movable], np.empty(movable.size)
    # Where a coefficient jumps, the path must not find another sum of the same correlation on the other side.
    correlation = correlation + _ROUNDINGS * np.sqrt(curvature) * np.sqrt(quadratic.energy)
    shapes = np.broadcast_to(np.asarray(penalty.shape, dtype=np.float64), quadratic.curvature.size)[movable]

    def leaves_zero(level: float) -> bool:
        zero_limits(curvature, level * weights, shapes, penalty.kind, limits)
        return bool(np.any(correlation > limits))

    low, high = 0.0, 1.0
    while leaves_zero(high) and np.isfinite(high):
        low, high = high, 2.0 * high
    # Down to the order of magnitude first: halvings from 1 would take as many steps as there are powers of two.
    while low == 0.0 and high > np.finfo(np.float64).tiny and not leaves_zero(0.5 * high):
        high = 0.5 * high
    low = max(low, 0.5 * high)
    # 200 halvings reach the spacing of doubles from any start.
    for _ in range(200):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (middle, high) if leaves_zero(middle) else (low, middle)
    return high
