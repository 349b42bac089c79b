"""Products of a C-ordered matrix in single precision with a vector in double precision, without converting it first."""

import numpy as np
from numpy.typing import NDArray

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import Float64Array

__all__ = ["row_correlations", "warmup"]

# Results of so many columns stay in the innermost cache while the rows stream by.
_WIDTH = 1024


@kernel(fastmath=True)
def row_correlations(matrix: NDArray[np.float32], vector: Float64Array, out: Float64Array) -> None:
    """Write the inner products of all columns with one vector; sums are in double precision.

    Parameters
    ----------
    matrix : float32 array of shape (n, d)
        C-ordered.
    vector : ndarray of shape (n,)
        Any vector.
    out : ndarray of shape (d,)
        Overwritten.
    """
    n, d = matrix.shape
    for low in range(0, d, _WIDTH):
        part = out[low : low + _WIDTH]
        part[:] = 0.0
        for i in range(n % 4):
            row = matrix[i, low : low + _WIDTH]
            for j in range(part.size):
                part[j] += vector[i] * row[j]
        for i in range(n % 4, n, 4):
            a, b, c, e = vector[i], vector[i + 1], vector[i + 2], vector[i + 3]
            first, second = matrix[i, low : low + _WIDTH], matrix[i + 1, low : low + _WIDTH]
            third, fourth = matrix[i + 2, low : low + _WIDTH], matrix[i + 3, low : low + _WIDTH]
            for j in range(part.size):
                part[j] += a * first[j] + b * second[j] + c * third[j] + e * fourth[j]


def warmup() -> None:
    """Compile the kernels of this file for writeable and read-only matrices."""
    for writeable in (True, False):
        matrix = np.ones((5, 3), np.float32)
        matrix.flags.writeable = writeable
        row_correlations(matrix, np.ones(5), np.empty(3))
