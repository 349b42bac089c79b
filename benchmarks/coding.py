"""Sparse coding of whitened natural patches beside its peers: one process, one thread, after compilation.

Run ``python benchmarks/coding.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE`` also
writes one JSON line per row. SPAMS (spams-bin, which only this benchmark uses) is left out and named where it is not
installed.
"""

import importlib
import sys
import tracemalloc
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from _coding_dictionary import bench_dictionary
from _timing import Row, best_of, best_of_each, run_parts

from sparsetheory.coding import LqDictionaryLearning, alpha_max, encode, natural_patches
from sparsetheory.penalties import CEL0, L1, MCP

_ALPHA = 0.35
_SIDE = 12
# Patches on which strengths are matched.
_FEW = 500


@cache
def _patches(n: int) -> Any:
    return natural_patches(n, _SIDE, random_state=1)


@cache
def _atoms(n_atoms: int, n_batches: int) -> Any:
    """Return unit atoms learned with l1 from other patches than those that are coded."""
    train = natural_patches(256 * n_batches, _SIDE, random_state=2)
    model = LqDictionaryLearning(n_atoms, penalty="l1", alpha=_ALPHA, n_batches=n_batches, random_state=0).fit(train)
    return model.components_


def _spams() -> Any:
    try:
        return importlib.import_module("spams")
    except ImportError:
        print("spams is not installed: left out", file=sys.stderr)
        return None


def bench_l1(quick: bool) -> list[Row]:
    """Compare codes of relative gap 1e-6 with LARS (SPAMS), coordinate descent (scikit-learn) and one product."""
    n_patches, sizes, batches = (200, (192,), 20) if quick else (10_000, (192, 384, 768), 150)
    rows = []
    for n_atoms in sizes:
        for dtype in (np.float64, np.float32):
            X, D = _patches(n_patches).astype(dtype), _atoms(n_atoms, batches).astype(dtype)
            rows += _bench_l1(X, D, n_patches // 20)
    return rows


def _bench_l1(X: Any, D: Any, few: int) -> list[Row]:
    n_atoms, penalty = D.shape[0], L1(X.dtype.type(_ALPHA).item())
    found = encode(X, D, penalty)
    gap = float(np.max(found.gap / found.objective))
    active = np.count_nonzero(found.codes) / X.shape[0]
    task = f"l1 codes, {X.shape[0]} patches, {n_atoms} atoms, {X.dtype}, {active:.1f} active (gap {gap:.0e})"
    rows = []
    if spams := _spams():
        columns, atoms = np.asfortranarray(X.T), np.asfortranarray(D.T)
        mine, theirs = best_of_each(
            lambda: encode(X, D, penalty),
            lambda: spams.lasso(columns, atoms, lambda1=_ALPHA, mode=2, numThreads=1),
            repeats=5,
        )
        rows.append(Row(task, "SPAMS lasso", mine, theirs, 2.0))
    mine, product = best_of_each(lambda: encode(X, D, penalty), lambda: X @ D.T, repeats=5)
    rows.append(Row(task, "the product X @ D.T alone", mine, product, 1 / 8 if n_atoms == 192 else None))
    decomposition = importlib.import_module("sklearn.decomposition")
    theirs = best_of(lambda: decomposition.sparse_encode(X[:few], D, algorithm="lasso_cd", alpha=_ALPHA), 1)
    rows.append(Row(task, f"scikit-learn lasso_cd ({few} patches, scaled)", mine, theirs * X.shape[0] / few, 15.0))
    return rows


def bench_nonconvex(quick: bool) -> list[Row]:
    """Compare penalties that are not convex with l1, at equally many active atoms and at equal error."""
    n_patches, sizes, batches = (200, (192,), 20) if quick else (10_000, (192, 768), 150)
    rows = []
    for n_atoms in sizes:
        X, D = _patches(n_patches), _atoms(n_atoms, batches)
        for family in (CEL0, MCP):
            penalty = _matched(X, D, family, _active, 7.0)
            task = f"{family.__name__} codes, {n_patches} patches, {n_atoms} atoms, 7 active"
            same = {
                "our l1, 7 active": _matched(X, D, L1, _active, 7.0),
                "our l1, same error": _matched(X, D, L1, _fidelity, _fidelity(X[:_FEW], D, penalty)),
            }
            for name, l1 in same.items():
                ours, convex = best_of_each(*(partial(encode, X, D, p) for p in (penalty, l1)), repeats=5)
                rows.append(Row(task, name, ours, convex, 1.0))
    return rows


def _active(X: Any, D: Any, penalty: Any) -> float:
    return np.count_nonzero(encode(X, D, penalty).codes) / X.shape[0]


def _fidelity(X: Any, D: Any, penalty: Any) -> float:
    return -float(np.mean((X - encode(X, D, penalty).codes @ D) ** 2))


def _matched(X: Any, D: Any, family: Any, measure: Callable[[Any, Any, Any], float], wanted: float) -> Any:
    """Return the penalty of the strength at which a measure that falls with it is as wanted, by bisection."""
    few = X[:_FEW]
    low, high = 1e-4, alpha_max(few, D, family)
    for _ in range(20):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if measure(few, D, family(middle)) > wanted else (low, middle)
    return family(float(np.sqrt(low * high)))


def bench_memory(quick: bool) -> list[Row]:
    """Measure the memory that coding many patches takes beside patches and codes."""
    n_patches, batches = (20_000, 20) if quick else (1_000_000, 150)
    D = _atoms(192, batches).astype(np.float32)
    some = _patches(1000).astype(np.float32)
    X, codes = np.tile(some, (n_patches // 1000, 1)), np.empty((n_patches, 192), np.float32)
    encode(some, D, L1(_ALPHA))
    tracemalloc.start()
    encode(X, D, L1(_ALPHA), out=codes)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return [Row(f"l1 codes of {n_patches} patches, 192 atoms, beside data and codes", "64 MB", peak, 64.0, 1.0, "MB")]


_PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "l1": bench_l1,
    "nonconvex": bench_nonconvex,
    "dictionary": bench_dictionary,
    "memory": bench_memory,
}


if __name__ == "__main__":
    run_parts("Sparse coding", __doc__, _PARTS)
