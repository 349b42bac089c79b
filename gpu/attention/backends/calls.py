"""Which tiles of queries share a call of attention."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparsetheory.gpu.attention.backends.tiles import Geometry

__all__ = ["Call", "plan_calls"]


@dataclass(frozen=True)
class Call:
    """Tiles of queries that share a call of attention.

    Parameters
    ----------
    rows : tuple of int
        Rows of blocks of queries, tile by tile.
    where : slice or Tensor of int64
        The same rows, as an index.
    n_tiles : int
        Number of geometry.
    count : int
        Blocks of keys of each tile.
    columns : Tensor of int64 of shape (n_tiles * count,)
        These blocks, tile by tile.
    first : int or None
        The first of these blocks where there is one tile and they lie side by side.
    partial : bool
        Whether some pairs are not to be seen.
    """

    rows: tuple[int, ...]
    where: slice | Tensor
    n_tiles: int
    count: int
    columns: Tensor
    first: int | None
    partial: bool


def plan_calls(geometry: Geometry, blocks_a_call: int) -> list[Call]:
    """Return calls such that every row of blocks is in one of them.

    Neighbouring rows of blocks that keep the same blocks are one tile of queries, so a mask that keeps all is one call
    a head. The plan is made with numpy, whose small operations cost a tenth of torch's.
    """
    kept = geometry.kept.cpu().numpy()
    row, column = kept.nonzero()
    column += row // geometry.rows_of_head * kept.shape[1]
    first = np.searchsorted(row, np.arange(len(kept) + 1)).tolist()
    groups: dict[tuple[int, int, bool], list[int]] = defaultdict(list)
    for start, end, partial in _runs(geometry, kept):
        groups[end - start, first[start + 1] - first[start], partial].append(start)
    calls = []
    for (length, count, partial), starts in groups.items():
        size = max(1, blocks_a_call // count)
        index = np.array([first[start] for start in starts])[:, None] + np.arange(count)
        columns = torch.from_numpy(column[index.ravel()]).to(geometry.kept.device).split(size * count)
        for part, chosen in enumerate(columns):
            calls.append(_call(starts[part * size : (part + 1) * size], length, count, chosen, partial))
    return calls


def _call(starts: list[int], length: int, count: int, columns: Tensor, partial: bool) -> Call:
    rows = tuple(row for start in starts for row in range(start, start + length))
    side_by_side = rows[-1] - rows[0] == len(rows) - 1
    where = slice(rows[0], rows[-1] + 1) if side_by_side else torch.tensor(rows, device=columns.device)
    first = None
    if len(starts) == 1 and int(columns[-1] - columns[0]) == count - 1:
        first = int(columns[0])
    return Call(rows, where, len(starts), count, columns, first, partial)


def _runs(geometry: Geometry, kept: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, bool]]:
    """Yield first row and end of runs of rows that keep the same blocks, and whether a pair of them is hidden."""
    new = np.ones(len(kept), dtype=bool)
    new[1:] = (kept[1:] != kept[:-1]).any(-1)
    new[:: geometry.rows_of_head] = True
    partial = geometry.partial.cpu().numpy()
    starts = new.nonzero()[0]
    hidden = np.logical_or.reduceat(partial, starts).tolist()
    ends = [*starts[1:].tolist(), len(kept)]
    yield from zip(starts.tolist(), ends, hidden, strict=True)
