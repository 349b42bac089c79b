"""Nets: a few actions near which all others lie."""

import numpy as np
from numpy.typing import NDArray

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import BoolArray, Float64Array, IndexArray, Int64Array

__all__ = ["add_cells", "separated", "warmup"]


@entry
def add_cells(
    axes: NDArray[np.int32],
    support: IndexArray,
    radix: Int64Array,
    stamps: NDArray[np.int32],
    stamp: int,
    chosen: IndexArray,
    n_chosen: IndexArray,
    reuse: bool,
    is_chosen: BoolArray,
) -> int:
    """Choose one action in every cell of a grid on a support, unless one that was chosen before lies there; O(n s).

    Parameters
    ----------
    axes : ndarray of int32, of shape (n_features, n)
        Position of each action on each axis of the grid.
    support : ndarray of int, of shape (s,)
    radix : ndarray of int64, of shape (s,)
        What a step along each axis adds to the number of a cell.
    stamps : ndarray of int32
        One for each cell; a cell holds `stamp` once it has a chosen action. No cell has to be cleared for the next
        support.
    stamp : int
        Different for each support.
    chosen : ndarray of int, of shape (n,)
        Chosen actions; new ones are appended.
    n_chosen : ndarray of int, of shape (1,)
        Their number, updated.
    reuse : bool
        Whether actions that were chosen for other supports count.
    is_chosen : ndarray of bool, of shape (n,)

    Returns
    -------
    int
        Cells that had no chosen action yet.
    """
    s, found = support.size, 0
    if reuse:
        for i in range(n_chosen[0]):
            cell = np.int64(0)
            for j in range(s):
                cell += radix[j] * axes[support[j], chosen[i]]
            stamps[cell] = stamp
    for a in range(axes.shape[1]):
        cell = np.int64(0)
        for j in range(s):
            cell += radix[j] * axes[support[j], a]
        if stamps[cell] != stamp:
            stamps[cell] = stamp
            found += 1
            if not is_chosen[a]:
                is_chosen[a] = True
                chosen[n_chosen[0]] = a
                n_chosen[0] += 1
    return found


@entry(fastmath=True)
def separated(points: Float64Array, order: IndexArray, distance: float, chosen: IndexArray) -> int:
    """Choose points greedily, each further than a distance from those chosen before; O(n m s) for m chosen ones.

    Parameters
    ----------
    points : ndarray of shape (s, n)
        One column for each point.
    order : ndarray of int
        Points in the order in which they are visited.
    distance : float
    chosen : ndarray of int, of the length of `order`
        Filled with chosen points.

    Returns
    -------
    int
        How many were chosen.
    """
    count, square = 0, distance * distance
    for a in order:
        near = False
        for k in range(count):
            total = 0.0
            for j in range(points.shape[0]):
                difference = points[j, a] - points[j, chosen[k]]
                total += difference * difference
            if total <= square:
                near = True
                break
        if not near:
            chosen[count] = a
            count += 1
    return count


def warmup() -> None:
    """Compile the kernels."""
    one, flags = np.zeros(1, dtype=np.intp), np.zeros(1, dtype=bool)
    axes, stamps = np.zeros((1, 1), dtype=np.int32), np.zeros(1, dtype=np.int32)
    add_cells(axes, one, np.ones(1, dtype=np.int64), stamps, 1, one.copy(), one.copy(), True, flags)
    separated(np.zeros((1, 1)), one, 1.0, one.copy())
