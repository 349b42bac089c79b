"""The best value of a single entry under every penalty, from candidates and their objectives, in plain NumPy.

The operators of the solvers decide by thresholds in closed form. Here candidates are the stationary points that follow
from the definition of a penalty; which of them is best, or whether zero is, their objectives say.
"""

import numpy as np

from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import Float64Array

__all__ = ["best_distances", "penalty_values"]


def penalty_values(penalty: Penalty, x: Float64Array) -> Float64Array:
    """Return the penalty of every entry, in double precision; the last axis counts features."""
    values = penalty.values(np.abs(x), *_numbers(penalty))
    return np.where(x < 0, np.inf, values) if penalty.positive else values


def best_distances(
    penalty: Penalty, x: Float64Array, u: Float64Array, steps: Float64Array, slack: Float64Array
) -> Float64Array:
    r"""Return how far entries are from a minimiser of :math:`\frac12(x - u)^2 + s\,\phi(x)`.

    Parameters
    ----------
    penalty : Penalty
        Any penalty of the package.
    x, u, steps : ndarray of shape (n, d)
        Entries, and the numbers u and s of each.
    slack : ndarray of shape (n, d)
        By how much u may be wrong. Candidates that may be best for some u as near as that all count.

    Returns
    -------
    ndarray of shape (n, d)
        Distance to the nearest candidate that may be best; infinite where the penalty is.
    """
    # Where entries must not be negative, those with u below zero are best at zero.
    u = np.maximum(u, 0.0) if penalty.positive else u
    sign, v = np.where(u < 0, -1.0, 1.0), np.abs(u)
    alpha, shape = _numbers(penalty)
    outside = np.where(x < 0, np.inf, 0.0) if penalty.positive else 0.0
    if penalty.alpha == 0.0:
        return np.asarray(np.abs(x - u) + outside)
    points = [np.zeros_like(v), *penalty.stationary(v, 1.0 / steps, alpha, shape)]
    candidates: Float64Array = np.stack([np.where(np.isfinite(p), np.maximum(p, 0.0), 0.0) for p in points])
    values: Float64Array = 0.5 * (candidates - v) ** 2 + steps * penalty.values(candidates, alpha, shape)
    best = values.argmin(axis=0)
    chosen = np.take_along_axis(candidates, best[None], axis=0)
    lowest = np.take_along_axis(values, best[None], axis=0)
    # The objectives of two candidates differ by as much as u does, times their distance.
    roundings = 4.0 * np.finfo(np.float64).eps * (lowest + 0.5 * v**2)
    near = values <= lowest + slack * np.abs(candidates - chosen) + roundings
    return np.asarray(np.where(near, np.abs(candidates * sign - x), np.inf).min(axis=0) + outside)


def _numbers(penalty: Penalty) -> tuple[Float64Array, Float64Array]:
    return np.asarray(penalty.alpha, dtype=np.float64), np.asarray(penalty.shape, dtype=np.float64)
