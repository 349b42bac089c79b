"""Nets on all supports: a few actions near which, on every support, all others lie."""

import numpy as np
from numpy.typing import NDArray

from sparsetheory.numba_kernels.bandits.nets import add_cells, separated
from sparsetheory.progress import tracked
from sparsetheory.typing import AnyArray, IndexArray, Int64Array

__all__ = ["greedy_net", "grid_net"]

# Grids with more cells than this are sorted instead of stamped.
_CELLS = 20_000_000


def grid_net(
    columns: AnyArray, supports: IndexArray, rho: float, reuse: bool, verbose: bool = False
) -> tuple[IndexArray, int]:
    """Return a net that is made of cells of a grid, and the largest number of cells that one support needs.

    Parameters
    ----------
    columns : ndarray of shape (n_features, n_actions)
    supports : ndarray of int, of shape (m, s)
    rho : float
        Diagonal of a cell.
    reuse : bool
        Whether actions that stand for cells of one support count for the next ones.
    verbose : bool
        Whether a progress bar is shown.

    Returns
    -------
    chosen : ndarray of int
    largest : int
    """
    s, n = supports.shape[1], columns.shape[1]
    axes, counts = _axes(columns, rho / np.sqrt(s))
    chosen, is_chosen, n_chosen = np.empty(n, dtype=np.intp), np.zeros(n, dtype=bool), np.zeros(1, dtype=np.intp)
    stamps, largest = np.zeros(1, dtype=np.int32), 0
    for stamp, support in enumerate(tracked(supports, "nets", verbose), start=1):
        radix = np.append(1, np.cumprod(counts[support].astype(float)))
        if radix[-1] > _CELLS:
            found = _add_sorted(axes, counts, support, chosen, n_chosen, reuse, is_chosen)
        else:
            if radix[-1] > len(stamps):
                stamps = np.zeros(int(radix[-1]), dtype=np.int32)
            steps = radix[:-1].astype(np.int64)
            found = add_cells(axes, support, steps, stamps, stamp, chosen, n_chosen, reuse, is_chosen)
        largest = max(largest, found)
    return chosen[: n_chosen[0]].copy(), largest


def _axes(columns: AnyArray, side: float) -> tuple[NDArray[np.int32], Int64Array]:
    """Return the position of each action on each axis, and the number of positions."""
    axes = np.empty(columns.shape, dtype=np.int32)
    for j, column in enumerate(columns):
        # Positions in use, numbered: never more than actions.
        _, axes[j] = np.unique(np.floor((column.astype(np.float64) - column.min()) / side), return_inverse=True)
    return axes, axes.max(axis=1).astype(np.int64) + 1


def _add_sorted(
    axes: NDArray[np.int32],
    counts: Int64Array,
    support: IndexArray,
    chosen: IndexArray,
    n_chosen: IndexArray,
    reuse: bool,
    is_chosen: AnyArray,
) -> int:
    """Do what :func:`add_cells` does, for more cells than memory should hold: number those in use by sorting."""
    cells = axes[support[0]].astype(np.int64)
    for j in support[1:]:
        _, cells = np.unique(cells * counts[j] + axes[j], return_inverse=True)
    first = np.unique(cells, return_index=True)[1]
    if reuse:
        hit = np.zeros(len(first), dtype=bool)
        hit[cells[chosen[: n_chosen[0]]]] = True
        first = first[~hit]
    new = np.sort(first[~is_chosen[first]])
    chosen[n_chosen[0] : n_chosen[0] + len(new)] = new
    is_chosen[new] = True
    n_chosen += len(new)
    return len(first)


def greedy_net(
    columns: AnyArray, supports: IndexArray, rho: float, reuse: bool, verbose: bool = False
) -> tuple[IndexArray, int]:
    """Return a net of separated actions; arguments and results are those of :func:`grid_net`."""
    n = columns.shape[1]
    chosen, largest, everything, room = np.empty(0, dtype=np.intp), 0, np.arange(n), np.empty(n, dtype=np.intp)
    for support in tracked(supports, "nets", verbose):
        points = np.ascontiguousarray(columns[support], dtype=np.float64)
        order = np.concatenate((chosen, np.setdiff1d(everything, chosen))) if reuse else everything
        found = room[: separated(points, order, rho, room)]
        new = np.setdiff1d(found, chosen)
        largest = max(largest, len(new) if reuse else len(found))
        chosen = np.concatenate((chosen, new))
    return chosen, largest
