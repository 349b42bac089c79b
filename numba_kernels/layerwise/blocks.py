"""Blocks of a matrix, picked by index and put together to a swept matrix."""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.numba_kernels.layerwise.pivots import Tableau, new_tableau
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["assemble", "pick", "warmup"]


@entry
def pick(matrix: Float64Array, rows: Int64Array, columns: Int64Array, out: Float64Array) -> None:
    """Write ``matrix[rows][:, columns]``."""
    for i in range(rows.size):
        source, target = matrix[rows[i]], out[i]
        for j in range(columns.size):
            target[j] = source[columns[j]]


@entry
def assemble(
    kept: Int64Array,
    others: Int64Array,
    inverse: Float64Array,
    cross: Float64Array,
    schur: Float64Array,
    coefficients: Float64Array,
    b: Float64Array,
    tableau: Tableau,
) -> None:
    """Fill a tableau that is swept with the kept columns as pivots.

    Parameters
    ----------
    kept, others : ndarray of shape (k,) and (p - k,)
        Indices.
    inverse : ndarray of shape (k, k)
        Inverse of the kept block.
    cross : ndarray of shape (p - k, k)
        The block of other rows and kept columns times the inverse.
    schur : ndarray of shape (p - k, p - k)
        Schur complement.
    coefficients : ndarray of shape (R, k)
        The inverse times the kept entries of `b`.
    b : ndarray of shape (R, p)
        Correlations with the responses.
    tableau : Tableau
        Overwritten, but for its losses.
    """
    _fill(kept, others, inverse, cross, schur, tableau.matrix)
    for r in range(b.shape[0]):
        row = tableau.border[r]
        for j in range(kept.size):
            row[kept[j]] = coefficients[r, j]
        for i in range(others.size):
            row[others[i]] = b[r, others[i]]
            for j in range(kept.size):
                row[others[i]] -= cross[i, j] * b[r, kept[j]]
    m = tableau.near.shape[1]
    for i in range(tableau.seen.size):
        tableau.seen[i] = 0
        tableau.diagonal[i] = tableau.matrix[i, i]
    for i in range(tableau.near.shape[0]):
        first = i // m * m
        for a in range(m):
            tableau.near[i, a] = tableau.matrix[i, first + a]


@inlined
def _fill(
    kept: Int64Array,
    others: Int64Array,
    inverse: Float64Array,
    cross: Float64Array,
    schur: Float64Array,
    out: Float64Array,
) -> None:
    """Write the matrix."""
    for i in range(kept.size):
        row = out[kept[i]]
        for j in range(kept.size):
            row[kept[j]] = -inverse[i, j]
    # A cache line of `cross` goes to eight rows at once.
    for start in range(0, kept.size, 8):
        for j in range(others.size):
            for i in range(start, min(start + 8, kept.size)):
                out[kept[i], others[j]] = cross[j, i]
    for i in range(others.size):
        row = out[others[i]]
        for j in range(kept.size):
            row[kept[j]] = cross[i, j]
        for j in range(others.size):
            row[others[j]] = schur[i, j]


def warmup() -> None:
    """Compile all kernels for the types that the package uses."""
    one, index, none = np.ones((1, 1)), np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    pick(one, index, index, np.empty((1, 1)))
    assemble(index, none, one, one, one, one, one, new_tableau(1, 1, 1, 1))
