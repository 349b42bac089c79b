r"""An orthonormal basis of a few columns of a large matrix.

Gram-Schmidt with pivoting: the column that is furthest from the span of those before comes next. Every column is made
orthogonal twice, which leaves rounding alone (Giraud, Langou and Rozloznik, 2005). So the basis is orthonormal, and the
columns are combinations of it, both to rounding, however near the columns are to each other. Forming their Gram matrix
would square that nearness.
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = ["orthonormal_columns", "warmup"]


@entry(fastmath=True)
def orthonormal_columns(
    columns: FloatArray, support: IndexArray, least: float, basis: Float64Array, pivots: Float64Array
) -> int:
    """Fill an orthonormal basis of the span of some columns; O(n s^2).

    Parameters
    ----------
    columns : ndarray of shape (n_features, n)
        All columns, each of them contiguous.
    support : ndarray of int, of shape (s,)
        The columns that are wanted.
    least : float
        A column counts as dependent if less than this share of its norm lies outside the span of those before.
    basis : ndarray of shape (s, n)
        Its first rows, as many as the rank, are the basis.
    pivots : ndarray of shape (2 s,)
        The first s: shares of the norms that lay outside, in the order of the basis. The others are room for norms.

    Returns
    -------
    int
        The rank.
    """
    s, n = basis.shape
    norms = pivots[s:]
    for j in range(s):
        total = 0.0
        for i in range(n):
            value = float(columns[support[j], i])
            basis[j, i] = value
            total += value * value
        norms[j] = np.sqrt(total)
    rank = 0
    for _ in range(s):
        # 1. The column with the largest share of its norm outside the span; they were made orthogonal as the span grew.
        best, largest = rank, -1.0
        for j in range(rank, s):
            if norms[j] > 0.0:
                total = 0.0
                for i in range(n):
                    total += basis[j, i] * basis[j, i]
                share = np.sqrt(total) / norms[j]
                if share > largest:
                    best, largest = j, share
        if largest <= least:
            break
        if best != rank:
            norms[rank], norms[best] = norms[best], norms[rank]
            for i in range(n):
                basis[rank, i], basis[best, i] = basis[best, i], basis[rank, i]
        # 2. Once more against the span: what was subtracted before has left rounding there.
        for k in range(rank):
            product = 0.0
            for i in range(n):
                product += basis[k, i] * basis[rank, i]
            for i in range(n):
                basis[rank, i] -= product * basis[k, i]
        total = 0.0
        for i in range(n):
            total += basis[rank, i] * basis[rank, i]
        length = np.sqrt(total)
        if length <= least * norms[rank]:
            norms[rank] = 0.0  # it was rounding
            continue
        for i in range(n):
            basis[rank, i] /= length
        pivots[rank] = length / norms[rank]
        # 3. The columns that are left.
        for j in range(rank + 1, s):
            product = 0.0
            for i in range(n):
                product += basis[rank, i] * basis[j, i]
            for i in range(n):
                basis[j, i] -= product * basis[rank, i]
        rank += 1
    return rank


def warmup() -> None:
    """Compile the kernel for both precisions."""
    basis, pivots = np.empty((1, 2)), np.empty(2)
    for dtype in (np.float32, np.float64):
        orthonormal_columns(np.ones((1, 2), dtype=dtype), np.zeros(1, dtype=np.intp), 1e-13, basis, pivots)
