"""Which tiles of queries share a call of attention."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparsetheory.gpu.attention.backends.tiles import Geometry

__all__ = ["Calls", "plan_calls"]


@dataclass(frozen=True)
class Calls:
    """Calls of attention on tiles of queries of one size, each with equally many blocks of keys.

    Parameters
    ----------
    rows : tuple of int
        Rows of blocks of queries, tile by tile.
    where : slice or Tensor of int64
        The same rows, as an index.
    n_tiles : int
        Number of tiles of all calls.
    size : int
        Tiles of a call; the last one may have fewer.
    count : int
        Blocks of keys of each tile.
    columns : tuple of Tensor of int64 of shape (tiles * count,), or of slice
        These blocks for each call, tile by tile; a slice where a call has one tile whose blocks lie side by side.
    partial : bool
        Whether some pairs are not to be seen.
    """

    rows: tuple[int, ...]
    where: slice | Tensor
    n_tiles: int
    size: int
    count: int
    columns: tuple[slice | Tensor, ...]
    partial: bool


def plan_calls(geometry: Geometry, blocks_a_call: int) -> list[Calls]:
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
        size = min(len(starts), max(1, blocks_a_call // count))
        index = np.array([first[start] for start in starts])[:, None] + np.arange(count)
        columns = torch.from_numpy(column[index.ravel()]).to(geometry.kept.device).split(size * count)
        rows = tuple(row for start in starts for row in range(start, start + length))
        chosen = tuple(_sliced(part) if len(part) == count else part for part in columns)
        calls.append(Calls(rows, _index(rows, geometry), len(starts), size, count, chosen, partial))
    return calls


def _index(rows: tuple[int, ...], geometry: Geometry) -> slice | Tensor:
    if rows[-1] - rows[0] == len(rows) - 1:
        return slice(rows[0], rows[-1] + 1)
    return torch.tensor(rows, device=geometry.kept.device)


def _sliced(columns: Tensor) -> slice | Tensor:
    """Return the blocks of one tile as a slice where they lie side by side."""
    first, last = int(columns[0]), int(columns[-1])
    return slice(first, last + 1) if last - first == len(columns) - 1 else columns


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
