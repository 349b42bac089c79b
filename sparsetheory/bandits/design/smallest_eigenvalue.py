r"""Designs with the largest smallest eigenvalue, by an interior-point method on a few rows.

With ``x = p / C`` for a design p and the smallest eigenvalue C of its matrix V(p), the problem and its dual are

    min sum x  over x >= 0 with V(x) >= I,          max tr Y  over Y >= 0 with a' Y a <= 1 for all rows a.

For a barrier of strength m the optimality conditions of

    sum x - m (log det M + sum log x),   M = V(x) - I,

are ``a' Y a = 1 - m / x_a`` with ``Y = m M^-1``: on the central path Y is feasible in the dual, and the gap is m times
the number of inequalities. Newton's matrix is that of squares ``(a' M^-1 b)^2`` plus a diagonal.

In other coordinates, rows ``a T`` instead of ``a``, the identity becomes ``S = T' T``, and a dual variable Z in them
stands for ``Y = T Z T'``. Coordinates in which V is about the identity keep M well conditioned whatever the units are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

from sparsetheory.typing import Float64Array

__all__ = ["CentralPoint", "central_point"]

# The barrier shrinks by this factor as soon as the point is near the central path.
_SHRINK = 0.15
# Squared Newton decrement, over the strength of the barrier, from which on a point counts as near.
_NEAR = 0.1
# Share of the way to where a weight would vanish.
_TO_BOUNDARY = 0.95
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class CentralPoint:
    """A point near the central path.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Positive weights; they add up to the inverse of about the smallest eigenvalue.
    dual_root : ndarray of shape (d, d)
        F with ``Y = F F'``, in the coordinates of the rows.
    barrier : float
        Strength m.
    n_iter : int
        Newton steps.
    """

    x: Float64Array
    dual_root: Float64Array
    barrier: float
    n_iter: int


def central_point(
    rows: Float64Array, floor: Float64Array, x: Float64Array, barrier: float, last_barrier: float, max_iter: int
) -> CentralPoint:
    """Follow the central path until the barrier is weak enough.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    floor : ndarray of shape (d, d)
        The matrix S.
    x : ndarray of shape (n,)
        Positive, with ``V(x) - S`` positive definite.
    barrier, last_barrier : float
        Where to begin, and where to end.
    max_iter : int
        Most Newton steps; each takes O(n^2 (n + d)) time.

    Returns
    -------
    CentralPoint
    """
    factor = _factor(rows, floor, x)
    if factor is None:
        raise ValueError("x must be strictly feasible")
    barrier = max(barrier, last_barrier)
    n_iter = 0
    while n_iter < max_iter:
        white = solve_triangular(factor, rows.T, lower=True, check_finite=False)
        step, decrement = _newton(white, x, barrier)
        moved = _moved(rows, floor, x, step, factor, barrier, decrement)
        n_iter += 1
        if moved is None:  # rounding is all that is left to gain
            break
        x, factor = moved
        if decrement <= _NEAR * barrier:
            if barrier <= last_barrier:
                break
            barrier = max(_SHRINK * barrier, last_barrier)
    inverse = solve_triangular(factor, np.eye(rows.shape[1]), lower=True, check_finite=False)
    return CentralPoint(x, np.sqrt(barrier) * inverse.T, barrier, n_iter)


def _factor(rows: Float64Array, floor: Float64Array, x: Float64Array) -> Float64Array | None:
    """Return the lower Cholesky factor of V(x) - S, if there is one."""
    try:
        return np.asarray(np.linalg.cholesky((rows.T * x) @ rows - floor))
    except LinAlgError:
        return None


def _newton(white: Float64Array, x: Float64Array, barrier: float) -> tuple[Float64Array, float]:
    """Return Newton's step, and how fast the function falls along it."""
    products = white.T @ white
    gradient = 1 - barrier * (np.diagonal(products) + 1 / x)
    # In the variables step / x, where the diagonal part is the identity.
    hessian = products**2 * x * x[:, None]
    hessian[np.diag_indices(len(x))] += 1.0
    scaled = x * gradient / barrier
    relative = cho_solve(cho_factor(hessian, overwrite_a=True, check_finite=False), scaled, check_finite=False)
    return -x * relative, float(barrier * (scaled @ relative))


def _moved(
    rows: Float64Array,
    floor: Float64Array,
    x: Float64Array,
    step: Float64Array,
    factor: Float64Array,
    barrier: float,
    decrement: float,
) -> tuple[Float64Array, Float64Array] | None:
    """Return the point after a step with enough of the decrease that the slope promises, and its factor."""
    toward = float((-step / x).max())
    length = 1.0 if toward <= _TO_BOUNDARY else _TO_BOUNDARY / toward
    before = 2 * float(np.log(np.diagonal(factor)).sum())
    for _ in range(_HALVINGS):
        moved = x + length * step
        grown = _factor(rows, floor, moved)
        if grown is not None:
            logs = 2 * float(np.log(np.diagonal(grown)).sum()) - before + float(np.log1p(length * step / x).sum())
            change = length * float(step.sum()) - barrier * logs
            if change <= -0.1 * length * decrement:
                return moved, grown
        length /= 2
    return None
