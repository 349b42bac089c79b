"""Swaps of kept and pruned entries without any change of kept values.

A row w with pruned entries P has the output error ``f = r' G r``, where r holds w on P and is zero elsewhere. To drop a
kept entry u and to restore a pruned entry q changes r by ``+ w_u`` at u and by ``- w_q`` at q. With c = G r,

    f(after) - f(before) = 2 w_u c_u + w_u^2 G_uu  -  2 w_q c_q + w_q^2 G_qq  -  2 w_u w_q G_uq,

and c changes by ``w_u G_:u - w_q G_:q``. The first two terms depend on u alone, the next two on q alone.
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import block, entry, inlined
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["swap_rows", "warmup"]

# Relative to the sum of w_j^2 G_jj: more than rounding can make of a swap that changes nothing.
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
    least: Float64Array,
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
    c, drop, restore, least : ndarrays of shape (features,)
        Scratch space.

    Returns
    -------
    int
        Number of swaps.
    """
    total = 0
    for row in range(W.shape[0]):
        total += _swap_row(W[row], gram, kept[row], width, max_swaps, c, drop, restore, least)
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
    least: Float64Array,
) -> int:
    scale = _correlate(w, gram, kept, c)
    count = 0
    while count != max_swaps:
        for j in range(w.size):
            alone = w[j] * w[j] * gram[j, j]
            drop[j] = 2.0 * w[j] * c[j] + alone if kept[j] else np.inf
            restore[j] = np.inf if kept[j] else alone - 2.0 * w[j] * c[j]
        u, q = _best_pair(w, gram, width, -_LEAST_GAIN * scale, drop, restore, least)
        if u < 0:
            break
        kept[u], kept[q] = False, True
        for j in range(w.size):
            c[j] += w[u] * gram[u, j] - w[q] * gram[q, j]
        count += 1
    return count


@block
def _correlate(w: Float64Array, gram: Float64Array, kept: BoolArray, c: Float64Array) -> float:
    """Set c to G r, for the pruned part r of w; return the sum of ``w_j^2 G_jj``."""
    c[:] = 0.0
    scale = 0.0
    for i in range(w.size):
        scale += w[i] * w[i] * gram[i, i]
        if not kept[i]:
            for j in range(w.size):
                c[j] += w[i] * gram[i, j]
    return scale


@inlined
def _lower(least: Float64Array, drop: float, twice: float, w: Float64Array, gram: Float64Array) -> None:
    for q in range(least.size):
        change = drop - twice * w[q] * gram[q]
        least[q] = change if change < least[q] else least[q]


@block
def _best_pair(
    w: Float64Array,
    gram: Float64Array,
    width: int,
    bar: float,
    drop: Float64Array,
    restore: Float64Array,
    least: Float64Array,
) -> tuple[int, int]:
    """Return the kept and the pruned entry whose swap changes the error by least, -1 if by no less than `bar`.

    First the best partner of each entry to restore, by loops that run along rows of the Gram matrix and whose turns do
    not depend on each other; then the best entry to restore. Of equal ones the first wins.
    """
    least[:] = np.inf
    for u in range(w.size):
        if drop[u] == np.inf:
            continue
        start = u // width * width
        _lower(
            least[start : start + width], drop[u], 2.0 * w[u], w[start : start + width], gram[u, start : start + width]
        )
    best, best_q = bar, -1
    for q in range(w.size):
        if least[q] + restore[q] < best:
            best, best_q = least[q] + restore[q], q
    if best_q < 0:
        return -1, -1
    best, best_u = np.inf, -1
    start = best_q // width * width
    for u in range(start, start + width):
        change = drop[u] - 2.0 * w[u] * w[best_q] * gram[u, best_q]
        if change < best:
            best, best_u = change, u
    return best_u, best_q


def warmup() -> None:
    """Compile the kernels."""
    scratch = np.zeros((4, 2))
    swap_rows(np.ones((1, 2)), np.eye(2), np.array([[True, False]]), 2, -1, *scratch)
