"""The best value of a single entry under every penalty, from candidates and their objectives, in plain NumPy.

The operators of the solvers decide by thresholds in closed form. Here nothing is derived but the stationary points of
each smooth piece of a penalty; which of them is best, or whether zero is, their objectives say.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import Float64Array

__all__ = ["best_distances", "penalty_values"]

# Candidates above zero for |u| = v at steps s: f(v, s, alpha, shape) -> list of arrays.
_Candidates = Callable[[Float64Array, Float64Array, float, Float64Array], list[Float64Array]]

# Newton steps to the stationary points of l^q, which converge from above without end.
_NEWTON = 60


def penalty_values(penalty: Penalty, x: Float64Array) -> Float64Array:
    """Return the penalty of every entry, in double precision; the last axis counts features."""
    alpha, v = float(penalty.alpha), np.abs(x)
    t: Float64Array = np.asarray(penalty.shape, dtype=np.float64)
    kind = penalty.kind
    if kind == tags.L1:
        return alpha * v
    if kind == tags.L0:
        return np.where(v > 0, alpha, 0.0)
    if kind == tags.LQ:
        return np.where(v > 0, alpha * v**t, 0.0)
    if kind == tags.LOG_SUM:
        return alpha * np.log1p(v / t)
    if kind == tags.CAPPED_L1:
        return alpha * np.minimum(v, t)
    if kind == tags.SCAD:
        middle = alpha * v - (v - alpha) ** 2 / (2.0 * (t - 1.0))
        return np.where(v <= alpha, alpha * v, np.where(v <= t * alpha, middle, 0.5 * alpha**2 * (t + 1.0)))
    slope, bend = _parabola(kind, alpha, t)
    w = np.minimum(v, slope / bend)
    return w * slope - 0.5 * bend * w**2


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
        Distance to the nearest candidate that may be best.
    """
    sign, v = np.where(u < 0, -1.0, 1.0), np.abs(u)
    alpha, shape = float(penalty.alpha), np.broadcast_to(np.asarray(penalty.shape, dtype=np.float64), u.shape)
    if alpha == 0.0:
        return np.abs(x - u)
    points = [np.zeros_like(v), *(np.maximum(p, 0.0) for p in _CANDIDATES[penalty.kind](v, steps, alpha, shape))]
    candidates = np.stack([np.where(np.isfinite(p), p, 0.0) for p in points])
    values = 0.5 * (candidates - v) ** 2 + steps * penalty_values(penalty, candidates)
    best = values.argmin(axis=0)
    chosen = np.take_along_axis(candidates, best[None], axis=0)
    lowest = np.take_along_axis(values, best[None], axis=0)
    # The objectives of two candidates differ by as much as u does, times their distance.
    roundings = 4.0 * np.finfo(np.float64).eps * (lowest + 0.5 * v**2)
    near = values <= lowest + slack * np.abs(candidates - chosen) + roundings
    return np.where(near, np.abs(candidates * sign - x), np.inf).min(axis=0)


def _parabola(kind: int, alpha: float, shape: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return slope at zero and bend of MCP and CEL0."""
    if kind == tags.CEL0:
        return np.sqrt(2.0 * alpha) * shape, shape**2
    return np.full_like(shape, alpha), 1.0 / shape


def _bent(kind: int) -> _Candidates:
    def candidates(v: Float64Array, s: Float64Array, alpha: float, shape: Float64Array) -> list[Float64Array]:
        slope, bend = _parabola(kind, alpha, shape)
        top = slope / bend
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = (v - s * slope) / (1.0 - s * bend)
        return [np.clip(inner, 0.0, top), top, np.maximum(v, top)]

    return candidates


def _scad(v: Float64Array, s: Float64Array, alpha: float, a: Float64Array) -> list[Float64Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = ((a - 1.0) * v - s * a * alpha) / (a - 1.0 - s)
    return [np.clip(v - s * alpha, 0.0, alpha), np.clip(middle, alpha, a * alpha), np.maximum(v, a * alpha)]


def _log_sum(v: Float64Array, s: Float64Array, alpha: float, eps: Float64Array) -> list[Float64Array]:
    # (v - x)(eps + x) = s alpha; the other root is a maximum.
    square = np.maximum((v + eps) ** 2 - 4.0 * s * alpha, 0.0)
    return [0.5 * (v - eps + np.sqrt(square))]


def _capped(v: Float64Array, s: Float64Array, alpha: float, theta: Float64Array) -> list[Float64Array]:
    return [np.clip(v - s * alpha, 0.0, theta), np.maximum(v, theta)]


def _power(v: Float64Array, s: Float64Array, alpha: float, q: Float64Array) -> list[Float64Array]:
    """Find the larger zero of ``x + c q x^(q-1) - v``, convex, by Newton steps from v downwards."""
    c = s * alpha * q
    least = (c * (1.0 - q)) ** (1.0 / (2.0 - q))
    x = np.maximum(v, least)
    for _ in range(_NEWTON):
        pull = c * x ** (q - 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = (x + pull - v) / (1.0 - (1.0 - q) * pull / x)
        new = np.where(np.isfinite(step), np.clip(x - step, least, x), x)
        if np.array_equal(new, x):
            break
        x = new
    return [x]


_CANDIDATES: Mapping[int, _Candidates] = MappingProxyType(
    {
        tags.L1: lambda v, s, alpha, _: [v - s * alpha],
        tags.L0: lambda v, s, alpha, _: [v],
        tags.LQ: _power,
        tags.CEL0: _bent(tags.CEL0),
        tags.MCP: _bent(tags.MCP),
        tags.SCAD: _scad,
        tags.LOG_SUM: _log_sum,
        tags.CAPPED_L1: _capped,
    }
)
