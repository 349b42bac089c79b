"""Orders of rows in which blocks of consecutive rows lose little where they share their zeros."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, Choice
from sparsetheory.gpu.core.patterns.base import DENSITY
from sparsetheory.gpu.core.selection import kept_count
from sparsetheory.gpu.kernels.retention import squared_rows
from sparsetheory.numba_kernels.sparse_conv.row_exchanges import best_partner
from sparsetheory.typing import Float64Array

__all__ = ["METHOD", "block_energy", "rearrange"]

METHOD = Choice("sort", "greedy", "swaps")
# Relative to all energy: more than rounding can make of an exchange that changes nothing.
_LEAST_GAIN = 1e-10


def rearrange(weight: Tensor, size: int, method: str = "greedy", density: float = 0.5, *, pad: bool = False) -> Tensor:
    """Order the rows of a weight so that similar ones share a block.

    Blocks of `size` consecutive rows share their zeros, as :class:`sparsetheory.gpu.core.RowBlock` has it. A position
    of a block is worth the summed squares of its rows, so rows should share a block that are large at the same places.

    Parameters
    ----------
    weight : Tensor of shape (out, ...)
        Finite real numbers; all axes but the first one count as columns.
    size : int
        Rows in a block; it must divide the number of rows, or `pad` must be set.
    method : {"sort", "greedy", "swaps"}
        ``"sort"`` orders rows by their sums of magnitudes, the largest first. ``"greedy"`` starts each block with the
        heaviest row left and adds those whose large entries overlap most with the block's. ``"swaps"`` starts from
        that or from the given order, whichever retains more, and exchanges rows of two blocks as long as the retained
        energy rises.
    density : float
        Share of the positions of blocks that will be kept. Greedy grouping looks at so many of the largest entries,
        and swaps at what is retained.
    pad : bool
        Whether the last block may have fewer rows.

    Returns
    -------
    Tensor of int64 of shape (out,)
        Row `i` of the arranged weight is row ``permutation[i]`` of the given one: ``weight[permutation]``. It is on the
        device of `weight`. Ties go to the lowest row.

    Raises
    ------
    TypeError
        If `weight` is not a tensor of real floating-point numbers.
    ValueError
        If an argument is out of range, an entry is not finite, or blocks do not divide the rows.

    Notes
    -----
    Sums are in double precision, on the CPU. Sorting takes O(out * columns). Greedy grouping takes
    O(out^2 * columns) once, as one product of matrices, and O(out^2) besides: 0.02 s for 384 x 384. A round of
    exchanges takes O(out^2 * columns); there are five to ten, 0.3 s in all at that size.

    What "swaps" retains, by the score of squares, is never less than "greedy" retains, nor less than without any
    arrangement. Sorting and greedy grouping alone give no such promise, and sorting often loses.

    Source: rows that share a pattern after an arrangement of channels, H. Xu et al., "SparseByteNN", arXiv 2310.19509
    (known from its abstract); sorting by sums of magnitudes, M. Lin et al., "1xN Pattern for Pruning Convolutional
    Neural Networks", arXiv 2105.14713. Greedy grouping and exchanges are ours.

    Examples
    --------
    >>> import torch
    >>> W = torch.tensor([[3.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 4.0]])
    >>> rearrange(W, 2)
    tensor([3, 1, 0, 2])
    """
    COUNT.check("size", size)
    METHOD.check("method", method)
    DENSITY.check("density", density)
    FLAG.check("pad", pad)
    energy = squared_rows(weight).cpu()
    rows = energy.shape[0]
    if weight.ndim < 2 or not weight.numel():
        raise ValueError(f"weight must have rows and columns; got shape {tuple(weight.shape)}")
    if rows % size and not pad:
        raise ValueError(f"weight must have a multiple of {size} rows, or pad must be set; got {rows}")
    if method == "sort":
        order = energy.sqrt().sum(1).argsort(descending=True, stable=True)
    else:
        order = _grouped(energy.sqrt(), size, kept_count(density, energy.numel()))
        if method == "swaps":
            order = _exchanged(energy, size, density, order)
    return order.to(weight.device)


def block_energy(weight: Tensor, size: int, density: float) -> float:
    """Return the energy that the best positions of blocks of rows retain, as a share; the last block may be short."""
    energy = squared_rows(weight).cpu()
    total = float(energy.sum())
    return _Blocks(energy.numpy(), size, density).retained / total if total else 1.0


def _grouped(magnitude: Tensor, size: int, count: int) -> Tensor:
    """Group rows one by one, by the inner products of their large entries."""
    rows, flat = magnitude.shape[0], magnitude.reshape(-1)
    cut = flat.kthvalue(flat.numel() - count + 1).values if count else flat.new_tensor(torch.inf)
    large = torch.where(magnitude >= cut, magnitude, 0.0)
    overlap, weight = (large @ large.T).numpy(), large.sum(1).numpy()
    left, order = np.ones(rows, dtype=bool), np.empty(rows, dtype=np.int64)
    for place in range(rows):
        if place % size == 0:
            score: Any = weight
        elif place % size == 1:
            score = overlap[order[place - 1]].copy()
        else:
            score += overlap[order[place - 1]]
        row = int(np.where(left, score, -1.0).argmax())
        order[place], left[row] = row, False
    return torch.from_numpy(order)


class _Blocks:
    """Rows in blocks, with what the largest sums of positions retain.

    Parameters
    ----------
    energy : ndarray of shape (rows, columns)
        A copy is kept, and exchanged.
    size : int
    density : float
    """

    def __init__(self, energy: Float64Array, size: int, density: float) -> None:
        self.energy, self.size = np.array(energy), size
        self.sums = np.stack([self._sum(block) for block in range(-(-len(energy) // size))])
        self.dropped = self.sums.size - kept_count(density, self.sums.size)
        self.measure()

    def measure(self) -> float:
        """Set the cut, the smallest sum that is kept, and the energy retained, and return that."""
        if self.dropped == self.sums.size:
            self.cut, self.retained = np.inf, 0.0
        else:
            ordered = np.partition(self.sums.ravel(), self.dropped)
            self.cut, self.retained = float(ordered[self.dropped]), float(ordered[self.dropped :].sum())
        return self.retained

    def exchange(self, a: int, b: int) -> None:
        """Exchange two rows; sums are formed anew, so that an exchange back restores every bit."""
        self.energy[[a, b]] = self.energy[[b, a]]
        for block in (a // self.size, b // self.size):
            self.sums[block] = self._sum(block)

    def _sum(self, block: int) -> Float64Array:
        return self.energy[block * self.size : (block + 1) * self.size].sum(0)


def _exchanged(energy: Tensor, size: int, density: float, order: Tensor) -> Tensor:
    """Exchange rows between blocks until no exchange at the present cut raises what is retained."""
    given = _Blocks(energy.numpy(), size, density)
    blocks = _Blocks(energy[order].numpy(), size, density)
    if blocks.retained < given.retained:
        blocks, order = given, torch.arange(len(order))
    least, gain, found = _LEAST_GAIN * float(energy.sum()), np.empty(1), order.numpy().copy()
    if not np.isfinite(blocks.cut):
        return order
    improved = True
    while improved:
        improved = False
        for row in range(len(found)):
            partner = best_partner(blocks.energy, blocks.sums, size, blocks.cut, row, gain)
            if not gain[0] > least:
                continue
            before = blocks.retained
            blocks.exchange(row, partner)
            if blocks.measure() > before + least:
                found[[row, partner]], improved = found[[partner, row]], True
            else:
                blocks.exchange(row, partner)
                blocks.measure()
    return torch.from_numpy(found)
