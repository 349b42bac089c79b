"""Samples of a batch as columns: rows of the data become columns of a block of activations."""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["gather_columns", "warmup"]

# A cache line of single precision; so many lines of the block are written in turn, and stay in the first-level cache.
_FEATURES = 16


@entry
def gather_columns(X: FloatArray, n_features: int, rows: AnyArray, n: int, out: FloatArray) -> None:
    """Write the transpose of some rows of the data, filled up with columns of zeros.

    Each cache line of a row is read once, and its numbers go to as many rows of the block.

    Parameters
    ----------
    X : ndarray of shape (n_samples * n_features,)
        Row after row.
    n_features : int
    rows : ndarray of int64
        At most n of them; not checked.
    n : int
        Columns of the block.
    out : ndarray of shape (n_features * n,)
        Overwritten.
    """
    for first in range(0, n_features, _FEATURES):
        last = min(first + _FEATURES, n_features)
        for s in range(rows.size):
            start = rows[s] * n_features
            for i in range(first, last):
                out[i * n + s] = X[start + i]
    if rows.size < n:
        for i in range(n_features):
            out[i * n + rows.size : (i + 1) * n] = 0


def warmup() -> None:
    """Compile the kernel for single and double precision."""
    for dtype in (np.float32, np.float64):
        one = np.ones(1, dtype=dtype)
        gather_columns(one, 1, np.zeros(1, dtype=np.int64), 1, one.copy())
