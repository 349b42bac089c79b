"""Designs for many rows: a small subset that grows by the rows which its design serves worst."""

import numpy as np

from sparsetheory.bandits.design.improving import improved, start_of
from sparsetheory.bandits.design.leverages import BLOCK, all_leverages, leverages_of, scaled_rows
from sparsetheory.bandits.design.pivoting import PivotedRows, dropped_norm, pivoted_rows, rows_outside
from sparsetheory.bandits.design.weights import Design
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["by_column_generation"]

# Rows whose leverage is above this share of the rank stay in the subset although the design does not use them.
_NEAR = 0.7
# So often the subset grows with a new start on it. Afterwards the determinant grows from design to design, which ends.
_FRESH = 2
# One block in so many is looked at before a pass over all.
_SHARE = 10


def by_column_generation(
    A: AnyArray,
    scales: Float64Array,
    target_mult: float,
    away: bool,
    max_iter: int,
    init: Float64Array | None,
    rng: np.random.Generator,
) -> Design:
    """Alternate between designs on a subset of rows and passes over all of them, until the design holds for all.

    The design on the subset aims half as far from the optimum as the target: what is left is room for other rows.
    """
    d = A.shape[1]
    chosen, pivots = _first_subset(A, scales, init, rng)
    rank = len(pivots.indices)
    basis = pivots.basis.T / scales[:, None]
    weights = start_of(A[chosen] @ basis, pivots, None if init is None else init[chosen])
    # With steps away junk leaves the support; without them new starts shed it, and cost some steps.
    fresh = 0 if away or init is not None else _FRESH
    inner_mult, n_iter, n_passes = 1 + (target_mult - 1) / 2, 0, 0
    while True:
        inner = improved(A[chosen] @ basis, weights, inner_mult, away, max_iter - n_iter)
        n_iter += inner.n_iter
        whitening = basis @ inner.whitening
        leverages, whole = _until_violated(A, whitening, target_mult * rank, look=n_iter < max_iter)
        largest, n_passes = float(leverages.max()), n_passes + whole
        if whole and (largest <= target_mult * rank or n_iter >= max_iter):
            break
        violators = np.flatnonzero(leverages > inner_mult * rank)
        if len(violators) > 2 * d:
            violators = violators[np.argpartition(-leverages[violators], 2 * d)[: 2 * d]]
        kept = (inner.weights > 0) | (inner.leverages > _NEAR * rank)
        grown = np.union1d(chosen[kept], violators)
        if fresh > 0:
            rows = A[grown] @ basis
            weights, fresh = start_of(rows, pivoted_rows(rows), None), fresh - 1
        else:
            weights = np.zeros(len(grown))
            weights[np.searchsorted(grown, chosen[kept])] = inner.weights[kept]
        chosen = grown
    used = np.flatnonzero(inner.weights)
    return Design(
        chosen[used],
        inner.weights[used],
        largest,
        rank,
        n_iter,
        n_passes,
        largest <= target_mult * rank,
        dropped_norm(A, scales, pivots.basis),
        whitening,
    )


def _until_violated(A: AnyArray, whitening: Float64Array, limit: float, *, look: bool) -> tuple[Float64Array, bool]:
    """Return leverages, and whether they are those of all rows; zeros stand for rows that were not read.

    Before a pass over all rows a look at every tenth block, if that is asked for: violations there save the pass.
    """
    if look and len(A) > _SHARE * BLOCK:
        leverages = np.zeros(len(A))
        for start in range(0, len(A), _SHARE * BLOCK):
            leverages[start : start + BLOCK] = leverages_of(A[start : start + BLOCK], whitening)
        if leverages.max() > limit:
            return leverages, False
    return all_leverages(A, whitening), True


def _first_subset(
    A: AnyArray, scales: Float64Array, init: Float64Array | None, rng: np.random.Generator
) -> tuple[IndexArray, PivotedRows]:
    """Return random rows, the longest ones and those of a warm start, with whatever they need to span all rows."""
    n, d = A.shape
    count = min(n, max(20 * d, 1000))
    chosen = np.union1d(rng.choice(n, count, replace=False), _longest(A, scales, d))
    if init is not None:
        heaviest = np.argpartition(-init, count - 1)[:count]
        chosen = np.union1d(chosen, heaviest[init[heaviest] > 0])
    pivots = pivoted_rows(scaled_rows(A, scales, chosen))
    if len(pivots.indices) < d:
        more = rows_outside(A, scales, PivotedRows(chosen[pivots.indices], pivots.basis))
        if more.size:
            chosen = np.union1d(chosen, more)
            pivots = pivoted_rows(scaled_rows(A, scales, chosen))
    return chosen, pivots


def _longest(A: AnyArray, scales: Float64Array, count: int) -> IndexArray:
    """Return rows with the largest norms, in units of the columns."""
    norms = np.empty(len(A))
    inverse = (1 / scales).astype(A.dtype if A.dtype.kind == "f" else np.float64)
    for start in range(0, len(A), BLOCK):
        rows = A[start : start + BLOCK] * inverse
        norms[start : start + BLOCK] = np.einsum("ij,ij->i", rows, rows)
    return np.argpartition(-norms, min(count, len(norms)) - 1)[:count]
