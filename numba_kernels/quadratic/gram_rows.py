"""Passes over the correlations of many atoms, shared by the coders."""

import numpy as np

from sparsetheory.numba_kernels.inlined import inlined
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["fold", "largest", "subtract_rows"]


@inlined(fastmath=True)
def fold(values: FloatArray, folded: FloatArray) -> int:
    """Write the largest absolute value of every four entries a quarter of the length apart, which vectorises.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Up to three entries at the end are left out.
    folded : ndarray of shape (n // 4 or more,)
        Overwritten.

    Returns
    -------
    int
        The quarter, ``n // 4``: entry i stands for entries i, i + quarter, i + 2 quarter and i + 3 quarter.
    """
    quarter = values.size // 4
    first, second = values[:quarter], values[quarter : 2 * quarter]
    third, fourth = values[2 * quarter : 3 * quarter], values[3 * quarter : 4 * quarter]
    for i in range(quarter):
        a, b, c, d = abs(first[i]), abs(second[i]), abs(third[i]), abs(fourth[i])
        a = a if a > b else b
        c = c if c > d else d
        folded[i] = a if a > c else c
    return quarter


@inlined(fastmath=True)
def largest(values: FloatArray, folded: FloatArray) -> np.floating:
    """Return the largest absolute value; `folded` is overwritten as by :func:`fold`, and holds half of n entries."""
    quarter = fold(values, folded)
    few = fold(folded[:quarter], folded[quarter:])
    best = values.dtype.type(0)
    for i in range(quarter, quarter + few):
        best = max(best, folded[i])
    for i in range(4 * few, quarter):
        best = max(best, folded[i])
    for i in range(4 * quarter, values.size):
        best = max(best, abs(values[i]))
    return best


@inlined(fastmath=True)
def subtract_rows(r: FloatArray, gram: FloatArray, which: Int64Array, amounts: FloatArray, count: int) -> None:
    """Subtract multiples of rows of the Gram matrix from `r`, four at a time.

    O(n) operations per row; four rows share one pass over `r`, which is what takes the time.

    Parameters
    ----------
    r : ndarray of shape (n,)
        Updated in place.
    gram : ndarray of shape (n, n)
        C-ordered.
    which, amounts : ndarray of shape (capacity,)
        Rows, and how many times each is subtracted.
    count : int
        Rows in use.
    """
    n = r.size
    head = count % 4
    for j in range(head):
        amount, i = amounts[j], which[j]
        for p in range(n):
            r[p] -= amount * gram[i, p]
    for j in range(head, count, 4):
        a, b, c, d = amounts[j], amounts[j + 1], amounts[j + 2], amounts[j + 3]
        first, second, third, fourth = which[j], which[j + 1], which[j + 2], which[j + 3]
        for p in range(n):
            r[p] = r[p] - a * gram[first, p] - b * gram[second, p] - c * gram[third, p] - d * gram[fourth, p]
