"""The low-rank line beside its peers: one process, one BLAS thread, after compilation.

Run ``python benchmarks/lowrank.py``; ``--quick`` cuts the sizes, ``--json FILE`` also writes one JSON line per row.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _timing import Row, best_of, best_result, print_table
from scipy.sparse.linalg import svds
from sklearn.decomposition import TruncatedSVD
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from sparsetheory.lowrank import ConcatSVDClustering, SVDSummary, range_finder_summary, tree_summary
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.clustering.agglomerative import _Agglomeration, joint_error
from sparsetheory.lowrank.clustering.baselines import kmeans_clusters, one_svd, per_block_svd, random_clusters
from sparsetheory.lowrank.clustering.greedy import greedy_partition, max_norm_labels
from sparsetheory.lowrank.clustering.growth import Grown, IncrementalGrowth
from sparsetheory.lowrank.datasets.families import decaying_columns, subspace_mixture
from sparsetheory.lowrank.interval import ErrorInterval
from sparsetheory.numba_kernels import pair_bounds, rank_allocation

Cells = dict[str, Any]


@dataclass
class Recomputed:
    """The greedy loop that factors the whole cluster afresh for every candidate."""

    blocks: Blocks
    eps: float
    captured: Callable[[Any], float]
    n_exact_evaluations: int = 0

    def grow(self, seed: Sequence[int], candidates: Sequence[int]) -> Grown:
        """Add candidates while the exact error allows."""
        accepted: list[int] = []
        for k in candidates:
            matrix = self.blocks.concatenate([*seed, *accepted, k])
            energy = float(np.sum(matrix**2))
            if energy - self.captured(matrix) > self.eps**2 * energy:
                break
            accepted.append(k)
        return Grown(accepted, ErrorInterval(0.0, 0.0, 0.0, "not computed"))


class OneByOne(IncrementalGrowth):
    """The incremental estimator without panels."""

    def grow(self, seed: Sequence[int], candidates: Sequence[int]) -> Grown:
        """Add candidates while the summary allows."""
        summary = SVDSummary.empty(self.blocks.n_rows, self.rank + self.oversampling, target_rank=self.rank)
        summary.absorb(self.blocks.concatenate(seed))
        accepted: list[int] = []
        for k in candidates:
            trial = copy(summary).absorb(self.blocks[k])
            if trial.interval().decide(self.eps) is not True:
                break
            summary = trial
            accepted.append(k)
        return Grown(accepted, summary.interval())


class Recorder:
    """Remember the first seed and its ranked candidates."""

    n_exact_evaluations = 0

    def grow(self, seed: Sequence[int], candidates: Sequence[int]) -> Grown:
        """Accept nobody."""
        self.call = (seed, candidates)
        return Grown([], ErrorInterval(0.0, 0.0, 0.0, "not computed"))


def _gram_energy(matrix: Any, rank: int) -> float:
    gram = matrix.T @ matrix if matrix.shape[1] < matrix.shape[0] else matrix @ matrix.T
    return float(np.linalg.eigvalsh(gram)[-rank:].sum())


def greedy(quick: bool) -> list[Row]:
    """Update one truncated SVD, against computing it afresh for every candidate."""
    count, m, rank, first = (300, 200, 16, 60) if quick else (1500, 768, 32, 300)
    eps = 0.15
    blocks = Blocks(decaying_columns(count, m, random_state=0))
    whole = partial(greedy_partition, blocks, rank=rank, order="residual", oversampling=5)
    recorder = Recorder()
    whole(recorder, patience=1)
    seed, candidates = recorder.call
    # Early candidates are the cheapest ones for the peers: the ratio grows with the cluster.
    candidates = candidates[:first]
    peers = {
        "eigvalsh of the smaller Gram": lambda a: _gram_energy(a, rank),
        "numpy.linalg.svd, values only": lambda a: float(np.sum(np.linalg.svd(a, compute_uv=False)[:rank] ** 2)),
        "scipy svds, values only": lambda a: float(np.sum(svds(a, k=rank, return_singular_vectors=False) ** 2)),
        "sklearn randomized_svd": lambda a: float(np.sum(randomized_svd(a, rank, random_state=0)[1] ** 2)),
    }
    seconds, grown = best_result(lambda: IncrementalGrowth(blocks, rank, eps, 5, False).grow(seed, candidates))
    rows = []
    for name, peer in peers.items():
        peer_seconds, found = best_result(lambda p=peer: Recomputed(blocks, eps, p).grow(seed, candidates), 1)
        # Costs per candidate that was tried: an estimator that stops early must not look fast.
        per_ours, per_peer = seconds / len(grown.accepted), peer_seconds / max(len(found.accepted), 1)
        task = f"greedy, per candidate, first {first} of {count}"
        against = f"{name}; accepts {len(found.accepted)}, we {len(grown.accepted)}"
        rows.append(Row(task, against, 1e3 * per_ours, 1e3 * per_peer, 5, "ms"))
    seconds, ours = best_result(lambda: whole(IncrementalGrowth(blocks, rank, eps, 5, False), patience=10))
    alone, other = best_result(lambda: whole(OneByOne(blocks, rank, eps, 5, False), patience=10), 2)
    task = f"greedy, whole run, {count} columns {m} x 1, {len(ours.clusters)} clusters"
    rows.append(Row(task, f"panels switched off, {len(other.clusters)} clusters", seconds, alone))
    return rows


def agglomeration(quick: bool) -> list[Row]:
    """Count exact evaluations against those of brute force with a memory of pairs."""
    count, m, rank, eps = (120, 128, 5, 0.3) if quick else (1000, 512, 10, 0.3)
    mixture = subspace_mixture(count, m, 8, n_subspaces=count // 20, rank=rank, noise=0.02, random_state=0)
    blocks = Blocks(mixture.blocks)

    def ours() -> tuple[int, list[Any]]:
        state = _Agglomeration(blocks, rank, eps, 5)
        merges = list(state.merges())
        return state.n_exact_evaluations, merges

    seconds, (used, merges) = best_result(ours, 1)
    # Every pair once, then every merged cluster against each of the others.
    brute = count * (count - 1) // 2 + sum(count - step - 1 for step in range(1, len(merges) + 1))
    task = f"agglomeration, {count} blocks {m} x 8, {count - len(merges)} clusters"
    return [
        Row(task, "exact evaluations of brute force", used, brute, 20, ""),
        Row(task, "brute force, from a sample of its evaluations", seconds, _brute_seconds(blocks, merges, rank)),
    ]


def _brute_seconds(blocks: Blocks, merges: Sequence[Any], rank: int) -> float:
    """Sample initial pairs, and one partner of each merged cluster; weigh each by what it stands for."""
    rng = np.random.default_rng(0)
    count = len(blocks)

    def seconds(members: list[int]) -> float:
        return best_of(lambda: joint_error(blocks, members, rank), 2)

    total = statistics.fmean(seconds(rng.choice(count, 2, replace=False).tolist()) for _ in range(200))
    total *= count * (count - 1) / 2
    members = {k: [k] for k in range(count)}
    for merge in merges:
        joined = members.pop(merge.first) + members.pop(merge.second)
        if members:
            partner = members[list(members)[rng.integers(len(members))]]
            total += len(members) * seconds([*joined, *partner])
        members[merge.joined] = joined
    return total


def max_norm(quick: bool) -> list[Row]:
    """Cluster columns by norm, against sorting them and one array of partial sums."""
    count = 10**5 if quick else 10**6
    rng = np.random.default_rng(0)
    energies = {
        "ten decades": 10.0 ** rng.uniform(-5, 5, count),
        "nearly equal": rng.uniform(0.9, 1.1, count),
        "all equal (ties)": np.ones(count),
    }
    rows = []
    for name, eps in (("ten decades", 0.99), ("ten decades", 0.2), ("nearly equal", 0.2), ("all equal (ties)", 0.2)):
        e = energies[name]
        ours, labels = best_result(lambda e=e, eps=eps: max_norm_labels(e, 32, eps, n_rows=768), 7)
        peer = best_of(lambda e=e: np.cumsum(e[np.argsort(e)]), 7)
        # The target is less than twice the time of the peer.
        task = f"max-norm, {count} columns, {name}, {labels.max() + 1} clusters"
        rows.append(Row(task, "argsort and cumsum", 1e3 * ours, 1e3 * peer, 0.5, "ms"))
    return rows


def summaries(quick: bool) -> list[Cells]:
    """Time and error of one rank-r basis, and what each method knows of the error."""
    columns, rank = decaying_columns(300 if quick else 1500, 768, random_state=0), 32
    matrix = np.hstack(columns)
    blocks = np.hsplit(matrix, 30)

    def chain() -> SVDSummary:
        summary = SVDSummary.empty(matrix.shape[0], rank + 5, target_rank=rank)
        for block in blocks:
            summary.append(block)
        return summary

    methods: dict[str, Callable[[], Any]] = {
        "tree_summary, 30 blocks": lambda: tree_summary(blocks, rank + 5, target_rank=rank),
        "chain of appends, 30 blocks": chain,
        "range_finder_summary": lambda: range_finder_summary(blocks, rank, random_state=0),
        "numpy.linalg.svd": lambda: np.linalg.svd(matrix, full_matrices=False)[0],
        "sklearn randomized_svd": lambda: randomized_svd(matrix, rank, random_state=0)[0],
        "sklearn TruncatedSVD": lambda: TruncatedSVD(rank, random_state=0).fit(matrix.T).components_.T,
    }
    cells = []
    for name, method in methods.items():
        seconds, found = best_result(method)
        basis = (found if isinstance(found, np.ndarray) else found.basis)[:, :rank]
        missed = np.linalg.norm(matrix - basis @ (basis.T @ matrix)) / np.linalg.norm(matrix)
        row = {"method": name, "seconds": seconds, "relative error of its basis": float(missed)}
        known = ""
        if name == "numpy.linalg.svd":
            known = "all singular values"
        elif not isinstance(found, np.ndarray):
            lo, hi = found.interval(rank).relative()
            known = f"best error in [{lo:.4f}, {hi:.4f}]"
        cells.append({**row, "known without another pass": known})
    return cells


def quality(quick: bool) -> list[Cells]:
    """Compression and worst error per cluster at one tolerance, against simpler ways to group blocks."""
    count, rank, eps = (60 if quick else 200), 10, 0.2
    blocks = subspace_mixture(count, 256, 8, n_subspaces=8, rank=rank, noise=0.02, random_state=0).blocks
    cells = []
    for algorithm in ("greedy", "agglomerative"):
        fit = ConcatSVDClustering(rank, eps=eps, algorithm=algorithm)
        seconds = best_of(partial(fit.fit, blocks), 1)
        found = (len(fit.clusters_), fit.compression_ratio_, float(fit.errors_.max()), seconds)
        cells.append(_quality_cells(f"ours, {algorithm}", *found))
    groups = cells[0]["clusters"]
    baselines: dict[str, Callable[[], Any]] = {
        "one SVD per block": lambda: per_block_svd(blocks, eps),
        "one SVD of all": lambda: one_svd(blocks, eps),
        "k-means on entries, as many clusters": lambda: kmeans_clusters(blocks, rank, groups, random_state=0),
        "random groups, as many clusters": lambda: random_clusters(blocks, rank, groups, random_state=0),
    }
    for name, baseline in baselines.items():
        seconds, result = best_result(baseline, 1)
        found = (len(result.ranks), result.compression_ratio, float(result.errors.max()), seconds)
        cells.append(_quality_cells(name, *found))
    return [{**c, f"within {eps:g}": "yes" if c["worst error"] <= eps else "no"} for c in cells]


def _quality_cells(name: str, clusters: int, compression: float, error: float, seconds: float) -> Cells:
    return {
        "method": name,
        "clusters": clusters,
        "compression": float(compression),
        "worst error": error,
        "seconds": seconds,
    }


def cold_start(quick: bool) -> list[Cells]:
    """Whole new processes: imports, and the first compiled result without and with a kernel cache."""
    greedy = "sparsetheory.lowrank.clustering.greedy"
    first = f"from {greedy} import max_norm_labels; max_norm_labels([1.0, 0.5], 1, 0.1, n_rows=5)"
    repeats = 2 if quick else 5
    with tempfile.TemporaryDirectory() as folder:
        caches = [os.path.join(folder, str(k)) for k in range(1 if quick else 3)]
        cold = statistics.median(_process(f"import numpy; {first}", cache) for cache in caches)
        warm = statistics.median(_process(f"import numpy; {first}", caches[0]) for _ in range(repeats))
    codes = ("import numpy", *(f"import numpy, {name}" for name in ("numba", "sparsetheory", "sparsetheory.lowrank")))
    imports = [statistics.median(_process(code) for _ in range(repeats)) for code in codes]
    limits = {
        "import numpy": (imports[0], None),
        "import numba": (imports[1], None),
        "import sparsetheory": (imports[2], 0.3),
        "import sparsetheory.lowrank": (imports[3], None),
        "first max_norm_labels, cold cache": (cold, None),
        "first max_norm_labels, warm cache": (warm, 1.0),
    }
    cells = []
    for name, (seconds, limit) in limits.items():
        beyond = max(seconds - imports[0], 0.0)
        met = "" if limit is None else "yes" if beyond <= limit else "no"
        row = {"process": name, "seconds": seconds, "beyond numpy": beyond}
        cells.append({**row, "limit": "" if limit is None else limit, "met": met})
    return cells


def _process(code: str, cache: str | None = None) -> float:
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    return best_of(lambda: subprocess.run([sys.executable, "-c", code], check=True, env=environment), 1)


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write one JSON line per row")
    options = parser.parse_args()
    rank_allocation.warmup()
    pair_bounds.warmup()
    with threadpool_limits(1):
        rows = [*greedy(options.quick), *agglomeration(options.quick), *max_norm(options.quick)]
        if options.quick:
            # Targets are for the full sizes.
            rows = [replace(row, target=None) for row in rows]
        tables = {
            "Low-rank line against its peers, one thread": [row.cells() for row in rows],
            "Rank-32 summaries of decaying columns, one thread": summaries(options.quick),
            "Compression of a subspace mixture at one tolerance": quality(options.quick),
            "Cold start": cold_start(options.quick),
        }
    for title, cells in tables.items():
        print_table(title, cells)
    if options.json:
        lines = [json.dumps({"table": title, **row}) for title, cells in tables.items() for row in cells]
        options.json.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
