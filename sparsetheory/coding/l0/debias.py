"""Least squares on the supports of given codes."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.coding.codes.problem import check_codes, check_signals
from sparsetheory.coding.l0.support_groups import DEPENDENT, SupportGroup, factor_supports, support_groups
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["debias"]


# Supports factored at a time.
_BLOCK = 256


def debias(X: ArrayLike, D: ArrayLike, C: ArrayLike) -> FloatArray:
    """Return codes with the same supports that fit the signals best, without the shrinkage of a penalty.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals.
    D : array-like of shape (n_atoms, n_features)
        Atoms, one per row.
    C : array-like of shape (n_samples, n_atoms)
        Codes, of which only the supports count.

    Returns
    -------
    ndarray of shape (n_samples, n_atoms)
        Least-squares codes, of least Euclidean norm where atoms of a support depend; in single precision if `X` and `D`
        are, else in double. Computed in double precision.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, entries are not finite, or an atom is zero.

    Notes
    -----
    A QR factorisation of each different support of k atoms, O(n_features k^2), and O(n_features k) operations per code.
    An entry of the result can be zero.

    Examples
    --------
    >>> import numpy as np
    >>> D = np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> debias([[3.0, 4.0]] * 3, D, [[1.0, 0.0], [0.0, 0.1], [1.0, 1.0]]).round(6)
    array([[3., 0.],
           [0., 5.],
           [0., 5.]])
    """
    X, A = check_signals(X, D)
    used = check_codes(C, X, A) != 0
    out = np.zeros(used.shape, X.dtype)
    signals, atoms = X.astype(np.float64, copy=False), A.astype(np.float64, copy=False)
    for group in support_groups(used, _BLOCK):
        out[group.rows[:, None], group.supports[group.owners]] = _fit(signals[group.rows], atoms, group)
    return out


def _fit(X: Float64Array, A: Float64Array, group: SupportGroup) -> Float64Array:
    """Return the coefficients of the codes of a group, shape (n_rows, size)."""
    factors, owners = factor_supports(A, group.supports, DEPENDENT), group.owners
    along = np.einsum("rmk,rm->rk", factors.directions[owners], X)
    values = np.einsum("rkj,rj->rk", factors.inverse[owners], along)
    for position in np.flatnonzero(~factors.independent):
        rows = owners == position
        values[rows] = np.linalg.lstsq(A[:, group.supports[position]], X[rows].T)[0].T
    return values
