"""Which coefficients count as different from zero."""

import numpy as np

from sparsetheory.typing import IndexArray, InexactArray

__all__ = ["significant"]


def significant(coef: InexactArray, relative_threshold: float = 1e-3) -> IndexArray:
    """Return the coefficients above a fraction of the largest.

    Parameters
    ----------
    coef : ndarray of shape (N,) or (N, n_snapshots)
        Coefficients; any snapshot counts.
    relative_threshold : float
        The fraction, below 1.

    Returns
    -------
    ndarray of int
        Empty if all are zero.
    """
    size = np.abs(coef) if coef.ndim == 1 else np.abs(coef).max(axis=1)
    return np.flatnonzero(size > relative_threshold * size.max(initial=0.0))
