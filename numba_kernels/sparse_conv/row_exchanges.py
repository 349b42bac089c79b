"""Exchanges of rows between blocks that keep a position where their summed energy is large.

For a cut t, what blocks with sums S retain is at most ``K t + sum max(S - t, 0)``, with K the number of positions kept,
and equal to it if t is the K-th largest sum. An exchange changes the sums of two blocks alone, so at a fixed cut its
gain is a difference of two sums over the columns. Callers measure anew what is retained: the cut moves, too.
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import block, entry
from sparsetheory.typing import Float64Array

__all__ = ["best_partner", "warmup"]


@entry
def best_partner(energy: Float64Array, sums: Float64Array, size: int, cut: float, row: int, found: Float64Array) -> int:
    """Return the row of another block whose exchange with a row gains most at a fixed cut; the first one wins ties.

    O(rows times columns).

    Parameters
    ----------
    energy : ndarray of shape (rows, columns)
        Squared weights, in the order in which they lie in blocks.
    sums : ndarray of shape (blocks, columns)
        Sums over the rows of each block; the last block may have fewer rows.
    size : int
        Rows in a block.
    cut : float
    row : int
    found : ndarray of shape (1,)
        Gets the gain, minus infinity if there is no other block.

    Returns
    -------
    int
    """
    own = row // size
    partner, best = row, -np.inf
    here = _above(sums[own], cut)
    for other in range(sums.shape[0]):
        if other == own:
            continue
        before = here + _above(sums[other], cut)
        for q in range(other * size, min((other + 1) * size, energy.shape[0])):
            gain = _exchanged(energy[row], energy[q], sums[own], sums[other], cut) - before
            if gain > best:
                partner, best = q, gain
    found[0] = best
    return partner


@block(fastmath=True)
def _above(sums: Float64Array, cut: float) -> float:
    """Return the sum of ``max(S - cut, 0)``: twice the maximum is a number plus its size, which needs no branch."""
    total = 0.0
    for j in range(sums.size):
        over = sums[j] - cut
        total += over + abs(over)
    return 0.5 * total


@block(fastmath=True)
def _exchanged(
    leaving: Float64Array, entering: Float64Array, own: Float64Array, other: Float64Array, cut: float
) -> float:
    """Return the same for both blocks after the exchange."""
    total = 0.0
    for j in range(own.size):
        change = entering[j] - leaving[j]
        here, there = own[j] + change - cut, other[j] - change - cut
        total += here + abs(here) + there + abs(there)
    return 0.5 * total


def warmup() -> None:
    """Compile everything in this module."""
    best_partner(np.ones((2, 2)), np.ones((2, 2)), 1, 0.5, 0, np.empty(1))
