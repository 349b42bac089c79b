"""The penalty of every row of a batch of codes."""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.numba_kernels.penalties.proximal import value
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["penalty_rows", "warmup"]


@kernel
def penalty_rows(kind: int, codes: FloatArray, alpha: FloatArray, shape: FloatArray, out: Float64Array) -> None:
    """Write the penalty of every row, summed in double precision.

    Parameters
    ----------
    kind : int
        Tag of the penalty.
    codes : ndarray of shape (n, d)
        C-ordered; single or double precision.
    alpha, shape : ndarray of shape (d,)
        Numbers of the penalty of each column, in the same precision.
    out : ndarray of shape (n,)
        Overwritten.

    Notes
    -----
    O(n d); zeros cost a comparison.
    """
    for i in range(codes.shape[0]):
        total = 0.0
        for j in range(codes.shape[1]):
            if codes[i, j] != 0:
                total += value(kind, codes[i, j], alpha[j], shape[j])
        out[i] = total


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    for dtype in (np.float64, np.float32):
        one = np.ones(1, dtype)
        penalty_rows(0, np.ones((1, 1), dtype), one, one, np.empty(1))
