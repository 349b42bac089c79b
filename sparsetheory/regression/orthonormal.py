"""Orthonormal bases of the spans of columns, which grow as columns come."""

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from sparsetheory.typing import Float64Array, IndexArray

__all__ = [
    "GrowingColumns",
    "column_norms",
    "extend_basis",
    "leading_rank",
    "new_directions",
    "orthonormal_basis",
    "outside",
]


def column_norms(columns: Float64Array) -> Float64Array:
    """Return the Euclidean norms of columns."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->j", columns, columns)))


def leading_rank(pivoted: Float64Array, rtol: float) -> int:
    """Count the pivots above a fraction of the norm of the columns, which is 1 (or 0 for zero columns)."""
    return int(np.count_nonzero(np.abs(np.diagonal(pivoted)) > rtol))


def outside(basis: Float64Array, vectors: Float64Array) -> Float64Array:
    """Return what one projection off an orthonormal basis leaves of a vector, or of columns.

    What is left of a vector near the span cancels: its rounding errors are relative to the vector. A second call
    makes it orthogonal to working precision.
    """
    return np.asarray(vectors - basis @ (basis.T @ vectors))


def new_directions(basis: Float64Array, columns: Float64Array, rtol: float) -> tuple[Float64Array, IndexArray]:
    """Return an orthonormal basis of what columns add to the span of a basis, and the columns that it needed.

    Parameters
    ----------
    basis : ndarray of shape (n_samples, rank)
        Orthonormal columns; the rank may be 0.
    columns : ndarray of shape (n_samples, n_columns)
        Columns of unit norm, or of norm zero.
    rtol : float
        Columns whose pivots, in a QR factorisation of what the basis leaves of them, are at most this add nothing.

    Returns
    -------
    directions : ndarray of shape (n_samples, n_new)
        Orthonormal, and orthogonal to the basis.
    kept : ndarray of int, shape (n_new,)
        Columns that span them, in the order of their pivots.
    """
    left = outside(basis, columns)
    directions, pivots, order = scipy.linalg.qr(left, mode="economic", pivoting=True, check_finite=False)
    rank = leading_rank(pivots, rtol)
    # Weak directions lean towards the old ones: their rounding errors were relative to a longer column.
    return np.linalg.qr(outside(basis, directions[:, :rank]))[0], order[:rank].astype(np.intp)


def extend_basis(basis: Float64Array, columns: Float64Array, rtol: float) -> tuple[Float64Array, IndexArray]:
    """Return an orthonormal basis of the span of a basis and some columns, and the columns that it needed.

    Parameters
    ----------
    basis : ndarray of shape (n_samples, rank)
        Orthonormal columns; the rank may be 0. They come first in the new basis, as they are: a constant one stays
        exactly constant.
    columns : ndarray of shape (n_samples, n_columns)
        Columns of any scale.
    rtol : float
        As in :func:`orthonormal_basis`; distances include that to the span of the basis.
    """
    norms = column_norms(columns)
    directions, kept = new_directions(basis, columns / np.where(norms > 0, norms, 1.0), rtol)
    return np.asfortranarray(np.hstack([basis, directions])), np.sort(kept)


def orthonormal_basis(columns: ArrayLike, *, rtol: float = 1e-11) -> tuple[Float64Array, IndexArray]:
    """Return an orthonormal basis of the span of some columns.

    Parameters
    ----------
    columns : array-like of shape (n_samples, n_columns)
        Columns of any scale.
    rtol : float
        Columns are normalised; those that come closer than this to the span of the columns before them, in the order
        of a pivoted QR factorisation, are left out.

    Returns
    -------
    Q : ndarray of shape (n_samples, rank)
        Orthonormal, in Fortran order.
    kept : ndarray of shape (rank,)
        The columns that span it, in increasing order.

    Examples
    --------
    >>> import numpy as np
    >>> Q, kept = orthonormal_basis(np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]))
    >>> Q.shape, kept.tolist()
    ((2, 2), [0, 2])
    """
    given = np.asarray(columns, dtype=np.float64)
    return extend_basis(np.empty((given.shape[0], 0)), given, rtol)


class GrowingColumns:
    """A matrix to which columns are appended; its room doubles when it is full.

    Parameters
    ----------
    columns : ndarray of shape (n_rows, n_columns)
        First columns.

    Examples
    --------
    >>> import numpy as np
    >>> matrix = GrowingColumns(np.eye(3)[:, :1])
    >>> matrix.append(np.eye(3)[:, 2])
    >>> matrix.filled.tolist()
    [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, columns: Float64Array) -> None:
        self.size = 0
        self._room = np.empty((columns.shape[0], 16 + 2 * columns.shape[1]), order="F")
        self.append(columns)

    @property
    def filled(self) -> Float64Array:
        """The columns, shape (n_rows, size)."""
        return self._room[:, : self.size]

    def append(self, columns: Float64Array) -> None:
        """Append one column, of shape (n_rows,), or several, of shape (n_rows, n_columns)."""
        added = columns if columns.ndim == 2 else columns[:, None]
        size = self.size + added.shape[1]
        if size > self._room.shape[1]:
            room = np.empty((self._room.shape[0], 2 * size), order="F")
            room[:, : self.size] = self.filled
            self._room = room
        self._room[:, self.size : size] = added
        self.size = size

    def keep(self, positions: IndexArray) -> None:
        """Drop all columns but those at the given positions."""
        self._room[:, : positions.size] = self._room[:, positions]
        self.size = positions.size
