"""The low-rank line beside its peers: one process, one BLAS thread, after compilation.

Run ``python benchmarks/lowrank.py``; ``--quick`` cuts the sizes.
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
from _timing import Row, best_of, print_table
from scipy.sparse.linalg import svds
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from sparsetheory.lowrank import ConcatSVDClustering, SVDSummary, range_finder_summary
from sparsetheory.lowrank.agglomerative import agglomerate_merges
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.families import decaying_columns, subspace_mixture
from sparsetheory.lowrank.greedy import greedy_partition, max_norm_labels
from sparsetheory.lowrank.growth import IncrementalGrowth
from sparsetheory.numba_kernels import pair_bounds, rank_allocation


def greedy(quick: bool) -> list[Row]:
    """Update one truncated SVD, against computing it afresh for every candidate."""
    count, m, rank = (300, 200, 16) if quick else (1500, 768, 32)
    columns = decaying_columns(count, m, random_state=0)
    blocks, matrix = Blocks(columns), np.hstack(columns)

    def ours() -> None:
        growth = IncrementalGrowth(blocks, rank, 0.4, 5, skip=False)
        greedy_partition(blocks, growth, rank, order="residual", patience=10, oversampling=5)

    seconds = best_of(ours, 2)
    # Growing clusters are recomputed for each candidate; 20 sizes spread over the first cluster stand for all of them.
    size = max(len(c) for c in ConcatSVDClustering(rank, 0.4).fit(columns).clusters_)
    sizes = np.linspace(rank + 2, max(size, rank + 20), 20).astype(int)
    peers = {
        "svds": lambda n: svds(matrix[:, :n], k=rank),
        "randomized_svd": lambda n: randomized_svd(matrix[:, :n], rank, random_state=0),
        "numpy.linalg.svd": lambda n: np.linalg.svd(matrix[:, :n], full_matrices=False),
    }
    rows = []
    for name, peer in peers.items():
        per_candidate = np.mean([best_of(lambda n=n, peer=peer: peer(n), 1) for n in sizes])
        total = per_candidate * count
        label = f"{name} per candidate: {total:.2f} s (20 sizes timed, times {count})"
        rows.append(
            Row(f"greedy, {count} columns of length {m}, r={rank}", f"{seconds:.2f} s", label, total / seconds, 5)
        )
    one = best_of(lambda: _one_by_one(columns, rank), 1)
    panels = best_of(lambda: _panels(columns, rank, 64), 2)
    rows.append(
        Row("chain over all columns, panels of 64", f"{panels:.2f} s", f"one by one: {one:.2f} s", one / panels, 1)
    )
    return rows


def _one_by_one(columns: list, rank: int) -> None:
    summary = SVDSummary.empty(len(columns[0]), rank + 5, target_rank=rank)
    for column in columns:
        summary.append(column)


def _panels(columns: list, rank: int, width: int) -> None:
    summary = SVDSummary.empty(len(columns[0]), rank + 5, target_rank=rank)
    for k in range(0, len(columns), width):
        summary.append(np.hstack(columns[k : k + width]))


def agglomeration(quick: bool) -> list[Row]:
    """Count exact evaluations against those of brute force with a memory of pairs."""
    count, m = (150, 256) if quick else (1000, 512)
    mixture = subspace_mixture(count, m, 4, n_subspaces=count // 10, rank=4, noise=0.02, random_state=0)
    fits = []
    seconds = best_of(
        lambda: fits.append(ConcatSVDClustering(4, 0.5, algorithm="agglomerative").fit(mixture.blocks)), 1
    )
    merges = len(agglomerate_merges(Blocks(mixture.blocks), 4, 0.5, oversampling=5))
    brute = count * (count - 1) // 2 + sum(count - 1 - step for step in range(1, merges + 1))
    used = fits[0].n_exact_evaluations_
    task = f"agglomeration, {count} blocks {m} x 4, {len(fits[0].clusters_)} clusters in {seconds:.1f} s"
    return [Row(task, f"{used} exact spectra", f"brute force: {brute}", brute / used, 20)]


def max_norm(quick: bool) -> list[Row]:
    """Cluster columns by norm, against sorting them and one array of partial sums."""
    count = 10**5 if quick else 10**6
    rng = np.random.default_rng(0)
    families = {"equal norms": rng.uniform(0.9, 1.1, count), "ten decades": 10.0 ** rng.uniform(-5, 5, count)}
    rows = []
    for name, energies in families.items():
        max_norm_labels(energies[:10], 32, 0.2, n_rows=768)
        ours = best_of(lambda e=energies: max_norm_labels(e, 32, 0.2, n_rows=768))
        peer = best_of(lambda e=energies: np.cumsum(e[np.argsort(-e, kind="stable")]))
        # The target is less than twice the time of the peer.
        rows.append(
            Row(f"max-norm, {count} columns, {name}", f"{ours:.3f} s", f"sort and sum: {peer:.3f} s", peer / ours, 0.5)
        )
    return rows


def range_finder(quick: bool) -> list[Row]:
    """Bound the error of one matrix, against computing it."""
    columns = decaying_columns(300 if quick else 1500, 768, random_state=0)
    matrix = np.hstack(columns)
    found = []
    ours = best_of(lambda: found.append(range_finder_summary([matrix], 32, random_state=0)), 3)
    values = []
    peer = best_of(lambda: values.append(np.linalg.svd(matrix, compute_uv=False)), 1)
    lo, hi = found[0].interval(32).relative()
    truth = np.sqrt(np.sum(values[0][32:] ** 2) / np.sum(values[0] ** 2))
    task = f"range finder, error in [{lo:.3f}, {hi:.3f}], truth {truth:.3f}"
    return [Row(task, f"{ours:.3f} s", f"numpy.linalg.svd: {peer:.3f} s", peer / ours, 1)]


def cold_start() -> list[Row]:
    """First compiled result in a new process, without and with a kernel cache; imports alone."""
    first = "from sparsetheory.lowrank.greedy import max_norm_labels; max_norm_labels([1.0, 0.5], 1, 0.1, n_rows=5)"
    with tempfile.TemporaryDirectory() as cache:
        cold = _process(first, cache)
        warm = min(_process(first, cache) for _ in range(3))
    numpy_only = min(_process("import numpy", "") for _ in range(3))
    package = min(_process("import numpy, sparsetheory", "") for _ in range(3))
    package, cold, warm = (max(seconds - numpy_only, 1e-3) for seconds in (package, cold, warm))
    first_result = "first compiled result, warm cache, beyond numpy"
    return [
        Row("import sparsetheory, beyond numpy", f"{package:.3f} s", "limit: 0.3 s", 0.3 / package, 1),
        Row(first_result, f"{warm:.2f} s", f"cold cache: {cold:.2f} s; limit: 1 s", 1 / warm, 1),
    ]


def _process(code: str, cache: str) -> float:
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    return best_of(lambda: subprocess.run([sys.executable, "-c", code], check=True, env=environment), 1)


def main() -> None:
    """Run everything and print one table."""
    quick = "--quick" in sys.argv[1:]
    rank_allocation.warmup()
    pair_bounds.warmup()
    with threadpool_limits(1):
        rows = [*greedy(quick), *agglomeration(quick), *max_norm(quick), *range_finder(quick), *cold_start()]
    print_table("Low-rank line, one thread", rows)


if __name__ == "__main__":
    main()
