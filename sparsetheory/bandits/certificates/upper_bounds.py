r"""How large the rewards of actions can be, if they are nearly a linear function on one support.

With an orthonormal basis, every action has coordinates q, and queried actions are the rows of a matrix X. If rewards y
are within e of ``X c`` for some c, least squares ``c' = X^+ y`` errs at an action by at most

    |q (c' - c)| <= |sum_i q X^+ (y - X c)| <= e sum_i |q X^+|_i <= e sqrt(n) |q X^+|_2,

and so its reward is at most ``q c' + e sqrt(n) |q X^+| + e``. Where q leaves the row space of X, nothing bounds it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import svd

from sparsetheory.bandits.supports.basis import SupportBasis
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["UpperBounds", "upper_bounds"]

# Singular values below this share of the largest, and coordinates of actions in such directions, are rounding.
_NOTHING = 1e-12


@dataclass(frozen=True, eq=False)
class UpperBounds:
    """What answers say of one support.

    Parameters
    ----------
    values : ndarray of shape (n_actions,)
        Upper bounds of the rewards of all actions.
    refuted : bool
        Whether no linear function on the support is within eps of the answers.
    """

    values: Float64Array
    refuted: bool


def upper_bounds(basis: SupportBasis, queried: IndexArray, observed: Float64Array, eps: float) -> UpperBounds:
    """Return upper bounds of all rewards, if they are within `eps` of a linear function on a support.

    Parameters
    ----------
    basis : SupportBasis
    queried : ndarray of int
        Actions, each once.
    observed : ndarray of float
        Their rewards, or means of rewards that are within w of them; `eps` contains w then.
    eps : float

    Returns
    -------
    UpperBounds
        Takes O(n_actions s + n s^2) time, by a singular value decomposition.
    """
    n, rank = len(queried), basis.rank
    if rank == 0:  # the support has zero columns alone
        worst = float(np.abs(observed).max(initial=0.0))
        return UpperBounds(np.full(basis.coordinates.shape[1], eps), worst > eps * (1 + 1e-12))
    rows = basis.coordinates[:, queried].T
    left, singular, right = svd(rows, full_matrices=True, check_finite=False)
    kept = np.count_nonzero(singular > _NOTHING * singular[0]) if n else 0
    size = float(np.abs(observed).max(initial=0.0))
    # Rounding of the basis, and of least squares in it, counts as misspecification.
    spread = singular[0] / singular[kept - 1] if kept else 1.0
    eps = eps + (basis.rounding + 32 * np.finfo(np.float64).eps * spread) * size
    fitted = left[:, :kept].T @ observed
    residual = observed - left[:, :kept] @ fitted
    refuted = bool(residual @ residual > n * eps**2)
    white = (right[:kept] / singular[:kept, None]) @ basis.coordinates
    values = fitted @ white + eps * np.sqrt(n) * np.sqrt(np.einsum("ij,ij->j", white, white)) + eps
    if kept < rank:
        outside = np.abs(right[kept:] @ basis.coordinates).max(axis=0)
        values[outside > _NOTHING * np.abs(basis.coordinates).max()] = np.inf
    return UpperBounds(values, refuted)
