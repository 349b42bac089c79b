"""Designs, screening and searches of misspecified sparse linear bandits: one process, one thread, after compilation.

Run ``python benchmarks/bandits.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE`` also
writes one JSON line per row. Designs are certified on all rows; what a row of the table says of supports is a number of
actions, not a time.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _timing import Row, best_of, best_of_each, best_result, run_parts

from sparsetheory.bandits import (
    AdaptiveSupportSearch,
    SupportDesignNet,
    SupportNetSearch,
    core_set_bound,
    e_optimal_design,
    estimate_eps,
    g_optimal_design,
    make_sparse_misspecified,
    screen_supports,
)
from sparsetheory.bandits.supports.enumeration import all_supports
from sparsetheory.bandits.supports.nets import grid_net

# Rows, columns, type, and the seconds that a design may take.
_DESIGNS = ((1_000_000, 100, np.float32, 8.0), (100_000, 200, np.float64, 5.0))
_QUICK_DESIGNS = ((100_000, 20, np.float32, 1.0), (20_000, 40, np.float64, 1.0))
# How many times slower a design may be that looks at all rows in every step.
_FULL_RATIO = 5.0


def _rows(n: int, d: int, dtype: Any) -> Any:
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32).astype(dtype)


def bench_designs(quick: bool) -> list[Row]:
    """Compare designs within twice the optimum with seconds, their supports with a bound, and with all rows."""
    rows = []
    g_optimal_design(_rows(2000, 5, np.float32), method="column_generation")
    for n, d, dtype, seconds in _QUICK_DESIGNS if quick else _DESIGNS:
        A = _rows(n, d, dtype)
        ours, design = best_result(partial(g_optimal_design, A, method="column_generation"), 2)
        if not design.converged or design.max_leverage > 2 * design.rank:
            raise RuntimeError(f"the design of {n} x {d} is not within twice the optimum")
        task = f"G-optimal design, {n} x {d} {A.dtype}"
        rows.append(Row(f"{task}, {design.n_passes} passes", f"{seconds:g} seconds", ours, seconds, 1.0))
        bound = core_set_bound(design.rank)
        rows.append(
            Row(f"{task}, actions", "4 d log log d + 16", float(len(design.support)), bound, 1.0, unit="actions")
        )
    n, d = (20_000, 20) if quick else (100_000, 100)
    A = _rows(n, d, np.float64)
    ours, theirs = best_of_each(
        *(partial(g_optimal_design, A, method=method) for method in ("column_generation", "full")),
        repeats=1 if quick else 3,
    )
    rows.append(Row(f"G-optimal design, {n} x {d}", "all rows in every step", ours, theirs, _FULL_RATIO))
    for n, d in ((2000, 8),) if quick else ((20_000, 20), (20_000, 50)):
        A = _rows(n, d, np.float64)
        ours, design = best_result(partial(e_optimal_design, A), 1)
        gap = 100 * (design.cmin_upper / design.cmin_lower - 1)
        rows.append(Row(f"E-optimal design, {n} x {d}, proven within {gap:.2g} %", "10 seconds", ours, 10.0, 1.0))
    return rows


def numpy_screen(XtX: Any, Xty: Any, yty: float, limit: float, s: int) -> Any:
    """Solve the normal equations of all supports in blocks, without any care for rounding; the list of them is ours."""
    kept, supports = [], all_supports(len(Xty), s)
    for start in range(0, len(supports), 20_000):
        M = supports[start : start + 20_000]
        b = Xty[M]
        coef = np.linalg.solve(XtX[M[:, :, None], M[:, None, :]], b[:, :, None])[:, :, 0]
        kept.append(M[yty - np.einsum("ij,ij->i", b, coef) <= limit])
    return np.concatenate(kept)


def bench_screening(quick: bool) -> list[Row]:
    """Compare screening with a tenth of a second and with NumPy, and time the bound of the misspecification."""
    rng = np.random.default_rng(0)
    n, d, s, eps = 241, 30 if quick else 100, 3, 0.05
    X = rng.standard_normal((n, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = X[:, [3, 15, 27]] @ [0.7, 0.5, 0.5] + eps * rng.uniform(-1, 1, n)
    count = math.comb(d, s)
    moments = (X.T @ X, X.T @ y, float(y @ y))
    ours, found = best_result(partial(screen_supports, *moments, n, s, eps), 5)
    theirs, expected = best_result(partial(numpy_screen, *moments, n * eps**2, s), 1 if quick else 3)
    if not np.array_equal(found, expected):
        raise RuntimeError("screening and NumPy disagree")
    task = f"screen {count} supports, {len(found)} survive"
    bound = best_of(partial(estimate_eps, X, y, s), 1 if quick else 3)
    return [
        Row(task, "0.1 seconds", ours, 0.1, 1.0),
        Row(task, "NumPy, batched solve", ours, theirs),
        Row(f"estimate_eps over {count} supports", "one second", bound, 1.0, 1.0),
    ]


def numpy_net(columns: Any, supports: Any, rho: float) -> Any:
    """Take the first action of every cell that holds one, on every support, by sorting numbers of cells."""
    side = rho / math.sqrt(supports.shape[1])
    axes = np.floor((columns - columns.min(axis=1, keepdims=True)) / side).astype(np.int64)
    counts = axes.max(axis=1) + 1
    chosen = np.zeros(columns.shape[1], dtype=bool)
    for support in supports:
        cells = np.zeros(columns.shape[1], dtype=np.int64)
        for j in support:
            cells = cells * counts[j] + axes[j]
        chosen[np.unique(cells, return_index=True)[1]] = True
    return np.flatnonzero(chosen)


def bench_searches(quick: bool) -> list[Row]:
    """Compare the net of a search with NumPy, and the queries of searches with those of the net."""
    n, d = (5000, 10) if quick else (100_000, 50)
    problem = make_sparse_misspecified(n, d, 2, 0.1, random_state=0).problem()
    columns, supports = np.ascontiguousarray(problem.features.T), all_supports(d, 2)
    grid_net(columns[:3], supports[:1], 0.5, False)
    ours, (found, _) = best_result(partial(grid_net, columns, supports, 0.1, False), 1)
    theirs, expected = best_result(partial(numpy_net, columns, supports, 0.1), 1)
    if not np.array_equal(np.sort(found), expected):
        raise RuntimeError("the net and NumPy disagree")
    rows = [Row(f"net on {len(supports)} supports of {n} actions", "NumPy, sorted cells", ours, theirs)]
    n, d, eps = (2000, 8, 0.05) if quick else (20_000, 30, 0.02)
    problem = make_sparse_misspecified(n, d, 2, eps, random_state=0).problem()
    others, net = best_result(partial(SupportNetSearch(2, eps=eps).fit, problem), 1)
    for search in (SupportDesignNet(2, eps=eps, screen=False), AdaptiveSupportSearch(2, eps=eps)):
        search.fit(problem)
        seconds, search = best_result(partial(search.fit, problem), 1)
        name = f"{type(search).__name__}, {n} x {d}, eps = {eps:g}"
        rows.append(Row(name, "SupportNetSearch", seconds, others))
        counts = float(search.n_queries_), float(net.n_queries_)
        rows.append(Row(f"{name}, queries", "SupportNetSearch", *counts, unit="queries"))
    return rows


_PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "designs": bench_designs,
    "screening": bench_screening,
    "searches": bench_searches,
}


if __name__ == "__main__":
    run_parts("Misspecified sparse linear bandits", __doc__, _PARTS)
