"""Claims about clusterings and their instances: T15 to T17."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.lowrank import ConcatSVDClustering, block_svd_error, hard_instance, min_clusters_lower_bound
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.concatenated_svd.instances import (
    ROUNDING,
    Concatenation,
    concatenations,
    ours,
    squares,
)
from sparsetheory.proofs_checks.verdicts import Always

# Rank at least the row count and tolerances of 1 or more are legal and warned about; claims avoid both.
_TOLERANCES = (0.05, 0.2, 0.5)


def _clustering(c: Concatenation) -> tuple[ConcatSVDClustering, float]:
    eps = _TOLERANCES[c.rng_seed % 3]
    rank = min(c.rank, c.blocks[0].shape[0] - 1)
    return ConcatSVDClustering(rank=rank, eps=eps, on_fail="skip").fit(c.blocks), eps


def _cluster_count(c: Concatenation) -> Measurement:
    """Compare the lower bound with the clusters found.

    The clusters' bases side by side approximate everything within eps, so their ranks sum to at least the numerical
    rank of everything at eps.
    """
    found, _ = _clustering(c)
    return Measurement(found.n_clusters_lower_bound_, len(found.clusters_))


def _cluster_count_without_raw_blocks(c: Concatenation) -> Measurement:
    """Forget that a block stored raw contributes more directions than r."""
    found, eps = _clustering(c)
    return Measurement(min_clusters_lower_bound(c.blocks, found.rank, eps, raw_singletons=False), len(found.clusters_))


cluster_count = Claim(
    name="concatenated_svd.cluster_count",
    statement=r"\sum_{c} \operatorname{rank}_c \ge \rho = \min\{k : E_k(C)^2 \le \epsilon^2 e\}",
    source=ours("lower bound on the number of clusters"),
    verdict=Always(0.0),
    instances=concatenations,
    evaluate=_cluster_count,
    near_miss=_cluster_count_without_raw_blocks,
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
    statement=r"lo_c \le E_r(C_c)^2 \le \min(hi_c, \epsilon^2 e_c) \text{ for every cluster of two or more blocks}",
    source=ours("soundness of the clustering"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_fitted_errors,
    near_miss=0.9,
)


@dataclass(frozen=True)
class Packing:
    """Item sizes of a bin-packing instance, and a rank."""

    weights: tuple[float, ...]
    rank: int


def packings() -> st.SearchStrategy[Packing]:
    """Draw up to 8 items."""
    weights = st.lists(st.integers(1, 9).map(float), min_size=1, max_size=8).map(tuple)
    return st.builds(Packing, weights, st.integers(1, 4))


def _packing_blocks(p: Packing) -> Any:
    return hard_instance(p.weights, p.rank + len(p.weights), p.rank, random_state=len(p.weights))


def _packing_error(p: Packing) -> Measurement:
    """Compare the error with the load: the common columns take all r directions, the rest are orthogonal."""
    error = block_svd_error(_packing_blocks(p), p.rank)
    return Measurement(abs(error.absolute**2 - sum(p.weights)), 0.0, error.energy)


def _packing_absolute_errors_add(p: Packing) -> Measurement:
    error = block_svd_error(_packing_blocks(p), p.rank)
    return Measurement(abs(error.absolute - sum(np.sqrt(p.weights))), 0.0, error.energy)


bin_packing = Claim(
    name="concatenated_svd.bin_packing",
    statement=r"E_r(C_S)^2 = \sum_{k \in S} w_k \text{ for } A_k = [P, \sqrt{w_k}\, u_k]",
    source=ours("hardness: clustering under an absolute tolerance is bin packing"),
    verdict=Always(ROUNDING),
    instances=packings,
    evaluate=_packing_error,
    near_miss=_packing_absolute_errors_add,
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
    statement=r"\|A_k\|_F = 1 \Rightarrow \epsilon_r(C)^2 = \tfrac1p \sum_k \epsilon_k^2,"
    r"\quad \max_k \epsilon_k \le \sqrt p\, \epsilon_r(C)",
    source=ours("fairness of unit-norm blocks"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=lambda c: _per_block(c, scale=True),
    near_miss=lambda c: _per_block(c, scale=False),
)
