"""Seeded greedy clustering: grow one cluster after another from the largest remaining blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.bounds import leading_seed
from sparsetheory.lowrank.clustering.growth import Growth
from sparsetheory.lowrank.interval import ErrorInterval, relative_slack
from sparsetheory.lowrank.operands import Matrix, squared_norm
from sparsetheory.lowrank.spectra import captured, squared_spectrum, thin_svd
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["Partition", "greedy_partition", "max_norm_clusters", "max_norm_labels"]

# Columns that one product takes at once when candidates are ranked.
_CHUNK_COLUMNS = 4096
# Below this share of a block's energy, the difference of two squares has lost its digits.
_CANCELLATION = 1e-6


@dataclass(frozen=True)
class Partition:
    """Clusters in order of creation, with what the algorithm knows of their error.

    Parameters
    ----------
    clusters : list of list of int
        Members of each cluster.
    intervals : dict of int to ErrorInterval
        Interval of each cluster that was grown or merged; clusters of one block have none.
    n_exact_evaluations : int
        Exact spectra that decisions needed.
    bases : dict of int to ndarray
        Where clusters were decided in a basis, that basis.
    """

    clusters: list[list[int]]
    intervals: dict[int, ErrorInterval] = field(default_factory=dict)
    n_exact_evaluations: int = 0
    bases: dict[int, Matrix] = field(default_factory=dict)

    def relabel(self, indices: Int64Array) -> "Partition":
        """Return the partition in the numbering of a larger list, in which block k is ``indices[k]``."""
        return replace(self, clusters=[indices[members].tolist() for members in self.clusters])

    def with_zeros(self, zeros: list[int]) -> "Partition":
        """Put blocks of zeros into the first shared cluster; where there is none, into one of their own."""
        if not zeros:
            return self
        clusters, intervals = [list(c) for c in self.clusters], dict(self.intervals)
        if intervals:
            clusters[min(intervals)].extend(zeros)
        else:
            intervals[len(clusters)] = ErrorInterval(0.0, 0.0, 0.0, "zero")
            clusters.append(zeros)
        return replace(self, clusters=clusters, intervals=intervals)


def greedy_partition(
    blocks: Blocks, growth: Growth, rank: int, *, order: str, patience: int, oversampling: int
) -> Partition:
    """Seed, rank candidates, grow; repeat on what remains.

    Parameters
    ----------
    blocks : Blocks
        Checked blocks, none of them all zero.
    growth : Growth
        The estimator that accepts candidates.
    rank : int
        Target rank, the column budget of a seed.
    order : {"norm", "residual"}
        Candidates from the smallest norm upwards, or from the smallest part outside the seed's leading directions.
    patience : int
        Seeds in a row that may stay alone before all the rest become singletons.
    oversampling : int
        Directions beyond `rank` that "residual" projects on.
    """
    remaining = np.argsort(-blocks.energies, kind="stable")
    partition = Partition([])
    failures = 0
    while remaining.size:
        seed = leading_seed(blocks, rank, remaining.tolist())
        others = remaining[len(seed) :]
        candidates = _ranked(blocks, seed, others, order, rank + oversampling)
        grown = growth.grow(seed, candidates)
        if grown.accepted:
            failures = 0
        else:
            failures += 1
            if failures >= patience:
                partition.clusters.extend([k] for k in remaining.tolist())
                break
        if grown.accepted or len(seed) > 1:
            partition.intervals[len(partition.clusters)] = grown.interval
            if grown.basis is not None:
                partition.bases[len(partition.clusters)] = grown.basis
        partition.clusters.append([*seed, *grown.accepted])
        remaining = others[~np.isin(others, grown.accepted)]
    return replace(partition, n_exact_evaluations=growth.n_exact_evaluations)


def _ranked(blocks: Blocks, seed: Sequence[int], others: Int64Array, order: str, size: int) -> list[int]:
    if others.size == 0:
        return []
    indices = np.sort(others)
    if order == "norm":
        keys = blocks.energies[indices]
    else:
        basis = thin_svd(blocks.concatenate(seed))[0][:, :size]
        keys = _residual_energies(blocks, basis, indices)
    return indices[np.argsort(keys, kind="stable")].tolist()


def _residual_energies(blocks: Blocks, basis: Float64Array, indices: Int64Array) -> Float64Array:
    residuals = np.empty(indices.size)
    ends = np.cumsum(blocks.widths[indices])
    chunk_of = (ends - 1) // _CHUNK_COLUMNS
    for chunk in np.unique(chunk_of):
        places = np.flatnonzero(chunk_of == chunk)
        coefficients = basis.conj().T @ blocks.concatenate(indices[places])
        per_column = np.sum(np.abs(coefficients) ** 2, axis=0)
        starts = np.concatenate([[0], np.cumsum(blocks.widths[indices[places]])[:-1]])
        residuals[places] = blocks.energies[indices[places]] - np.add.reduceat(per_column, starts)
    for place in np.flatnonzero(residuals < _CANCELLATION * blocks.energies[indices]):
        block = blocks[indices[place]]
        residuals[place] = squared_norm(block - basis @ (basis.conj().T @ block))
    return residuals


def max_norm_labels(
    energies: ArrayLike,
    rank: int,
    eps: float,
    *,
    n_rows: int,
    widths: ArrayLike | None = None,
    caps: ArrayLike | None = None,
    patience: int = 10,
) -> Int64Array:
    """Cluster blocks by their norms alone.

    Parameters
    ----------
    energies : array-like of shape (M,)
        Squared Frobenius norms.
    rank : int
        Target rank.
    eps : float
        Relative tolerance.
    n_rows : int
        Row count, for the rounding allowance.
    widths : array-like of shape (M,), optional
        Column counts, 1 by default.
    caps : array-like of shape (M,), optional
        What `rank` directions capture of each block alone; its energy by default, right for blocks at most `rank`
        columns wide.
    patience : int
        Seeds in a row that may stay alone before the rest become singletons.

    Returns
    -------
    ndarray of int, shape (M,)
        Labels in order of creation.

    Notes
    -----
    One sort, one array of partial sums and one binary search per cluster: O(M log M). Shamrai, arXiv:2601.11626,
    with the captured energy of wide seeds corrected.

    Examples
    --------
    >>> max_norm_labels([9.0, 4.0, 0.01, 0.02], rank=1, eps=0.1, n_rows=5).tolist()
    [0, 1, 0, 0]
    """
    from sparsetheory.numba_kernels.rank_allocation import max_norm_partition

    energies = np.asarray(energies, np.float64)
    order, ordered = _descending(energies)
    ordered_widths = np.ones(energies.size, np.int64) if widths is None else np.asarray(widths, np.int64)[order]
    ordered_caps = ordered if caps is None else np.asarray(caps, np.float64)[order]
    slack = relative_slack(n_rows, int(ordered_widths.sum()))
    labels = np.empty(energies.size, np.int64)
    labels[order] = max_norm_partition(ordered, ordered_widths, ordered_caps, rank, eps**2, slack, patience)
    return labels


def _descending(values: Float64Array) -> tuple[Int64Array, Float64Array]:
    """Return the stable descending order and the sorted values; the fast sort is stable where nothing ties."""
    order = np.argsort(-values)
    ordered = values[order]
    if np.any(ordered[1:] == ordered[:-1]):
        order = np.argsort(-values, kind="stable")
    return order, ordered


def max_norm_clusters(blocks: Blocks, rank: int, eps: float, patience: int) -> Partition:
    """Cluster checked blocks by :func:`max_norm_labels` and attach the Weyl intervals."""
    wide = np.flatnonzero(blocks.widths > rank)
    caps = blocks.energies.copy()
    for k in wide.tolist():
        caps[k] = captured(squared_spectrum(blocks, [k]), rank)
    labels = max_norm_labels(
        blocks.energies, rank, eps, n_rows=blocks.n_rows, widths=blocks.widths, caps=caps, patience=patience
    )
    order = np.lexsort((np.arange(labels.size), -blocks.energies, labels))
    clusters = [c.tolist() for c in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)]
    intervals = {}
    for label, members in enumerate(clusters):
        if len(members) > 1:
            seed = leading_seed(blocks, rank, members)
            cap = caps[seed].sum() if len(seed) == 1 else blocks.energies[seed].sum()
            energy = float(blocks.energies[members].sum())
            shape = (blocks.n_rows, int(blocks.widths[members].sum()))
            intervals[label] = ErrorInterval.from_bounds(0.0, energy - cap, energy, shape, "weyl", blocks.unit)
    return Partition(clusters, intervals)
