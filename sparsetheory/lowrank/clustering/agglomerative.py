"""Best-first agglomeration that evaluates a pair exactly only when cheap bounds cannot rule it out."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.clustering.greedy import Partition
from sparsetheory.lowrank.interval import ErrorInterval
from sparsetheory.lowrank.operands import Matrix
from sparsetheory.lowrank.spectra import compact, exact_spectrum
from sparsetheory.lowrank.summary import SVDSummary
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["Merge", "agglomerate", "agglomerate_merges", "joint_error"]

# Rows of the cross Gram matrix held at once.
_TILE_COLUMNS = 2048
# What rounding may add to a lower bound: squares of overlaps lose more digits than spectra.
_SCALAR_SLACK, _SPECTRAL_SLACK = 1e-10, 1e-13
_SCALAR, _SPECTRAL, _EXACT = 0, 1, 2


@dataclass(frozen=True)
class Merge:
    """One step: clusters `first` and `second` became cluster `joined` at a relative squared error of `value`."""

    first: int
    second: int
    joined: int
    value: float


def agglomerate(blocks: Blocks, rank: int, eps: float, *, oversampling: int) -> Partition:
    """Merge the pair of clusters with the smallest relative joint error until none is within tolerance.

    Parameters
    ----------
    blocks : Blocks
        Checked blocks, none of them all zero.
    rank : int
        Target rank.
    eps : float
        Relative tolerance.
    oversampling : int
        Directions beyond `rank` kept in the clusters' summaries; more make fewer exact evaluations.

    Returns
    -------
    Partition
        Clusters in order of their first block.

    Notes
    -----
    The sequence of merges is that of evaluating every pair exactly. Memory O(M^2 + M m l). Provenance: ours.
    """
    state = _Agglomeration(blocks, rank, eps, oversampling)
    for _ in state.merges():
        pass
    alive = sorted(state.members, key=lambda c: min(state.members[c]))
    clusters = [sorted(state.members[c]) for c in alive]
    intervals = {i: state.interval(c) for i, c in enumerate(alive) if len(state.members[c]) > 1}
    return Partition(clusters, intervals, state.n_exact_evaluations)


def joint_error(blocks: Blocks, members: list[int], rank: int) -> float:
    """Certified relative squared best rank-r error of some blocks, with what rounding leaves of exact merges set to 0.

    Without that, exact merges would not tie, and noise would choose between them.
    """
    return _value(blocks, _exact_interval(blocks, members, rank))


def _exact_interval(blocks: Blocks, members: list[int], rank: int) -> ErrorInterval:
    return exact_spectrum(blocks, members, rank).interval(rank, f"exact, {len(members)} blocks")


def _value(blocks: Blocks, interval: ErrorInterval) -> float:
    value = interval.upper / interval.energy
    return value if value > blocks.resolution**2 else 0.0


def agglomerate_merges(blocks: Blocks, rank: int, eps: float, *, oversampling: int) -> list[Merge]:
    """Return the merges of :func:`agglomerate` in order; blocks are clusters 0 to M - 1."""
    return list(_Agglomeration(blocks, rank, eps, oversampling).merges())


class _Agglomeration:
    """Clusters, their pairwise overlaps, and a heap of lower bounds on joint errors."""

    def __init__(self, blocks: Blocks, rank: int, eps: float, oversampling: int) -> None:
        count = len(blocks)
        self.blocks, self.rank = blocks, rank
        self.threshold = eps**2
        self.n_exact_evaluations = 0
        self.members = {k: [k] for k in range(count)}
        size = rank + oversampling
        self.summaries = {
            k: SVDSummary.empty(blocks.n_rows, size, target_rank=rank).absorb(blocks[k]) for k in range(count)
        }
        # A merge reuses the row of its first cluster, so that the arrays never grow.
        self.row = {k: k for k in range(count)}
        self.widths, self.energies = blocks.widths.astype(np.int64), blocks.energies.copy()
        self.cross = _cross_overlaps(blocks)
        self.overlaps = np.diag(self.cross).copy()
        self.errors, self.losses = np.zeros(count), np.zeros(count)
        self.intervals = {k: _exact_interval(blocks, [k], rank) for k in range(count)}
        self.pairs: dict[tuple[int, int], ErrorInterval] = {}
        self.spectra = np.zeros((count, rank))
        for k in range(count):
            self._describe(k)
        self.heap = [entry for k in range(count) for entry in self._scalar_entries(k, range(k + 1, count))]
        heapq.heapify(self.heap)

    def merges(self) -> Iterator[Merge]:
        """Perform the merges one after another."""
        fresh = len(self.blocks)
        while self.heap and self.heap[0][0] <= self.threshold:
            value, stage, a, b = heapq.heappop(self.heap)
            if a not in self.members or b not in self.members:
                continue
            if stage == _EXACT:
                self._join(a, b, fresh)
                yield Merge(a, b, fresh, value)
                others = [c for c in self.members if c != fresh]
                for entry in self._scalar_entries(fresh, others):
                    heapq.heappush(self.heap, entry)
                fresh += 1
            else:
                self._push(*(self._spectral(a, b) if stage == _SCALAR else self._exact(a, b)), a, b)

    def interval(self, cluster: int) -> ErrorInterval:
        """Exact error of a cluster with its rounding allowance."""
        return self.intervals[cluster]

    def _push(self, value: float, stage: int, a: int, b: int) -> None:
        if value <= self.threshold:
            heapq.heappush(self.heap, (value, stage, a, b))

    def _scalar_entries(self, a: int, others: "range | list[int]") -> list[tuple[float, int, int, int]]:
        from sparsetheory.numba_kernels.pair_bounds import pair_lower_bounds

        labels = list(others)
        if not labels:
            return []
        rows = np.array([self.row[b] for b in labels])
        bounds = pair_lower_bounds(
            self.energies, self.overlaps, self.cross, self.errors, self.spectra, self.losses, self.widths,
            self.blocks.n_rows, self.row[a], rows,
        )  # fmt: skip
        keys = np.maximum(bounds - _SCALAR_SLACK, 0.0)
        return [
            (float(keys[i]), _SCALAR, min(a, labels[i]), max(a, labels[i]))
            for i in np.flatnonzero(keys <= self.threshold)
        ]

    def _spectral(self, a: int, b: int) -> tuple[float, int]:
        first, second = self.summaries[a], self.summaries[b]
        s, t = first.singular_values, second.singular_values
        product = s[:, None] * (first.basis.conj().T @ second.basis) * t
        column_gram = np.block([[np.diag(s**2), product], [product.conj().T, np.diag(t**2)]])
        squares = scipy.linalg.eigvalsh(column_gram, check_finite=False)[::-1]
        energy = self.energies[self.row[a]] + self.energies[self.row[b]]
        captured = squares[: self.rank].sum() + first.discarded_kyfan + second.discarded_kyfan
        return max(float((energy - captured) / energy) - _SPECTRAL_SLACK * squares.size, 0.0), _SPECTRAL

    def _exact(self, a: int, b: int) -> tuple[float, int]:
        self.n_exact_evaluations += 1
        interval = _exact_interval(self.blocks, [*self.members[a], *self.members[b]], self.rank)
        self.pairs[a, b] = interval
        return _value(self.blocks, interval), _EXACT

    def _join(self, a: int, b: int, joined: int) -> None:
        self.intervals[joined] = self.pairs.pop((a, b))
        row, other = self.row.pop(a), self.row.pop(b)
        self.members[joined] = [*self.members.pop(a), *self.members.pop(b)]
        self.summaries[joined] = self.summaries.pop(a).merge(self.summaries.pop(b))
        self.row[joined] = row
        self.overlaps[row] += self.overlaps[other] + 2 * self.cross[row, other]
        self.energies[row] += self.energies[other]
        self.widths[row] += self.widths[other]
        self.cross[row] += self.cross[other]
        self.cross[:, row] = self.cross[row]
        self._describe(joined)

    def _describe(self, cluster: int) -> None:
        row, summary = self.row[cluster], self.summaries[cluster]
        leading = summary.singular_values[: self.rank] ** 2
        self.spectra[row, : leading.size] = leading
        self.spectra[row, leading.size :] = 0.0
        self.losses[row] = summary.discarded_kyfan
        # The lower end: rounding must not make the superadditive bound exceed the truth.
        self.errors[row] = self.intervals[cluster].lower


def _cross_overlaps(blocks: Blocks) -> Float64Array:
    """Squared Frobenius norms of all products of two blocks, by tiles of the column Gram matrix."""
    count = len(blocks)
    # Of a wide block its triangle does: overlaps follow from Gram matrices.
    triangles = {k: compact(blocks[k]) for k in np.flatnonzero(blocks.widths > blocks.n_rows).tolist()}
    widths = np.array([triangles[k].shape[1] if k in triangles else blocks.widths[k] for k in range(count)])

    def joint(members: Int64Array) -> Matrix:
        return np.hstack([triangles[k] if k in triangles else blocks[k] for k in members.tolist()])

    tile_of = (np.cumsum(widths) - 1) // _TILE_COLUMNS
    tiles = [np.flatnonzero(tile_of == t) for t in np.unique(tile_of)]
    cross = np.empty((count, count))
    for i, rows in enumerate(tiles):
        left = joint(rows).conj().T
        row_starts = np.concatenate([[0], np.cumsum(widths[rows])[:-1]])
        for columns in tiles[i:]:
            squares = np.abs(left @ joint(columns)) ** 2
            starts = np.concatenate([[0], np.cumsum(widths[columns])[:-1]])
            sums = np.add.reduceat(np.add.reduceat(squares, row_starts, axis=0), starts, axis=1)
            cross[np.ix_(rows, columns)] = sums
            cross[np.ix_(columns, rows)] = sums.T
    return cross
