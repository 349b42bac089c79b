"""Swaps of kept and pruned entries without any change of kept values.

A row w with pruned entries P has the output error ``f = r' G r``, where r holds w on P and is zero elsewhere. To drop a
kept entry u and to restore a pruned entry q changes r by ``+ w_u`` at u and by ``- w_q`` at q. With c = G r,

    f(after) - f(before) = 2 w_u c_u + w_u^2 G_uu  -  2 w_q c_q + w_q^2 G_qq  -  2 w_u w_q G_uq,

and c changes by ``w_u G_:u - w_q G_:q``. The first two terms depend on u alone, the next two on q alone.
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import block, entry
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["swap_rows", "warmup"]

# Relative to w' G w: what rounding may make of a swap that changes nothing.
_LEAST_GAIN = 1e-12


@entry
def swap_rows(
    W: Float64Array,
    gram: Float64Array,
    kept: BoolArray,
    width: int,
    max_swaps: int,
    c: Float64Array,
    drop: Float64Array,
    restore: Float64Array,
) -> int:
    """Improve the mask of every row by best swaps until none lowers the error.

    Parameters
    ----------
    W : ndarray of shape (out, features)
        Dense weights.
    gram : ndarray of shape (features, features)
        Symmetric.
    kept : ndarray of bool of shape (out, features)
        Updated.
    width : int
        Swaps stay within so many consecutive entries; it divides the number of features.
    max_swaps : int
        Largest number of swaps in a row; without limit if negative.
    c, drop, restore : ndarrays of shape (features,)
        Scratch space.

    Returns
    -------
    int
        Number of swaps.
    """
    total = 0
    for row in range(W.shape[0]):
        total += _swap_row(W[row], gram, kept[row], width, max_swaps, c, drop, restore)
    return total


@block
def _swap_row(
    w: Float64Array,
    gram: Float64Array,
    kept: BoolArray,
    width: int,
    max_swaps: int,
    c: Float64Array,
    drop: Float64Array,
    restore: Float64Array,
) -> int:
    scale = _correlate(w, gram, kept, c)
    count = 0
    while count != max_swaps:
        for j in range(w.size):
            alone = w[j] * w[j] * gram[j, j]
            drop[j] = 2.0 * w[j] * c[j] + alone if kept[j] else np.inf
            restore[j] = np.inf if kept[j] else alone - 2.0 * w[j] * c[j]
        u, q = _best_pair(w, gram, kept, width, -_LEAST_GAIN * scale, drop, restore)
        if u < 0:
            break
        kept[u], kept[q] = False, True
        for j in range(w.size):
            c[j] += w[u] * gram[u, j] - w[q] * gram[q, j]
        count += 1
    return count


@block(fastmath=True)
def _correlate(w: Float64Array, gram: Float64Array, kept: BoolArray, c: Float64Array) -> float:
    """Set c to G r, for the pruned part r of w; return w' G w."""
    c[:] = 0.0
    for i in range(w.size):
        if not kept[i]:
            for j in range(w.size):
                c[j] += w[i] * gram[i, j]
    energy = 0.0
    for i in range(w.size):
        inner = 0.0
        for j in range(w.size):
            inner += gram[i, j] * w[j]
        energy += w[i] * inner
    return energy


@block
def _best_pair(
    w: Float64Array,
    gram: Float64Array,
    kept: BoolArray,
    width: int,
    bar: float,
    drop: Float64Array,
    restore: Float64Array,
) -> tuple[int, int]:
    """Return the kept and the pruned entry whose swap changes the error by least, -1 if by no less than `bar`."""
    best, best_u, best_q = bar, -1, -1
    for start in range(0, w.size, width):
        for u in range(start, start + width):
            if not kept[u]:
                continue
            twice = 2.0 * w[u]
            for q in range(start, start + width):
                change = drop[u] + restore[q] - twice * w[q] * gram[u, q]
                if change < best:
                    best, best_u, best_q = change, u, q
    return best_u, best_q


def warmup() -> None:
    """Compile the kernels."""
    scratch = np.zeros((3, 2))
    swap_rows(np.ones((1, 2)), np.eye(2), np.array([[True, False]]), 2, -1, *scratch)
