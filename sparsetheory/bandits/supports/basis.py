"""Models on one support: an orthonormal basis for all actions, and what is whitened in it."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.numba_kernels.bandits.orthonormal import orthonormal_columns
from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = ["SupportBasis", "support_basis"]

# A column with a smaller share of its norm outside the span of the others is a combination of them, to rounding.
_DEPENDENT = 1e-13


@dataclass(frozen=True, eq=False)
class SupportBasis:
    """An orthonormal basis of the columns of a support.

    Parameters
    ----------
    coordinates : ndarray of shape (rank, n_actions)
        One column for each action.
    rounding : float
        Relative error that the basis leaves in linear functions: rounding over the nearness of the columns.
    """

    coordinates: Float64Array
    rounding: float

    @property
    def rank(self) -> int:
        """Rank of the columns."""
        return len(self.coordinates)


def support_basis(columns: FloatArray, support: IndexArray) -> SupportBasis:
    """Return a basis of the columns of a support.

    A linear function of the features of the support is, to rounding, one of the coordinates. Its values at all actions
    are wrong by `rounding` times their largest magnitude, because nearly dependent columns cancel: coefficients are
    then large.

    Parameters
    ----------
    columns : ndarray of shape (n_features, n_actions)
        Features, each of them contiguous.
    support : ndarray of int, of shape (s,)

    Returns
    -------
    SupportBasis
        Takes O(n s^2) time.
    """
    s = len(support)
    basis, pivots = np.empty((s, columns.shape[1])), np.empty(2 * s)
    rank = orthonormal_columns(columns, support, _DEPENDENT, basis, pivots)
    smallest = float(pivots[:rank].min(initial=1.0))
    return SupportBasis(basis[:rank], 32 * np.finfo(np.float64).eps * s / smallest)
