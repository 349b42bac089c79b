"""Exact label sharpness: one thread, the fastest of some runs counts.

Run ``python benchmarks/label_sharpness.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE``
also writes one JSON line per row. Points are random blobs, one for each of ten classes, whose classes overlap: times
depend on how many pairs the bounds of products leave, and pictures of digits leave fewer. The peers look for the
nearest point of the other classes, one class after the other. scikit-learn takes products, too, without an error bound:
of single precision it sums in double, and recomputes nothing. scipy takes differences. The full size runs once, in a
process of its own with as many threads as the environment allows; memory is the peak of its resident set, data
included, beyond what the imports take.
"""

import multiprocessing
import resource
from collections.abc import Callable

import numpy as np
from _timing import Row, best_of_each, run_parts
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances_argmin_min

from sparsetheory.gpu.dimension import label_sharpness

# What is promised of 60000 pictures of 784 pixels: two minutes, four gigabytes.
_SECONDS, _MEGABYTES = 120.0, 4096.0


def _data(n: int, p: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw blobs of ten classes with a few directions in common."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, n)
    X = rng.standard_normal((n, p), dtype)
    X *= 0.2
    X += (0.3 * rng.standard_normal((10, p), dtype))[y]
    X += 0.2 * rng.standard_normal((n, 20), dtype) @ rng.standard_normal((20, p), dtype)
    return X, y


def _sklearn(X: np.ndarray, y: np.ndarray) -> float:
    least = np.inf
    for label in range(9):
        _, distances = pairwise_distances_argmin_min(X[y == label], X[y > label])
        least = min(least, float(distances.min()))
    return 1 / least


def _scipy(X: np.ndarray, y: np.ndarray) -> float:
    least = np.inf
    for label in range(9):
        others = X[y > label]
        for part in np.array_split(X[y == label], max(1, len(others) * len(X) // 2**24)):
            least = min(least, float(cdist(part, others).min()))
    return 1 / least


def bench_time(quick: bool) -> list[Row]:
    """Compare with peers at sizes where these are bearable."""
    rows = []
    for n, p in [(1500, 64)] if quick else [(5000, 784), (20000, 64)]:
        for dtype in ("float32", "float64"):
            X, y = _data(n, p, dtype)
            found = [1 / _scipy(X, y), 1 / label_sharpness(X, y).value]
            assert abs(found[0] / found[1] - 1) < 1e-9
            ours, products, differences = best_of_each(
                lambda X=X, y=y: label_sharpness(X, y),
                lambda X=X, y=y: _sklearn(X, y),
                lambda X=X, y=y: _scipy(X, y),
                repeats=2,
            )
            task = f"sharpness, {n} x {p}, {dtype}"
            rows.append(Row(task, "scikit-learn, products without a bound", ours, products))
            rows.append(Row(task, "scipy, differences", ours, differences))
    return rows


def _in_child(n: int, p: int, dtype: str, queue: "multiprocessing.Queue[tuple[float, float]]") -> None:
    # Whatever was imported is there before.
    label_sharpness(*_data(100, p, dtype))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    X, y = _data(n, p, dtype)
    (seconds,) = best_of_each(lambda: label_sharpness(X, y), repeats=1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Small data fit into memory that was freed before.
    queue.put((seconds, max(1.0, (after - before) / 1024)))


def bench_full(quick: bool) -> list[Row]:
    """Compare one run at the promised size with what is promised, in seconds and in memory."""
    n, p = (3000, 64) if quick else (60000, 784)
    rows = []
    for dtype in ("float32",) if quick else ("float32", "float64"):
        context = multiprocessing.get_context("spawn")
        queue: multiprocessing.Queue[tuple[float, float]] = context.Queue()
        child = context.Process(target=_in_child, args=(n, p, dtype, queue))
        child.start()
        seconds, megabytes = queue.get()
        child.join()
        task = f"{n} x {p}, {dtype}"
        rows.append(Row(f"sharpness, {task}", "promised time", seconds, _SECONDS, None if quick else 1.0))
        rows.append(Row(f"peak, {task}", "promised memory", megabytes, _MEGABYTES, None if quick else 1.0, unit="MB"))
    return rows


_PARTS: dict[str, Callable[[bool], list[Row]]] = {"time": bench_time, "full": bench_full}


if __name__ == "__main__":
    run_parts("Label sharpness", __doc__, _PARTS)
