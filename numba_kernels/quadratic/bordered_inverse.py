"""The inverse of a small symmetric matrix that grows and shrinks by one row at a time.

It fills the leading block of a square array whose side is a multiple of eight, and all else is zero, so that loops may
run over whole groups of eight. A row and column of zeros inside the block stand for an index that is left out.

All updates add a multiple of an outer square, O(size^2) operations. With B the inverse of M, a new column m and
diagonal entry d of M, ``u = B m`` and the Schur complement ``left = d - m'u``, the bordered inverse is

    [ B + u u' / left    -u / left ]
    [     -u' / left      1 / left ],

that is B with a row of zeros, plus the square of ``(u, -1)`` over `left`. Removal goes the same way back: with b for
the column of the index, ``B - b b' / b_index`` has zeros in its row and is the inverse of what is left of M.
"""

from sparsetheory.numba_kernels.inlined import inlined
from sparsetheory.typing import FloatArray

__all__ = ["add_square", "drop", "insert", "move_last", "padded", "times"]


@inlined
def padded(size: int) -> int:
    """Return the next multiple of eight."""
    return (size + 7) // 8 * 8


@inlined(fastmath=True)
def times(matrix: FloatArray, size: int, vector: FloatArray, out: FloatArray) -> None:
    """Write the product of the leading block and a vector, up to the next multiple of eight.

    Of every entry of `matrix` beyond the block or its partner in `vector`, one must be zero and the other finite.
    """
    whole = padded(size)
    for i in range(whole):
        total = matrix.dtype.type(0)
        for j in range(whole):
            total += matrix[i, j] * vector[j]
        out[i] = total


@inlined
def add_square(inverse: FloatArray, size: int, vector: FloatArray, scale: float) -> None:
    """Add `scale` times the outer square of a vector that is zero between `size` and the next multiple of eight."""
    whole = padded(size)
    for j in range(size):
        weight = vector[j] * scale
        for i in range(whole):
            inverse[j, i] += weight * vector[i]


@inlined
def insert(inverse: FloatArray, size: int, at: int, column: FloatArray, left: float) -> None:
    """Let an index take part whose row is zero so far.

    Parameters
    ----------
    inverse : ndarray of shape (capacity, capacity)
        Updated in place.
    size : int
        Side of the block, the new index included.
    at : int
        The new index.
    column : ndarray of shape (capacity,)
        Inverse times the new column of the matrix, zero from `size` to the next multiple of eight; overwritten.
    left : float
        Schur complement: the new diagonal entry less the inner product of the new column and `column`.
    """
    column[at] = inverse.dtype.type(-1)
    add_square(inverse, size, column, inverse.dtype.type(1) / left)


@inlined
def drop(inverse: FloatArray, size: int, at: int, column: FloatArray) -> None:
    """Let an index take part no more; its row and column become zero. `column` is overwritten."""
    for i in range(padded(size)):
        column[i] = inverse[at, i]
    add_square(inverse, size, column, -inverse.dtype.type(1) / column[at])
    for i in range(size):
        inverse[at, i] = inverse.dtype.type(0)
        inverse[i, at] = inverse.dtype.type(0)


@inlined
def move_last(matrix: FloatArray, size: int, to: int) -> None:
    """Move the last row and column of a symmetric block to another place and fill theirs with zeros."""
    last, zero = size - 1, matrix.dtype.type(0)
    for i in range(size):
        matrix[to, i] = matrix[last, i]
        matrix[last, i] = zero
    for i in range(size):
        matrix[i, to] = matrix[i, last]
        matrix[i, last] = zero
