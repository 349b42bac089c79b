"""Reed-Solomon codes: values of polynomials over a finite field, and where two of them agree."""

import numpy as np
from numpy.typing import NDArray

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import Int64Array

__all__ = ["agreements", "polynomial_values", "warmup"]


@entry
def polynomial_values(prime: int, digits: Int64Array, values: NDArray[np.uint16]) -> None:
    """Fill row a with the values, at 0, 1, 2, ..., of the polynomial whose coefficients are the digits of a.

    Parameters
    ----------
    prime : int
        Size of the field; digits are to this base, the constant term first.
    digits : ndarray of int64
        Room for the digits.
    values : ndarray of uint16, of shape (n, n_points)
    """
    n, n_points = values.shape
    for a in range(n):
        rest = a
        for i in range(digits.size):
            digits[i] = rest % prime
            rest //= prime
        for x in range(n_points):
            value = np.int64(0)  # Horner's rule, from the leading coefficient on
            for i in range(digits.size - 1, -1, -1):
                value = (value * x + digits[i]) % prime
            values[a, x] = value


@entry
def agreements(values: NDArray[np.uint16], row: NDArray[np.uint16], counts: Int64Array) -> None:
    """Count for every code word in how many places it agrees with a given one."""
    for a in range(values.shape[0]):
        count = np.int64(0)
        for x in range(values.shape[1]):
            count += values[a, x] == row[x]
        counts[a] = count


def warmup() -> None:
    """Compile the kernels."""
    values = np.zeros((2, 2), dtype=np.uint16)
    polynomial_values(2, np.zeros(1, dtype=np.int64), values)
    agreements(values, values[0], np.zeros(2, dtype=np.int64))
