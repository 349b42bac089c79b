"""Codes grouped by their supports, and orthonormal factors of the atoms of each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["DEPENDENT", "Factors", "SupportGroup", "factor_supports", "outside", "support_groups"]


# Atoms depend if a smaller fraction of the square of one is left outside the others. Orthogonal factors in double
# precision resolve distances of some 1e-16 of the norm; coefficients beside a copy at 2e-12 still have four digits.
DEPENDENT = float(np.finfo(np.float64).eps) ** 1.5


@dataclass(frozen=True, eq=False)
class SupportGroup:
    """Supports of one size, and the codes that have them.

    Attributes
    ----------
    supports : ndarray of int of shape (n_supports, size)
        Different supports, sorted within.
    rows : ndarray of int of shape (n_rows,)
        Positions of the codes.
    owners : ndarray of int of shape (n_rows,)
        Which support each code has.
    """

    supports: IndexArray
    rows: IndexArray
    owners: IndexArray


def support_groups(used: BoolArray, most: int) -> Iterator[SupportGroup]:
    """Yield all rows of a mask, grouped by equal supports and these by size.

    Parameters
    ----------
    used : ndarray of bool of shape (n_samples, n_atoms)
        Where codes are not zero.
    most : int
        Most supports, and most rows, in one group; at least 1.

    Yields
    ------
    SupportGroup

    Examples
    --------
    >>> import numpy as np
    >>> for group in support_groups(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=bool), 9):
    ...     print(group.supports.tolist(), group.rows.tolist())
    [[1]] [1]
    [[0, 2]] [0, 2]
    """
    if used.shape[0] == 0:
        return
    _, first, inverse = np.unique(np.packbits(used, axis=1), axis=0, return_index=True, return_inverse=True)
    owner = inverse.ravel()
    sizes = np.count_nonzero(used[first], axis=1)
    # Rows in the order of the size of their support, equal supports next to each other.
    order = np.lexsort((owner, sizes[owner]))
    size_of_row = sizes[owner[order]]
    edges = np.flatnonzero(np.diff(size_of_row)) + 1
    for block in np.split(order, edges):
        for start in range(0, block.size, most):
            rows = block[start : start + most]
            different, owners = np.unique(owner[rows], return_inverse=True)
            size = int(sizes[owner[rows[0]]])
            yield SupportGroup(np.nonzero(used[first[different]])[1].reshape(different.size, size), rows, owners)


@dataclass(frozen=True, eq=False)
class Factors:
    """Atoms of several supports of one size as orthonormal directions.

    Attributes
    ----------
    directions : ndarray of shape (n_supports, n_features, min(n_features, size))
        An orthonormal basis of the span, Q of a QR factorisation.
    inverse : ndarray of shape (n_supports, size, min(n_features, size))
        Inverse of R: coefficients of the directions in the atoms. Zero where atoms depend.
    dual_squares : ndarray of shape (n_supports, size)
        Diagonal of the inverse Gram matrix: one over the square of what is left of an atom outside the others. Infinite
        where atoms depend.
    independent : ndarray of bool of shape (n_supports,)
        Whether more than the given fraction of the square of every atom is left outside the others.
    """

    directions: Float64Array
    inverse: Float64Array
    dual_squares: Float64Array
    independent: BoolArray


def outside(A: Float64Array, directions: Float64Array) -> Float64Array:
    """Return the components of all atoms that are orthogonal to some spans.

    Parameters
    ----------
    A : ndarray of shape (n_features, n_atoms)
        Atoms in columns, in double precision.
    directions : ndarray of shape (n_supports, n_features, k)
        An orthonormal basis of each span.

    Returns
    -------
    ndarray of shape (n_supports, n_features, n_atoms)
        Projected twice, so that each vector errs by some roundings of the norm of its atom, however short it is.
    """
    left = np.broadcast_to(A, (directions.shape[0], *A.shape))
    for _ in range(2):
        left = left - directions @ (directions.transpose(0, 2, 1) @ left)
    return left


def factor_supports(A: Float64Array, supports: IndexArray, dependent: float) -> Factors:
    """Factor the atoms of each support.

    Parameters
    ----------
    A : ndarray of shape (n_features, n_atoms)
        Atoms in columns, in double precision.
    supports : ndarray of int of shape (n_supports, size)
        Sizes may exceed n_features; such atoms depend.
    dependent : float
        Atoms depend if at most this fraction of the square of one is left outside the others.

    Returns
    -------
    Factors

    Notes
    -----
    About ``4 n_features k^2`` operations for each support of size k (LAPACK, one support after another).
    """
    n_supports, size = supports.shape
    atoms = np.ascontiguousarray(A.T)[supports].transpose(0, 2, 1)
    Q, R = np.linalg.qr(atoms)
    inverse, duals = np.zeros((n_supports, size, Q.shape[2])), np.full((n_supports, size), np.inf)
    independent = np.zeros(n_supports, np.bool_)
    if size <= A.shape[0]:
        squares = np.einsum("umk,umk->uk", atoms, atoms)
        diagonal = np.einsum("ukk->uk", R) ** 2
        regular = (diagonal > dependent * squares).all(axis=1)
        inverse[regular] = np.linalg.inv(R[regular])
        duals[regular] = np.einsum("ukj,ukj->uk", inverse[regular], inverse[regular])
        independent = (duals * squares < 1.0 / dependent).all(axis=1)
    return Factors(Q, inverse, duals, independent)
