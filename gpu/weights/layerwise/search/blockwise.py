"""Long rows: swap search inside blocks of columns, one after the other, while all other coefficients are held.

With s the present coefficients of a row w, the best coefficients of a block B minimise
``s_B' H_BB s_B - 2 b_B' s_B`` with ``b_B = (H (w - s))_B + H_BB s_B``: a problem of the same kind, of the size of the
block. Every step lowers the objective of the row or leaves it, so the cycles over the blocks come to an end.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.gpu.weights.layerwise.least_squares import refit
from sparsetheory.gpu.weights.layerwise.search.problem import Problem
from sparsetheory.gpu.weights.layerwise.search.searcher import Searcher
from sparsetheory.typing import BoolArray, Float64Array, Int64Array

__all__ = ["LONGEST_ROW", "columns_of_blocks", "search_blocks"]

LONGEST_ROW = 8192
"""Columns up to which a row is searched as a whole, with work space of less than 1.5 GB for each thread."""

# Longer rows are searched in blocks of this size. Blocks save memory, not time, and find less: the coefficients outside
# the block do not follow a swap. At 4096 columns blocks of 1024 and 384 left 14 and 30 % more error than whole rows,
# whose search took as long.
_BLOCK = 1024


def columns_of_blocks(p: int, m: int, block_size: int | None) -> list[slice]:
    """Return the blocks of columns, of nearly equal size and whole groups; one block is the whole row."""
    m = 1 if m == p else m
    most = block_size or (p if p <= LONGEST_ROW else _BLOCK)
    groups, in_block = p // m, max(most // m, 1)
    number = max(-(-groups // in_block), 1)
    edges = [m * (groups * i // number) for i in range(number + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def search_blocks(
    problem: Problem,
    rows: Sequence[slice],
    parts: Sequence[slice],
    m: int,
    max_swaps: int,
    inside: BoolArray,
    weight: Float64Array,
    n_swaps: Int64Array,
) -> None:
    """Cycle over the blocks of columns until no swap inside a block lowers the objective of any row.

    Parameters
    ----------
    problem : Problem
        Rows and their Gram matrix.
    rows : sequence of slice
        Blocks of rows that share a mask.
    parts : sequence of slice
        Blocks of columns.
    m : int
        Columns of a group; all columns where a row is one group.
    max_swaps : int
        Limit for each block of rows.
    inside, weight, n_swaps : ndarray
        Masks, updated in place; coefficients and numbers of swaps, filled.
    """
    searchers: list[Any] = [None] * len(parts)
    scales = problem.scales().numpy()
    _fit(problem, rows, inside, weight)
    # A row is settled when a cycle that began with its least-squares fit has found no swap.
    active, fitted = list(rows), {row.start for row in rows}
    while active:
        moved = dict.fromkeys((row.start for row in active), 0)
        for part, columns in enumerate(parts):
            b = _targets(problem, active, columns, weight)
            for row in active:
                left = max_swaps - int(n_swaps[row.start]) - moved[row.start]
                searcher = searchers[part] = searchers[part] or _searcher(problem.H, columns, m, rows)
                kept = inside[row, columns]
                found, swaps = searcher.run(b[row.start], np.zeros(len(kept)), kept, left, float(scales[row].sum()))
                moved[row.start] += swaps
                if moved[row.start] or row.start not in fitted:
                    inside[row, columns], weight[row, columns] = kept, found
        active = _next(problem, active, moved, fitted, max_swaps, inside, weight, n_swaps)


def _targets(problem: Problem, active: Sequence[slice], columns: slice, weight: Float64Array) -> dict[int, Any]:
    """Return the correlations of a block's columns with what the other columns leave, by first row."""
    index = _index(active)
    held = torch.from_numpy(weight[index])
    block = problem.H[columns, columns]
    b = ((problem.W[torch.from_numpy(index)] - held) @ problem.H[:, columns] + held[:, columns] @ block).numpy()
    ends = np.cumsum([row.stop - row.start for row in active])
    return {row.start: b[end - (row.stop - row.start) : end] for row, end in zip(active, ends, strict=True)}


def _searcher(H: Tensor, columns: slice, m: int, rows: Sequence[slice]) -> Searcher:
    block = H[columns, columns].contiguous()
    return Searcher(block, block.shape[0] if m == H.shape[0] else m, max(row.stop - row.start for row in rows))


def _index(rows: Sequence[slice]) -> Int64Array:
    return np.concatenate([np.arange(row.start, row.stop) for row in rows])


def _fit(problem: Problem, rows: Sequence[slice], inside: BoolArray, weight: Float64Array) -> None:
    """Write the least-squares coefficients of some rows on their masks."""
    index = _index(rows)
    weight[index] = refit(problem.W[torch.from_numpy(index)], problem.H, torch.from_numpy(inside[index])).numpy()


def _next(
    problem: Problem,
    active: Sequence[slice],
    moved: dict[int, int],
    fitted: set[int],
    max_swaps: int,
    inside: BoolArray,
    weight: Float64Array,
    n_swaps: Int64Array,
) -> list[slice]:
    """Count the swaps of a cycle, fit the rows that found none, and return the rows that are not settled."""
    unsettled, to_fit = [], []
    for row in active:
        swaps = moved[row.start]
        n_swaps[row] += swaps
        if swaps == 0 and row.start in fitted:
            continue
        fitted.discard(row.start)
        over = n_swaps[row.start] >= max_swaps
        if swaps == 0 or over:
            to_fit.append(row)
            fitted.add(row.start)
        if not over:
            unsettled.append(row)
    if to_fit:
        _fit(problem, to_fit, inside, weight)
    return unsettled
