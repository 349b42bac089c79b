r"""The Lasso, and the smallest coefficients within a ball. A bridge to the path solver of the regression room.

The Lasso minimises :math:`\frac{1}{2n} |y - X\theta|^2 + \alpha |\theta|_1`. The norm of its residual grows with
`alpha`; where it is the radius of the ball, the solution is the one with the smallest :math:`|\theta|_1` in the ball.
"""

import math
import warnings

import numpy as np
from scipy.optimize import brentq
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bandits.regression.sup_norm import l1_within_sup
from sparsetheory.regression.lasso.path import lasso_path
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["l1_within_ball", "lasso", "least_squares"]

# Tolerances of gaps, relative to the energy of the rewards. What is proved of a solution uses the gap that it reached.
_GAP = 1e-12
# A residual below this share of the rewards is rounding, or nearly so: the ball counts as a point.
_POINT = 1e-8
# Strengths that are tried, as a share of the one at which all coefficients are zero.
_WEAKEST, _STEP = 1e-10, 4.0


def lasso(X: Float64Array, y: Float64Array, counts: Int64Array, alpha: float) -> Float64Array:
    """Return the solution of the Lasso for rows that count several times.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    counts : ndarray of int, of shape (n,)
    alpha : float
        Positive.
    """
    if not y.any():
        return np.zeros(X.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the gap that was reached is looked at
        path = lasso_path(X, y, alphas=[alpha], sample_weight=counts.astype(np.float64), tol=_GAP)
    return np.asarray(path.coefs[:, 0], dtype=np.float64)


def least_squares(X: Float64Array, y: Float64Array) -> Float64Array:
    """Return coefficients of least squares, of the smallest norm in units in which all columns are alike.

    In other units the solver would take short columns for rounding.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    """
    lengths = np.linalg.norm(X, axis=0)
    lengths[lengths == 0] = 1.0
    return np.asarray(np.linalg.lstsq(X / lengths, y, rcond=None)[0] / lengths, dtype=np.float64)


def l1_within_ball(X: Float64Array, y: Float64Array, radius: float) -> tuple[Float64Array, Float64Array] | None:
    r"""Minimise :math:`|\theta|_1` subject to :math:`|y - X \theta|_2 \le` `radius`.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    radius : float

    Returns
    -------
    (theta, prices), or None where no coefficients are within the ball
        Prices u show that no coefficients are much smaller: :math:`|\theta|_1 \ge u^\top y - radius\, |u|_2` wherever
        :math:`|X^\top u|_\infty \le 1`, for all that are within the ball.
    """
    n, d = X.shape
    size = float(np.linalg.norm(y))
    if size <= radius:
        return np.zeros(d), np.zeros(n)
    nearest = least_squares(X, y)
    least = float(np.linalg.norm(y - X @ nearest))
    if least > radius * (1 + _POINT) + _POINT * size:
        return None
    if radius <= max(_POINT * size, least * (1 + _POINT)):
        within = l1_within_sup(X, y, _POINT * size / np.sqrt(n)) if least <= _POINT * size else None
        return (nearest, np.zeros(n)) if within is None else within
    ones, strongest = np.ones(n, dtype=np.int64), float(np.abs(X.T @ y).max()) / n

    def excess(log_alpha: float) -> float:
        return float(np.linalg.norm(y - X @ lasso(X, y, ones, float(np.exp(log_alpha))))) - radius

    # Weak penalties cost most: the strength is lowered step by step until the residual is small enough.
    high, low = math.log(strongest), math.log(strongest / _STEP)
    while excess(low) > 0:
        if low < math.log(strongest * _WEAKEST):
            return l1_within_sup(X, X @ nearest, 0.0)
        high, low = low, low - math.log(_STEP)
    root = brentq(excess, low, high, xtol=1e-13, rtol=1e-13)
    theta = lasso(X, y, ones, float(np.exp(root)))
    residual = y - X @ theta
    return theta, residual / max(float(np.abs(X.T @ residual).max()), np.finfo(np.float64).tiny)
