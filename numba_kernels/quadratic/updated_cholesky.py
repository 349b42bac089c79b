"""The Cholesky factor of a small matrix that grows by a last row and loses any row.

The lower triangle fills the leading block of a square array; what is above it is not read.
"""

import math

from sparsetheory.numba_kernels.inlined import inlined
from sparsetheory.typing import Float64Array

__all__ = ["append", "remove", "solve"]


@inlined(fastmath=True)
def append(factor: Float64Array, size: int, least: float) -> bool:
    """Factorise one more row, which stands in row `size` of `factor`, diagonal entry included.

    Returns
    -------
    bool
        False where what is left of the diagonal entry is not above `least` times it: the row depends on the others.
    """
    whole = factor[size, size]
    left = whole
    for i in range(size):
        total = factor[size, i]
        for j in range(i):
            total -= factor[i, j] * factor[size, j]
        total /= factor[i, i]
        factor[size, i] = total
        left -= total * total
    if not left > least * whole:
        return False
    factor[size, size] = math.sqrt(left)
    return True


@inlined
def remove(factor: Float64Array, size: int, at: int) -> None:
    """Take a row and column out of a matrix of `size` rows, by rotations: O(size^2) operations."""
    for i in range(at, size - 1):
        for j in range(i + 2):
            factor[i, j] = factor[i + 1, j]
    for j in range(at, size - 1):
        below, beside = factor[j, j], factor[j, j + 1]
        length = math.sqrt(below * below + beside * beside)
        cosine, sine = below / length, beside / length
        factor[j, j] = length
        for i in range(j + 1, size - 1):
            one, other = factor[i, j], factor[i, j + 1]
            factor[i, j] = cosine * one + sine * other
            factor[i, j + 1] = cosine * other - sine * one


@inlined(fastmath=True)
def solve(factor: Float64Array, size: int, vector: Float64Array) -> None:
    """Overwrite a right side with the solution."""
    for i in range(size):
        total = vector[i]
        for j in range(i):
            total -= factor[i, j] * vector[j]
        vector[i] = total / factor[i, i]
    for i in range(size - 1, -1, -1):
        vector[i] /= factor[i, i]
        for j in range(i):
            vector[j] -= factor[i, j] * vector[i]
