"""Patterns in which consecutive rows share their zeros."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.core.patterns.base import DENSITY, Pattern, needs_axes, needs_multiple
from sparsetheory.gpu.core.patterns.entries import NM
from sparsetheory.gpu.core.selection import keep_in_groups, keep_largest, kept_count

__all__ = ["BlockNM", "RowBlock"]


@dataclass(frozen=True)
class RowBlock(Pattern):
    """Blocks of consecutive rows that share their zeros; the best positions of the whole tensor are kept.

    Rows are the first axis. The score of a position is the sum of the scores of its rows: the l1 norm of the block
    where scores are magnitudes, its energy where they are squares.

    Parameters
    ----------
    size : int
        Rows in a block; it must divide the number of rows, or `pad` must be set.
    density : float
        Share of the positions of blocks to keep, from 0 to 1.
    pad : bool
        Whether the last block may have fewer rows.

    Examples
    --------
    >>> import torch
    >>> RowBlock(2, 0.5).mask(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    tensor([[False,  True],
            [False,  True]])
    """

    size: int
    density: float
    pad: bool = False

    def __post_init__(self) -> None:
        COUNT.check("size", self.size)
        DENSITY.check("density", self.density)
        FLAG.check("pad", self.pad)

    def __str__(self) -> str:
        return f"{100 * self.density:g}% of blocks of {self.size} rows"

    def check_shape(self, shape: Sequence[int], *, name: str = "score") -> None:
        """Raise ValueError unless the blocks divide the rows."""
        needs_axes(shape, 2, self, name)
        if not self.pad:
            needs_multiple(shape, 0, self.size, self, name)

    def count(self, shape: Sequence[int]) -> int:
        """Return the entries kept; with a padded last block, those if no position of it were kept short."""
        blocks = -(-shape[0] // self.size)
        return kept_count(self.density, blocks * math.prod(shape[1:])) * self.size

    def _mask(self, score: Tensor) -> Tensor:
        blocks = _block_sums(score, self.size)
        kept = keep_largest(blocks.reshape(-1), kept_count(self.density, blocks.numel())).reshape(blocks.shape)
        return _spread(kept, self.size, score.shape)


@dataclass(frozen=True)
class BlockNM(Pattern):
    """N:M along the inputs, with blocks of consecutive rows that share their zeros.

    Parameters
    ----------
    size : int
        Rows in a block; it must divide the first axis.
    n, m : int
        Positions kept of every m consecutive ones along `axis`.
    axis : int
        Along which groups run, the last one by default.

    Examples
    --------
    >>> import torch
    >>> BlockNM(2, 1, 2).mask(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    tensor([[False,  True],
            [False,  True]])
    """

    size: int
    n: int
    m: int
    axis: int = -1

    def __post_init__(self) -> None:
        COUNT.check("size", self.size)
        NM(self.n, self.m, self.axis)

    def __str__(self) -> str:
        return f"{self.n}:{self.m} in blocks of {self.size} rows"

    def check_shape(self, shape: Sequence[int], *, name: str = "score") -> None:
        """Raise ValueError unless blocks divide the rows, and groups their axis."""
        needs_axes(shape, 2, self, name)
        needs_multiple(shape, 0, self.size, self, name)
        NM(self.n, self.m, self.axis).check_shape(shape, name=name)

    def count(self, shape: Sequence[int]) -> int:
        """Return n for every group."""
        return math.prod(shape) // self.m * self.n

    def _mask(self, score: Tensor) -> Tensor:
        blocks = _block_sums(score, self.size).movedim(self.axis, -1)
        return _spread(keep_in_groups(blocks, self.n, self.m).movedim(-1, self.axis), self.size, score.shape)


def _block_sums(score: Tensor, size: int) -> Tensor:
    missing = -score.shape[0] % size
    if missing:
        score = torch.cat([score, score.new_zeros(missing, *score.shape[1:])])
    # In half precision sums would overflow, and sums that differ would tie.
    precise = torch.float32 if score.dtype.itemsize < 4 else score.dtype
    sums = score.reshape(score.shape[0] // size, size, *score.shape[1:]).sum(1, dtype=precise)
    if bool(torch.isnan(sums).any()):
        raise ValueError("score must not hold both infinities in one position of a block of rows")
    return sums


def _spread(kept: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    return kept.repeat_interleave(size, 0)[: shape[0]]
