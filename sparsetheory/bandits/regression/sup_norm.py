r"""The smallest coefficients that no observation contradicts, by a linear program."""

import numpy as np
from scipy.optimize import linprog

from sparsetheory.typing import Float64Array

__all__ = ["l1_within_sup"]

# Tolerance of the program, relative to the largest reward; it is not the tolerance of what is proved.
_TOLERANCE = 1e-10


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
    Positive and negative parts of the coefficients are the unknowns of HiGHS. `level` is widened by a billionth of the
    largest reward, so that rounding does not make a true model infeasible.
    """
    n, d = X.shape
    size = float(np.abs(y).max(initial=0.0))
    if size <= level:
        return np.zeros(d), np.zeros(n)
    spans = float(np.abs(X).max(initial=0.0)) or 1.0
    both = np.hstack([X, -X]) / spans
    room = level / size + 10 * _TOLERANCE
    program = linprog(
        np.ones(2 * d),
        A_ub=np.vstack([both, -both]),
        b_ub=np.concatenate([y / size + room, room - y / size]),
        bounds=(0, None),
        method="highs",
        options={"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE},
    )
    if program.status == 2:
        return None
    if program.status != 0:
        raise RuntimeError(f"the linear program did not end: {program.message}")
    theta = (program.x[:d] - program.x[d:]) * size / spans
    # Prices of both sides are at most zero: of predictions that are too large, and too small.
    prices = (program.ineqlin.marginals[:n] - program.ineqlin.marginals[n:]) / spans
    return theta, prices / max(1.0, float(np.abs(X.T @ prices).max()))
