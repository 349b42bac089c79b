"""What a pattern means to a search: groups of columns, and blocks of rows that share a mask."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.gpu.core.patterns import NM, BlockNM, Pattern, PerRow, RowBlock
from sparsetheory.typing import Int64Array

__all__ = ["Layout", "check_mask", "group_size", "layout_of", "quotas"]


@dataclass(frozen=True)
class Layout:
    """Columns of a group exchange places; rows of a block have one mask.

    Parameters
    ----------
    m : int
        Columns of a group; all of them where there is one group.
    rows : tuple of slice
        The rows of each block.
    """

    m: int
    rows: tuple[slice, ...]


def group_size(pattern: Pattern, columns: int) -> int:
    """Return how many consecutive columns exchange places.

    Raises
    ------
    ValueError
        If the pattern is none that rows or blocks of rows can be searched for.
    """
    if isinstance(pattern, NM | BlockNM) and pattern.axis in (-1, 1):
        return pattern.m
    if not isinstance(pattern, PerRow | RowBlock):
        raise ValueError(f"pattern must be NM or BlockNM along the last axis, PerRow or RowBlock; got {pattern!r}")
    return columns


def layout_of(pattern: Pattern, shape: tuple[int, int]) -> Layout:
    """Return groups and blocks of a pattern on a weight of a shape.

    Raises
    ------
    ValueError
        If the pattern is none that rows or blocks of rows can be searched for, or does not fit the shape.
    """
    m = group_size(pattern, shape[1])
    pattern.check_shape(shape, name="W")
    size = pattern.size if isinstance(pattern, BlockNM | RowBlock) else 1
    return Layout(m, tuple(slice(i, min(i + size, shape[0])) for i in range(0, shape[0], size)))


def quotas(pattern: Pattern, layout: Layout, shape: tuple[int, int]) -> Int64Array:
    """Return how many columns each group keeps, by blocks of rows: of shape (blocks, groups).

    A pattern that shares its count out over blocks of rows has no such quota: there the groups keep nothing.
    """
    kept = np.zeros((len(layout.rows), shape[1] // layout.m), dtype=np.int64)
    if isinstance(pattern, NM | BlockNM):
        kept[:] = pattern.n
    elif isinstance(pattern, PerRow):
        kept[:, 0] = pattern.counts(shape)
    return kept


def check_mask(mask: Any, pattern: Pattern, shape: tuple[int, int], layout: Layout) -> Tensor:
    """Return a mask that a search may start from.

    Raises
    ------
    ValueError
        If it is no boolean tensor of the shape, or the pattern does not allow it.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != shape:
        got = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must be a boolean tensor of shape {shape}; got {got}")
    if any(bool((mask[rows] != mask[rows.start]).any()) for rows in layout.rows if rows.stop - rows.start > 1):
        raise ValueError(f"mask must be the same in all rows of a block for {pattern}")
    if isinstance(pattern, NM | BlockNM):
        kept, allowed = mask.reshape(shape[0], -1, layout.m).sum(-1), torch.tensor(pattern.n)
    elif isinstance(pattern, PerRow):
        kept, allowed = mask.sum(-1), torch.tensor(pattern.counts(shape))
    else:
        kept, allowed = mask.sum(), torch.tensor(pattern.count(shape))
    if bool((kept > allowed).any()):
        raise ValueError(f"mask must keep at most what {pattern} allows; got {int(mask.sum())} entries")
    return mask
