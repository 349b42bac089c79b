"""Supports that the answers so far allow."""

import numpy as np

from sparsetheory.bandits.supports.allowed import allowed_coefficients
from sparsetheory.bandits.supports.basis import support_basis
from sparsetheory.bandits.supports.screening import screen_supports
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["allowed_on", "consistent_supports"]

# Rounding of least squares, as a share of the largest answer; what is nearer to refuted is kept.
_ROUNDING = 1e-11


def consistent_supports(
    rows: AnyArray, observed: Float64Array, n_nonzero: int, eps: float, max_supports: int
) -> IndexArray:
    """Return all supports whose least squares leave residuals of at most `eps` in the mean square.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Features of queried actions.
    observed : ndarray of shape (n,)
    n_nonzero : int
    eps : float
    max_supports : int

    Returns
    -------
    ndarray of int, of shape (m, n_nonzero)
    """
    X = np.asarray(rows, dtype=np.float64)
    allowed = eps + _ROUNDING * float(np.abs(observed).max(initial=0.0))
    return screen_supports(
        X.T @ X,
        X.T @ observed,
        float(observed @ observed),
        len(X),
        n_nonzero,
        allowed,
        rows=X,
        rewards=observed,
        max_supports=max_supports,
    )


def allowed_on(rows: AnyArray, observed: Float64Array, support: IndexArray, eps: float) -> bool:
    """Return whether some linear function on a support may be within `eps` of every answer.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Features of queried actions.
    observed : ndarray of shape (n,)
    support : ndarray of int
    eps : float

    Returns
    -------
    bool
        False only if it is proved that there is none, in the largest residual.
    """
    X = np.asarray(rows[:, support], dtype=np.float64)
    size = float(np.abs(observed).max(initial=0.0))
    # In an orthonormal basis coefficients of nearly dependent features, which can be large, leave no rounding behind.
    basis = support_basis(np.ascontiguousarray(X.T), np.arange(X.shape[1]))
    if not basis.rank:
        return size <= eps
    allowed = allowed_coefficients(basis.coordinates.T, observed, eps + (basis.rounding + _ROUNDING) * size)
    corners = allowed.corners()
    return not allowed.refuted and (corners is None or len(corners) > 0)
