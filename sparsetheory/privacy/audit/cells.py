"""Messages fall into cells: one per value where they take few values, and intervals of a statistic otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sparsetheory.typing import AnyArray, BoolArray, Float64Array, IndexArray

__all__ = ["Cells", "are_discrete", "interval_cells", "statistic_cells", "value_cells"]

# Messages are discrete if so many of them take at most so many values.
_LOOK, _MOST_VALUES = 4096, 1024
# Cells of a real statistic, and draws that each should hold.
_MOST_CELLS, _FEWEST_PER_CELL = 256, 20
_MOST_LISTED = 8


@dataclass(frozen=True)
class Cells:
    """Cells into which messages fall, numbered from 0.

    Parameters
    ----------
    codes : mapping of int to array
        Number of the cell of each message, one array per input.
    n_cells : int
        How many there are.
    words : str
        What is looked at.
    edges : array or None
        Inner edges of intervals; a value on an edge belongs to the right. None where cells are values.
    values : array or None
        The values, one row each.
    """

    codes: Mapping[int, IndexArray]
    n_cells: int
    words: str
    edges: Float64Array | None = None
    values: AnyArray | None = None

    def counts(self, first: int, second: int, part: slice) -> AnyArray:
        """Return how many messages of two inputs fall into each cell, 2 x n_cells."""
        return np.stack([np.bincount(self.codes[i][part], minlength=self.n_cells) for i in (first, second)])

    def describe(self, members: BoolArray) -> str:
        """Return a set of cells in words."""
        numbers = np.flatnonzero(members)
        if self.values is not None:
            listed = [_value(row) for row in self.values[numbers[:_MOST_LISTED]]]
            more = [f"{len(numbers) - _MOST_LISTED} more"] * (len(numbers) > _MOST_LISTED)
            return f"{self.words} in {{{', '.join(listed + more)}}}"
        assert self.edges is not None
        ends = np.concatenate([[-np.inf], self.edges, [np.inf]])
        return f"{self.words} in [{ends[numbers[0]]:.4g}, {ends[numbers[-1] + 1]:.4g})"


def _value(row: AnyArray) -> str:
    entries = [f"{entry:.6g}" for entry in row[:_MOST_LISTED].astype(float)]
    return entries[0] if len(row) == 1 else f"({', '.join(entries)}{', ...' * (len(row) > _MOST_LISTED)})"


def _keys(rows: AnyArray) -> AnyArray:
    """One sortable key per row, equal where all bytes are equal: the receiver sees bytes."""
    packed = np.ascontiguousarray(rows)
    raw = packed.view(np.uint8).reshape(len(packed), -1)
    if raw.shape[1] > 8:
        return raw.view(np.dtype((np.void, raw.shape[1]))).ravel()
    padded = np.zeros((len(raw), 8), dtype=np.uint8)
    padded[:, : raw.shape[1]] = raw
    return padded.view(np.uint64).ravel()


def are_discrete(samples: Mapping[int, AnyArray]) -> bool:
    """Say whether messages take few values, by the first of each input, which serve the choice of events alone."""
    for rows in samples.values():
        seen = rows[: min(_LOOK, len(rows) // 2)]
        if len(np.unique(_keys(seen))) > min(_MOST_VALUES, len(seen) // 2):
            return False
    return True


def value_cells(samples: Mapping[int, AnyArray], words: str) -> Cells:
    """Return one cell per value of the messages."""
    stacked = np.concatenate(list(samples.values()))
    _, places, codes = np.unique(_keys(stacked), return_index=True, return_inverse=True)
    parts = np.split(codes, np.cumsum([len(rows) for rows in samples.values()])[:-1])
    return Cells(dict(zip(samples, parts, strict=True)), len(places), words, values=stacked[places])


def interval_cells(samples: Mapping[int, AnyArray], learn: slice, words: str) -> Cells:
    """Return intervals of one real statistic, about equally frequent among the draws that learn."""
    pooled = np.concatenate([values[learn] for values in samples.values()])
    n_cells = int(np.clip(len(pooled) // _FEWEST_PER_CELL, 2, _MOST_CELLS))
    edges = np.unique(np.quantile(pooled, np.arange(1, n_cells) / n_cells))
    codes = {i: np.searchsorted(edges, values, side="right") for i, values in samples.items()}
    return Cells(codes, len(edges) + 1, words, edges)


def statistic_cells(samples: Mapping[int, AnyArray], learn: slice, words: str) -> Cells:
    """Return cells of one statistic: its values if they are few, and intervals otherwise."""
    columns = {i: values[:, None] for i, values in samples.items()}
    return value_cells(columns, words) if are_discrete(columns) else interval_cells(samples, learn, words)
