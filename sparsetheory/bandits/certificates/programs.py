r"""Largest rewards on one support by linear programs, as a second route to what corners of polytopes say.

The largest ``z v`` under ``A v <= b`` is proved by prices ``p >= 0`` with ``p A = z``: then ``z v = p A v <= p b``. The
prices of one action live on a few sides, which often prove the same for other actions: those whose own prices on these
sides are not negative.
"""

import numpy as np
from scipy.optimize import linprog

from sparsetheory.bandits.supports.misspecification import estimate_eps
from sparsetheory.typing import Float64Array

__all__ = ["exceeded"]

# Answers may be wrong by this share more than eps: what a solver of this tolerance calls infeasible is infeasible then.
_ROOM, _TOLERANCE = 1e-8, 1e-9
# Prices below this share of the largest are rounding.
_PRICE = 1e-9


def exceeded(rows: Float64Array, left: Float64Array, directions: Float64Array, limits: Float64Array) -> float:
    """Return by how much ``z v`` exceeds its limit, at most, over all v with ``|left - rows v| <= 1``.

    Parameters
    ----------
    rows : ndarray of shape (n, k)
        With orthogonal columns of length ``sqrt(n)``.
    left : ndarray of shape (n,)
    directions : ndarray of shape (m, k)
        One z for each limit.
    limits : ndarray of shape (m,)

    Returns
    -------
    float
        At most 0 if all limits hold, then not sharp; minus infinity if there is no such v.
    """
    sides, reach = np.vstack([rows, -rows]), np.concatenate([1 + left, 1 - left]) + _ROOM
    open_, worst = np.arange(len(limits)), -np.inf
    while open_.size:
        at = open_[np.argmax(np.linalg.norm(directions[open_], axis=1) - limits[open_])]
        direction = directions[at]
        program = linprog(
            -direction,
            A_ub=sides,
            b_ub=reach,
            bounds=(None, None),
            method="highs",
            options={"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE},
        )
        if program.status != 0:  # without a solution nothing is known, unless it is that there is none
            none = program.status == 2 or estimate_eps(rows, left, rows.shape[1]).eps_lower > 1
            return -np.inf if none else np.inf
        prices = np.maximum(-program.ineqlin.marginals, 0.0)
        proved = float(prices @ reach) + float(np.linalg.norm(direction - prices @ sides))
        worst = max(worst, proved - float(limits[at]))
        if worst > 0:
            return worst
        open_ = open_[open_ != at]
        used = np.flatnonzero(prices > _PRICE * prices.max(initial=0.0))
        if len(used) == len(direction) and np.linalg.cond(sides[used]) < 1e6:
            others = np.linalg.solve(sides[used].T, directions[open_].T)
            shared = (others.min(axis=0) >= 0) & (reach[used] @ others <= limits[open_])
            open_ = open_[~shared]
    return worst
