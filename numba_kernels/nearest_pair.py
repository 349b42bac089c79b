"""The nearest pair of points of different classes, by differences of their coordinates."""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["nearest_pair", "warmup"]

# So many coordinates are summed before the sum is compared with the least one so far.
_CHUNK = 16


@kernel
def nearest_pair(
    X: FloatArray, y: Int64Array, start: int, stop: int, first: int, last: int, scale: float, least: float
) -> tuple[float, int, int]:
    """Find the pair of different classes with the least squared distance below a given one.

    Coordinates are subtracted first and squared after, in double precision, so nothing cancels. A pair is given up as
    soon as its partial sum reaches the least sum so far. At most O((stop - start) (last - first) p) time.

    Parameters
    ----------
    X : float32 or float64 array of shape (n, p)
        Points.
    y : int64 array of shape (n,)
        Classes.
    start, stop, first, last : int
        Rows from `start` to `stop` are paired with rows from `first` to `last`.
    scale : float
        What differences are multiplied by before they are squared.
    least : float
        Only smaller squared distances count.

    Returns
    -------
    float, int, int
        The squared scaled distance and both rows; `least` and -1, -1 where there is no such pair.
    """
    p = X.shape[1]
    best_i, best_j = -1, -1
    for i in range(start, stop):
        for j in range(first, last):
            if y[i] == y[j]:
                continue
            total = 0.0
            k = 0
            while k < p and total < least:
                end = min(k + _CHUNK, p)
                for m in range(k, end):
                    difference = (np.float64(X[i, m]) - np.float64(X[j, m])) * scale
                    total += difference * difference
                k = end
            if total < least:
                least, best_i, best_j = total, i, j
    return least, best_i, best_j


def warmup() -> None:
    """Compile the kernel for both precisions."""
    for dtype in (np.float32, np.float64):
        nearest_pair(np.zeros((2, 1), dtype), np.arange(2), 0, 1, 1, 2, 1.0, np.inf)
