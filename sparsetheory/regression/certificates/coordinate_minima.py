"""How far a coefficient is from its best value, by comparing values of the objective.

For one coefficient with all others fixed, a penalised least-squares objective is ``h (t - u)^2 / 2 + phi(t)``. This
file lists all points where its minimum can be and compares their values. It shares nothing with the thresholding
operators of the solvers, and is there to check them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.typing import Float64Array

__all__ = ["distance_to_best", "penalty_values"]

_EPS = float(np.finfo(np.float64).eps)
# Halvings of an interval of doubles; after these its ends are neighbours.
_HALVINGS = 200


def penalty_values(kind: int, v: Float64Array, alpha: Float64Array, shape: Float64Array) -> Float64Array:
    """Return the penalty of ``v >= 0``, entry by entry, from its definition.

    Parameters
    ----------
    kind : int
        Tag of the penalty.
    v, alpha, shape : ndarray
        Sizes of coefficients, levels, and the number beside them; they broadcast.
    """
    return np.asarray(_VALUES[kind](v, alpha, shape))


def _scad_values(v: Float64Array, alpha: Float64Array, a: Float64Array) -> Float64Array:
    middle = (2 * a * alpha * v - v**2 - alpha**2) / (2 * (a - 1))
    return np.where(v <= alpha, alpha * v, np.where(v <= a * alpha, middle, alpha**2 * (a + 1) / 2))


def _mcp_values(v: Float64Array, alpha: Float64Array, gamma: Float64Array) -> Float64Array:
    return np.where(v <= gamma * alpha, alpha * v - v**2 / (2 * gamma), gamma * alpha**2 / 2)


def _cel0_values(v: Float64Array, alpha: Float64Array, a: Float64Array) -> Float64Array:
    reached = np.minimum(v, np.sqrt(2 * alpha) / a)
    return np.sqrt(2 * alpha) * a * reached - 0.5 * (a * reached) ** 2


_VALUES: Mapping[int, Callable[[Float64Array, Float64Array, Float64Array], Float64Array]] = MappingProxyType(
    {
        tags.L1: lambda v, alpha, _: alpha * v,
        tags.L0: lambda v, alpha, _: np.where(v > 0, alpha, 0.0),
        tags.LQ: lambda v, alpha, q: alpha * v**q,
        tags.CEL0: _cel0_values,
        tags.MCP: _mcp_values,
        tags.SCAD: _scad_values,
        tags.LOG_SUM: lambda v, alpha, eps: alpha * np.log1p(v / eps),
        tags.CAPPED_L1: lambda v, alpha, theta: alpha * np.minimum(v, theta),
    }
)


def _candidates(
    kind: int, u: Float64Array, h: Float64Array, alpha: Float64Array, shape: Float64Array
) -> list[Float64Array]:
    """Return where the minimum over ``t >= 0`` can be besides zero, for ``u >= 0``: points of slope zero, and kinks."""
    soft = u - alpha / h
    if kind == tags.L1:
        return [soft]
    if kind == tags.L0:
        return [u]
    if kind == tags.CAPPED_L1:
        return [np.minimum(soft, shape), np.maximum(u, shape)]
    if kind == tags.SCAD:
        bend = 1 / (shape - 1)
        inner = np.minimum(soft, alpha)
        outer = _between(h * u - shape * alpha * bend, h - bend, alpha, shape * alpha)
        return [inner, np.where(u >= shape * alpha, u, outer)]
    if kind == tags.LOG_SUM:
        return [0.5 * (u - shape + np.sqrt(np.maximum((u + shape) ** 2 - 4 * alpha / h, 0.0)))]
    if kind == tags.LQ:
        return [_lq_root(u, h, alpha, shape)]
    slope, bend = (np.sqrt(2 * alpha) * shape, shape**2) if kind == tags.CEL0 else (alpha, 1 / shape)
    inner = _between(h * u - slope, h - bend, np.zeros_like(u), slope / bend)
    return [inner, np.where(u >= slope / bend, u, inner)]


def _steepest(kind: int, alpha: Float64Array, shape: Float64Array) -> Float64Array:
    """Return the slope of the penalty at zero: up to this pull, zero is a local minimum."""
    if kind in (tags.L0, tags.LQ):
        return np.full_like(alpha, np.inf)
    if kind == tags.CEL0:
        return np.sqrt(2 * alpha) * shape
    return alpha / shape if kind == tags.LOG_SUM else alpha


def _between(top: Float64Array, bottom: Float64Array, low: Float64Array, high: Float64Array) -> Float64Array:
    """Return the point of slope zero of a parabola, moved into an interval; an end where the parabola opens down."""
    safe = np.where(bottom > 0, bottom, 1.0)
    return np.where(bottom > 0, np.clip(top / safe, low, high), high)


def _lq_root(u: Float64Array, h: Float64Array, alpha: Float64Array, q: Float64Array) -> Float64Array:
    """Return the larger root of ``h (v - u) + alpha q v^(q-1)``, which is convex in v, by bisection."""
    low, high = (alpha * q * (1 - q) / h) ** (1 / (2 - q)), u.copy()
    with np.errstate(divide="ignore"):
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            below = h * (middle - u) + alpha * q * np.where(middle > 0, middle, 1.0) ** (q - 1) < 0
            low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


def distance_to_best(
    kind: int,
    coef: Float64Array,
    gradient: Float64Array,
    curvature: Float64Array,
    alpha: Float64Array,
    shape: Float64Array,
) -> Float64Array:
    """Return how far coefficients are from their best values, in units of the gradient.

    Of all values t that could be best, the least of ``h |w - t| + sqrt(2 h e)``, where e is how much higher the
    objective is at t than at its minimum: zero only where w is best, and small only where a small change of the
    gradient makes it best.

    Parameters
    ----------
    kind : int
        Tag of the penalty.
    coef, gradient, curvature, alpha, shape : ndarray of shape (d,)
        Coefficients w, negative gradients of the loss there, positive curvatures h, levels and the number beside them.

    Returns
    -------
    ndarray of shape (d,)

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.numba_kernels.penalties import tags
    >>> w, g, one = np.array([0.0, 1.0]), np.array([1.5, 1.0]), np.ones(2)
    >>> distance_to_best(tags.L1, w, g, one, one, one)
    array([0.5, 0. ])
    """
    u = coef + gradient / curvature
    sign = np.where(u < 0, -1.0, 1.0)
    u, w = np.abs(u), coef * sign
    places = [np.clip(t, 0.0, u) for t in _candidates(kind, u, curvature, alpha, shape)]
    # Only minima may count as best up to rounding: near one, the objective differs by less than it is rounded.
    places.append(np.where(curvature * u <= _steepest(kind, alpha, shape), 0.0, places[0]))
    # Products with the way from w to t keep digits that differences of squares would lose.
    pull = gradient * sign
    with np.errstate(invalid="ignore"):
        values = np.stack(
            [(t - w) * (0.5 * curvature * (t - w) - pull) + penalty_values(kind, t, alpha, shape) for t in places]
        )
    sizes = curvature * u**2 + np.abs(pull * u) + penalty_values(kind, u, alpha, shape)
    higher = np.maximum(values - values.min(axis=0) - 16 * _EPS * sizes, 0.0)
    ways = np.stack([curvature * np.abs(w - t) for t in places])
    return np.asarray(np.min(ways + np.sqrt(2 * curvature * higher), axis=0))
