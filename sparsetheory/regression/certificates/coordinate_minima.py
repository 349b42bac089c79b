"""How far a coefficient is from its best value, by comparing values of the objective.

For one coefficient with all others fixed, a penalised least-squares objective is ``h (t - u)^2 / 2 + phi(t)``. This
file takes all points where its minimum can be, from the definition of the penalty, and compares their values. It shares
nothing with the thresholding operators of the solvers, and is there to check them.
"""

import numpy as np

from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import Float64Array

__all__ = ["distance_to_best"]

_EPS = float(np.finfo(np.float64).eps)


def distance_to_best(
    penalty: Penalty,
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
    penalty : Penalty
        Its family and sign; its numbers are those of the features.
    coef, gradient, curvature, alpha, shape : ndarray of shape (d,)
        Coefficients w, negative gradients of the loss there, positive curvatures h, levels and the number beside them.

    Returns
    -------
    ndarray of shape (d,)

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.penalties import L1
    >>> w, g, one = np.array([0.0, 1.0]), np.array([1.5, 1.0]), np.ones(2)
    >>> distance_to_best(L1(1.0), w, g, one, one, one)
    array([0.5, 0. ])
    """
    u = coef + gradient / curvature
    if penalty.positive:
        # Below zero the objective increases from zero on.
        u = np.maximum(u, 0.0)
    sign = np.where(u < 0, -1.0, 1.0)
    u, w = np.abs(u), coef * sign
    places = [np.clip(t, 0.0, u) for t in penalty.stationary(u, curvature, alpha, shape)]
    # Only minima may count as best up to rounding: near one, the objective differs by less than it is rounded.
    places.append(np.where(curvature * u <= penalty.slope_at_zero(alpha, shape), 0.0, places[0]))
    # Products with the way from w to t keep digits that differences of squares would lose.
    pull = gradient * sign
    with np.errstate(invalid="ignore"):
        values = np.stack(
            [(t - w) * (0.5 * curvature * (t - w) - pull) + penalty.values(t, alpha, shape) for t in places]
        )
    sizes = curvature * u**2 + np.abs(pull * u) + penalty.values(u, alpha, shape)
    higher = np.maximum(values - values.min(axis=0) - 16 * _EPS * sizes, 0.0)
    ways = np.stack([curvature * np.abs(w - t) for t in places])
    distances = np.min(ways + np.sqrt(2 * curvature * higher), axis=0)
    return np.asarray(np.where(coef < 0, np.inf, distances) if penalty.positive else distances)
