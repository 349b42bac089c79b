"""Reed-Solomon codes: values of polynomials over a finite field, and where code words agree."""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import AnyArray, Int64Array

__all__ = ["agreements", "polynomial_values", "warmup"]


@entry
def polynomial_values(prime: int, steps: Int64Array, values: AnyArray) -> None:
    """Fill row a with the values, at 0, 1, 2, ..., of the polynomial whose coefficients are the digits of a.

    Rows with one digit more are earlier rows plus a multiple of the next power, so nothing is multiplied or divided
    for single entries: O(n n_points) additions.

    Parameters
    ----------
    prime : int
        Size of the field; digits are to this base, the constant term first.
    steps : ndarray of int64, of shape (2, n_points)
        Room for the next power of the points, and for the multiple of it that a run of rows adds.
    values : ndarray of unsigned integers, of shape (n, n_points)
        Of a type that holds `prime` - 1.
    """
    n, n_points = values.shape
    for x in range(n_points):
        steps[0, x] = 1
    for a in range(min(n, prime)):
        for x in range(n_points):
            values[a, x] = a
    run = np.int64(prime)  # rows of fewer digits
    while run < n:
        for x in range(n_points):
            steps[0, x] = steps[0, x] * x % prime
            steps[1, x] = 0
        for digit in range(1, prime):
            start = digit * run
            if start >= n:
                break
            for x in range(n_points):
                steps[1, x] = (steps[1, x] + steps[0, x]) % prime
            for a in range(start, min(start + run, n)):
                for x in range(n_points):
                    value = np.int64(values[a - start, x]) + steps[1, x]
                    values[a, x] = value if value < prime else value - prime
        run *= prime


@entry
def agreements(values: AnyArray, row: AnyArray, counts: Int64Array) -> None:
    """Count for every code word in how many places it agrees with a given one.

    Parameters
    ----------
    values : ndarray of unsigned integers, of shape (n, n_points)
    row : ndarray of the same type, of shape (n_points,)
    counts : ndarray of int64, of shape (n,)
        Filled.
    """
    for a in range(values.shape[0]):
        count = np.int64(0)
        for x in range(values.shape[1]):
            count += values[a, x] == row[x]
        counts[a] = count


def warmup() -> None:
    """Compile the kernels for small and for large fields."""
    for dtype in (np.uint8, np.uint16):
        values = np.zeros((2, 2), dtype=dtype)
        polynomial_values(2, np.zeros((2, 2), dtype=np.int64), values)
        agreements(values, values[0], np.zeros(2, dtype=np.int64))
