r"""The smallest coefficients that no observation contradicts, by a linear program."""

import numpy as np
from scipy.optimize import linprog

from sparsetheory.bandits.supports.misspecification import estimate_eps
from sparsetheory.typing import Float64Array

__all__ = ["l1_within_sup"]

# Tolerances of the program, relative to the largest reward; they are not those of what is proved. The solver cannot
# always keep the first.
_TOLERANCES = (1e-10, 1e-8)
# By so much, relative to the largest reward, the level is widened.
_ROOM = 1e-9


def l1_within_sup(X: Float64Array, y: Float64Array, level: float) -> tuple[Float64Array, Float64Array] | None:
    r"""Minimise :math:`|\theta|_1` subject to :math:`|y - X \theta|_\infty \le` `level`.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    level : float

    Returns
    -------
    (theta, prices), or None where no coefficients are within `level`
        Prices u show that no coefficients are much smaller: :math:`|\theta|_1 \ge u^\top y - level\, |u|_1` wherever
        :math:`|X^\top u|_\infty \le 1`, for all that are within `level`.

    Notes
    -----
    Positive and negative parts of the coefficients, in units in which all columns are alike, are the unknowns of HiGHS.
    `level` is widened by a billionth of the largest reward, so that rounding does not make a true model infeasible.
    That there are no such coefficients is believed only with a proof; where the solver finds neither, the coefficients
    with the smallest largest residual are returned, with prices of zero, which show nothing.
    """
    n, d = X.shape
    size = float(np.abs(y).max(initial=0.0))
    if size <= level:
        return np.zeros(d), np.zeros(n)
    # The solver takes small entries for zeros, so every column is divided by its largest entry.
    spans = np.abs(X).max(axis=0, initial=0.0)
    spans[spans == 0] = 1.0
    both = np.hstack([X / spans, -X / spans])
    room = level / size + _ROOM
    for tolerance in _TOLERANCES:
        program = linprog(
            np.tile(spans.min() / spans, 2),
            A_ub=np.vstack([both, -both]),
            b_ub=np.concatenate([y / size + room, room - y / size]),
            bounds=(0, None),
            method="highs",
            options={"primal_feasibility_tolerance": tolerance, "dual_feasibility_tolerance": tolerance},
        )
        if program.status == 0:
            theta = (program.x[:d] - program.x[d:]) * size / spans
            # Prices of both sides are at most zero: of predictions that are too large, and too small.
            prices = (program.ineqlin.marginals[:n] - program.ineqlin.marginals[n:]) / spans.min()
            return theta, prices / max(1.0, float(np.abs(X.T @ prices).max()))
    nearest = estimate_eps(X, y, d)
    return None if nearest.eps_lower > level else (nearest.theta, np.zeros(n))
