"""Which coefficients count as different from zero."""

import numpy as np

from sparsetheory.typing import IndexArray, InexactArray

__all__ = ["significant"]


def significant(coef: InexactArray, share: float = 1e-3) -> IndexArray:
    """Return the coefficients above a share of the largest.

    Parameters
    ----------
    coef : ndarray of shape (N,) or (N, n_snapshots)
        Coefficients; any snapshot counts.
    share : float
        Below 1.

    Returns
    -------
    ndarray of int
        Empty if all are zero.
    """
    size = np.abs(coef) if coef.ndim == 1 else np.abs(coef).max(axis=1)
    return np.flatnonzero(size > share * size.max(initial=0.0))
