"""Claims about clusterings and their instances: T15 to T17."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.lowrank import ConcatSVDClustering, block_svd_error, hard_instance, min_clusters_lower_bound
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.concatenated_svd.instances import (
    ROUNDING,
    Concatenation,
    concatenations,
    squares,
)
from sparsetheory.proofs_checks.verdicts import Always

# Rank at least the row count and tolerances of 1 or more are legal and warned about; claims avoid both.
_TOLERANCES = (0.05, 0.2, 0.5)


def _clustering(c: Concatenation) -> tuple[ConcatSVDClustering, float]:
    eps = _TOLERANCES[c.rng_seed % 3]
    rank = min(c.rank, c.blocks[0].shape[0] - 1)
    return ConcatSVDClustering(rank=rank, eps=eps, on_fail="skip").fit(c.blocks), eps


def _partitions(count: int) -> Iterator[list[list[int]]]:
    """Yield all partitions of a few items."""
    if count == 0:
        yield []
        return
    for rest in _partitions(count - 1):
        yield [*rest, [count - 1]]
        for i in range(len(rest)):
            yield [*rest[:i], [*rest[i], count - 1], *rest[i + 1 :]]


def _least_rank(blocks: list[Any], eps: float) -> int:
    """Return the least rank at which blocks side by side have a relative error of eps, by singular values."""
    s2 = squares(np.hstack(blocks))
    tails = np.append(np.cumsum(s2[::-1])[::-1], 0.0)
    # As many directions as rounding cannot take away.
    return int(np.argmax(tails <= (eps**2 + ROUNDING) * tails[0]))


def _cluster_count(c: Concatenation, cap: float = np.inf) -> Measurement:
    """Compare both sides for every partition of up to five blocks, and the package's count with the fewest clusters.

    The clusters' bases side by side approximate everything within eps, so their ranks sum to at least the numerical
    rank of everything at eps. Where every cluster is factored at rank r or is one block, it counts at most that much.
    """
    blocks, eps, rank = list(c.blocks[:5]), _TOLERANCES[c.rng_seed % 3], c.rank
    sums, counts = [], []
    for partition in _partitions(len(blocks)):
        ranks = [_least_rank([blocks[k] for k in cluster], eps) for cluster in partition]
        sums.append(sum(min(r, cap) for r in ranks))
        if all(r <= rank or len(cluster) == 1 for r, cluster in zip(ranks, partition, strict=True)):
            counts.append(len(partition))
    directions = _least_rank(blocks, eps)
    bound = float(min_clusters_lower_bound(blocks, rank, eps))
    ranks_add_up = Measurement(directions, float(min(sums)), 1.0)
    return ranks_add_up.and_chain({"bound on the number of clusters": bound, "fewest clusters": float(min(counts))})


cluster_count = Claim(
    name="concatenated_svd.cluster_count",
    summary="The ranks of clusters add up to at least the numerical rank of everything.",
    statement=r"\sum_{c} \operatorname{rank}_c \ge \rho = \min\{k : E_k(C)^2 \le \epsilon^2 e\}"
    r" \text{ for every clustering}",
    source=Source.ours("lower bound on the number of clusters"),
    verdict=Always(0.0),
    instances=concatenations,
    evaluate=_cluster_count,
    # A block stored raw counts by its rank, which may be above r.
    near_miss=lambda c: _cluster_count(c, cap=c.rank),
)


def _fitted_errors(c: Concatenation) -> Measurement:
    """Compare every cluster's interval, exact error from a full SVD, and the tolerance."""
    found, eps = _clustering(c)
    left, right = [], []
    for members, interval in zip(found.clusters_, found.intervals_, strict=True):
        cluster = np.hstack([c.blocks[k] for k in members])
        energy = float(np.linalg.norm(cluster) ** 2)
        if len(members) > 1 and energy:
            exact = squares(cluster)[found.rank :].sum() / energy
            left += [interval.relative()[0] ** 2, exact, exact]
            right += [exact, interval.relative()[1] ** 2, eps**2]
    return Measurement.worst(left, right, 1.0) if left else Measurement(0.0, 0.0, 1.0)


fitted_errors = Claim(
    name="concatenated_svd.fitted_errors",
    summary="The error of every cluster lies in its certified interval and below the tolerance.",
    statement=r"lo_c \le E_r(C_c)^2 \le \min(hi_c, \epsilon^2 e_c) \text{ for every cluster of two or more blocks}",
    source=Source.ours("soundness of the clustering"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_fitted_errors,
    near_miss=0.9,
)


@dataclass(frozen=True)
class Packing:
    """Item sizes of a bin-packing instance, the capacity of a bin, and a rank."""

    weights: tuple[int, ...]
    spare: int
    rank: int

    @property
    def capacity(self) -> int:
        """At least the largest item."""
        return max(self.weights) + self.spare


def packings() -> st.SearchStrategy[Packing]:
    """Draw up to 5 items, whose 52 partitions are tried one by one."""
    weights = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple)
    return st.builds(Packing, weights, st.integers(0, 9), st.integers(1, 4))


def _fewest_bins(weights: tuple[int, ...], capacity: int, loads: tuple[int, ...] = ()) -> int:
    """Return the least number of bins by trying every bin for every item."""
    if not weights:
        return len(loads)
    first, rest = weights[0], weights[1:]
    options = [(*loads, first), *((*loads[:i], loads[i] + first, *loads[i + 1 :]) for i in range(len(loads)))]
    return min(_fewest_bins(rest, capacity, option) for option in options if max(option) <= capacity)


def _reduction(p: Packing, squared: bool = True) -> Measurement:
    """Compare the fewest clusters of the blocks under an absolute error with the fewest bins of the items.

    The common columns take all r directions and the rest are orthogonal, so that the squared error of a set of blocks
    is the sum of its items: a cluster is a bin, and its tolerance squared the capacity.
    """
    items = [float(w) for w in p.weights]
    blocks = hard_instance(items, p.rank + len(items), p.rank, random_state=len(items))
    errors = {
        subset: block_svd_error([blocks[k] for k in subset], p.rank).absolute
        for size in range(1, len(items) + 1)
        for subset in combinations(range(len(items)), size)
    }
    # Halfway to the next load: sizes are whole numbers.
    limit = np.sqrt(p.capacity + 0.5) if squared else p.capacity + 0.5
    fewest = min(
        len(partition)
        for partition in _partitions(len(items))
        if all(errors[tuple(sorted(cluster))] <= limit for cluster in partition)
    )
    loads = max(abs(error**2 - sum(items[k] for k in subset)) for subset, error in errors.items())
    energy = block_svd_error(blocks, p.rank).energy
    same_number = Measurement(abs(fewest - _fewest_bins(p.weights, p.capacity)), 0.0, 1.0)
    return same_number.and_chain({"error less load, over the energy": loads / energy, "nothing": 0.0})


bin_packing = Claim(
    name="concatenated_svd.bin_packing",
    summary="Clustering under an absolute error contains bin packing, which is hard.",
    statement=r"E_r(C_S)^2 = \sum_{k \in S} w_k \text{ for } A_k = [P, \sqrt{w_k}\, u_k] \text{: clusters of error}"
    r" \le \sqrt V \text{ are bins of size } V",
    source=Source.ours("hardness: clustering under an absolute tolerance is bin packing"),
    verdict=Always(ROUNDING),
    instances=packings,
    evaluate=_reduction,
    # The capacity bounds the squared error, not the error.
    near_miss=lambda p: _reduction(p, squared=False),
)


def _per_block(c: Concatenation, scale: bool) -> Measurement:
    blocks = [b / np.linalg.norm(b) if scale and b.any() else b for b in c.blocks]
    blocks = [b for b in blocks if b.any()]
    if not blocks:
        return Measurement(0.0, 0.0, 1.0)
    joined = np.hstack(blocks)
    u = np.linalg.svd(joined, full_matrices=False)[0][:, : c.rank]
    shares = np.array([(np.linalg.norm(b - u @ (u.conj().T @ b)) / np.linalg.norm(b)) ** 2 for b in blocks])
    total = squares(joined)[c.rank :].sum() / np.linalg.norm(joined) ** 2
    return Measurement.worst([abs(shares.mean() - total), shares.max()], [0.0, len(blocks) * total], 1.0)


block_fairness = Claim(
    name="concatenated_svd.block_fairness",
    summary="Among blocks of norm one the squared error is the mean of theirs; their number times it bounds each.",
    statement=r"\|A_k\|_F = 1 \Rightarrow \epsilon_r(C)^2 = \tfrac1p \sum_k \epsilon_k^2,"
    r"\quad \max_k \epsilon_k \le \sqrt p\, \epsilon_r(C)",
    source=Source.ours("fairness of unit-norm blocks"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=lambda c: _per_block(c, scale=True),
    near_miss=lambda c: _per_block(c, scale=False),
)
