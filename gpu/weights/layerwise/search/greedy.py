"""Backward and forward passes over all rows, and the budget of patterns that share one count out over blocks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.gpu.core.budgets.allocation import allocate
from sparsetheory.gpu.core.patterns import Pattern, RowBlock
from sparsetheory.gpu.weights.layerwise.search.layout import Layout, layout_of, quotas
from sparsetheory.gpu.weights.layerwise.search.problem import Problem, in_chunks
from sparsetheory.gpu.weights.layerwise.search.sweeping import FLOOR, factor
from sparsetheory.numba_kernels.layerwise.greedy import eliminate, select
from sparsetheory.numba_kernels.layerwise.pivots import Tableau, new_tableau
from sparsetheory.typing import BoolArray, Float64Array, Int64Array

__all__ = ["Passes", "greedy_passes"]


@dataclass(frozen=True, eq=False)
class Passes:
    """Rows after a pass, as arrays; traces of blocks that took fewer steps end in -1 and NaN."""

    weight: Float64Array
    inside: BoolArray
    order: Int64Array
    amounts: Float64Array


def greedy_passes(problem: Problem, pattern: Pattern, n_jobs: int | None, *, forward: bool) -> Passes:
    """Let columns enter (`forward`) or leave one by one in every block of rows."""
    out, p = problem.W.shape
    layout = layout_of(pattern, (out, p))
    kept = quotas(pattern, layout, (out, p))
    before = -problem.H if forward else torch.cholesky_inverse(factor(problem.H))
    if isinstance(pattern, RowBlock):
        # How many positions a block keeps is known when all of them have been seen to the end.
        whole = np.full_like(kept, p) if forward else kept
        traces = _run(problem, layout, whole, before, n_jobs, forward).amounts
        total = pattern.count((len(layout.rows) * pattern.size, p)) // pattern.size
        kept[:, 0] = allocate(traces[:, ::-1] if forward else traces, total)
    return _run(problem, layout, kept, before, n_jobs, forward)


def _run(
    problem: Problem, layout: Layout, kept: Int64Array, before: Tensor, n_jobs: int | None, forward: bool
) -> Passes:
    out, p = problem.W.shape
    moves = kept if forward else layout.m - kept
    longest = int(moves.sum(1).max(initial=0))
    order = np.full((len(kept), longest), -1, dtype=np.int64)
    found = Passes(np.zeros((out, p)), np.zeros((out, p), dtype=np.bool_), order, np.full(order.shape, np.nan))
    borders = (problem.b if forward else problem.W).numpy()
    floors, most = FLOOR * problem.H.diagonal().numpy(), max(row.stop - row.start for row in layout.rows)

    def work(blocks: range) -> None:
        room: Any = new_tableau(p, p, most, longest)
        for block in blocks:
            row, steps = layout.rows[block], int(moves[block].sum())
            n = row.stop - row.start
            tableau: Tableau = room._replace(border=room.border[:n], losses=room.losses[:n])
            np.negative(before.numpy(), out=tableau.matrix)
            tableau.diagonal[:], tableau.border[:] = tableau.matrix.diagonal(), borders[row]
            tableau.seen[:], tableau.losses[:] = 0, 0.0
            inside = np.full(p, not forward)
            trace = order[block, :steps], found.amounts[block, :steps]
            if forward:
                select(tableau, inside, moves[block].copy(), floors, *trace)
            else:
                eliminate(tableau, inside, moves[block].copy(), *trace)
            found.inside[row], found.weight[row] = inside, np.where(inside, tableau.border, 0.0)

    in_chunks(work, len(layout.rows), n_jobs)
    return found
