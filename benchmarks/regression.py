"""The regression line beside its peers: one process, one thread, after compilation.

Run ``python benchmarks/regression.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE`` also
writes one JSON line per row. Peers that are not installed (celer, skglm, python-glmnet, abess, spams-bin: only this
benchmark uses them) are left out and named.
"""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _timing import Row, best_of, best_of_each, run_parts
from scipy import sparse

from sparsetheory.penalties import MCP, SCAD, Penalty
from sparsetheory.regression import (
    OMP,
    RandomSupportRegressor,
    SplicingRegressor,
    WorkingSetLasso,
    adversarial_coefficients,
    benchmark_recovery,
    lasso_path,
    make_design,
    omp_gram,
    sample_support,
    theory,
)

# The worst relative gap along the path, for every solver alike.
_GAP = 1e-5


def correlated_design(n: int, d: int, rng: np.random.Generator, decay: float = 0.6) -> tuple[Any, Any]:
    """Rows of an autoregression, 100 true coefficients, signal three times the noise."""
    X = np.empty((n, d), order="F")
    X[:, 0] = rng.standard_normal(n)
    for j in range(1, d):
        X[:, j] = decay * X[:, j - 1] + np.sqrt(1 - decay**2) * rng.standard_normal(n)
    return X, _response(X, rng, np.arange(d))


def heavy_tailed_design(n: int, d: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Sparse columns whose numbers of non-zeros follow a power law, like words in documents."""
    counts = np.minimum(n // 4, 5 * rng.pareto(1.1, d) + 2).astype(int)
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows = np.concatenate([np.sort(rng.choice(n, count, replace=False)) for count in counts])
    values = np.abs(rng.standard_normal(starts[-1])) + 0.1
    X = sparse.csc_matrix((values, rows.astype(np.int32), starts.astype(np.int32)), shape=(n, d))
    y = _response(X, rng, np.argsort(-counts)[: d // 20])
    return X, y - y.mean()


def _response(X: Any, rng: np.random.Generator, candidates: Any) -> Any:
    w = np.zeros(X.shape[1])
    w[rng.choice(candidates, 100, replace=False)] = rng.standard_normal(100)
    signal = X @ w
    return signal + rng.standard_normal(X.shape[0]) * np.std(signal) / 3


def worst_gap(X: Any, y: Any, alphas: Any, coefs: Any) -> float:
    """Largest duality gap over the objective, by one and the same code for all solvers."""
    worst, n = 0.0, y.size
    for alpha, w in zip(alphas, coefs.T, strict=True):
        residual = y - X @ w
        largest = np.abs(X.T @ residual).max() / n
        primal = residual @ residual / (2 * n) + alpha * np.abs(w).sum()
        point = residual * min(alpha / largest, (y @ residual) / (residual @ residual))
        worst = max(worst, 1 - (y @ y - (y - point) @ (y - point)) / (2 * n) / primal)
    return float(worst)


def worst_violation(X: Any, y: Any, alphas: Any, coefs: Any, penalty: Penalty) -> float:
    """Largest distance from zero to the subdifferential, over the largest correlation at zero."""
    from sparsetheory.numba_kernels.penalties.proximal import subgradient_distance

    worst, n = 0.0, y.size
    for alpha, w in zip(alphas, coefs.T, strict=True):
        gradient = X.T @ (X @ w - y) / n
        at = [
            subgradient_distance(penalty.kind, v, g, float(alpha), float(penalty.shape))
            for v, g in zip(w.astype(float), gradient, strict=True)
        ]
        worst = max(worst, *at)
    return worst / float(np.abs(X.T @ y).max() / n)


def tightened(fit: Callable[[float], Any], error: Callable[[Any], float], tols: Sequence[float]) -> tuple[float, float]:
    """Seconds and error of a solver at the loosest of its tolerances that is accurate enough, or at the tightest."""
    reached = np.inf
    for tol in tols:
        started = time.perf_counter()
        coefs = fit(tol)
        seconds = time.perf_counter() - started
        reached = error(coefs)
        if reached <= _GAP:
            return min(seconds, best_of(lambda tol=tol: fit(tol), 2)), reached
    return seconds, reached


def lasso_peers(X: Any, y: Any, alphas: Any) -> dict[str, tuple[Callable[[float], Any], Sequence[float]]]:
    """Path functions of one tolerance, and the tolerances to try."""
    peers: dict[str, tuple[Callable[[float], Any], Sequence[float]]] = {}
    if celer := _optional("celer"):
        peers["celer"] = (
            lambda tol: celer.celer_path(X, y, "lasso", alphas=alphas, tol=tol)[1],
            (1e-6, 1e-8, 1e-9, 1e-10),
        )
    if glmnet := _optional("glmnet"):

        def fit_glmnet(tol: float) -> Any:
            model = glmnet.ElasticNet(
                alpha=1, lambda_path=alphas, tol=tol, standardize=False, fit_intercept=False, n_splits=0, max_iter=10**7
            ).fit(X, y)
            return model.coef_path_.reshape(X.shape[1], -1)

        peers["glmnet"] = (fit_glmnet, (1e-12, 1e-13, 1e-14, 1e-15, 1e-16))
    if _optional("skglm"):
        from skglm.penalties import L1

        peers["skglm"] = (_skglm_path(X, y, alphas, L1(1.0)), (1e-5, 1e-6, 1e-7, 1e-8))
    sklearn = importlib.import_module("sklearn.linear_model")
    peers["scikit-learn"] = (
        lambda tol: sklearn.lasso_path(X, y, alphas=alphas, tol=tol, max_iter=10**6)[1],
        (1e-6, 1e-7, 1e-8),
    )
    return peers


def _skglm_path(X: Any, y: Any, alphas: Any, penalty: Any) -> Callable[[float], Any]:
    from skglm.datafits import Quadratic
    from skglm.solvers import AndersonCD
    from skglm.utils.jit_compilation import compiled_clone

    datafit, compiled = compiled_clone(Quadratic()), compiled_clone(penalty)
    if sparse.issparse(X):
        datafit.initialize_sparse(X.data, X.indptr, X.indices, y)
    else:
        datafit.initialize(X, y)
    scale = alphas[0]

    def fit(tol: float) -> Any:
        solver = AndersonCD(tol=tol * scale, fit_intercept=False, max_iter=1000, max_epochs=100_000)
        return solver.path(X, y, datafit, compiled, alphas=alphas)[1]

    fit(1.0)
    return fit


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: left out", file=sys.stderr)
        return None


def bench_lasso(quick: bool) -> list[Row]:
    """Paths of 30 levels down to 1e-2 of the largest, all tightened to one gap."""
    rng = np.random.default_rng(0)
    sizes = ((120, 400), (600, 3000)) if quick else ((1000, 10_000), (10_000, 100_000))
    problems = {
        "dense {}x{}": (sizes[0], correlated_design(*sizes[0], rng)),
        "sparse {}x{}": (sizes[1], heavy_tailed_design(*sizes[1], rng)),
    }
    rows = []
    for name, (size, (X, y)) in problems.items():
        alphas = np.abs(X.T @ y).max() / y.size * np.geomspace(1, 1e-2, 30)
        lasso_path(X, y, alphas=alphas)
        ours, gap = tightened(
            lambda tol, X=X, y=y, alphas=alphas: lasso_path(X, y, alphas=alphas, tol=tol).coefs,
            lambda coefs, X=X, y=y, alphas=alphas: worst_gap(X, y, alphas, coefs),
            (1e-5, 1e-6, 1e-7),
        )
        task = f"Lasso path, {name.format(*size)} (gap {gap:.0e})"
        for peer, (fit, tols) in lasso_peers(X, y, alphas).items():
            theirs, reached = tightened(
                fit, lambda coefs, X=X, y=y, alphas=alphas: worst_gap(X, y, alphas[: coefs.shape[1]], coefs), tols
            )
            target = 2.0 if peer == "scikit-learn" else 1.0
            rows.append(Row(task, f"{peer} (gap {reached:.0e})", ours, theirs, target))
    return rows


def bench_nonconvex(quick: bool) -> list[Row]:
    """MCP and SCAD paths of 30 levels down to a tenth of the largest."""
    if not _optional("skglm"):
        return []
    from skglm import penalties

    n, d = (300, 3000) if quick else (1000, 10_000)
    X, y = correlated_design(n, d, np.random.default_rng(0))
    alphas = np.abs(X.T @ y).max() / n * np.geomspace(1, 0.1, 30)
    rows = []
    for ours, theirs in ((MCP(1.0, gamma=3.0), penalties.MCPenalty(1.0, 3.0)), (SCAD(1.0), penalties.SCAD(1.0, 3.7))):

        def error(coefs: Any, penalty: Penalty = ours) -> float:
            return worst_violation(X, y, alphas, coefs, penalty)

        def fit(tol: float, penalty: Penalty = ours) -> Any:
            return lasso_path(X, y, alphas=alphas, penalty=penalty, tol=tol).coefs

        fit(1e-3)
        mine, a = tightened(fit, error, (1e-5, 1e-6))
        other, b = tightened(_skglm_path(X, y, alphas, theirs), error, (1e-5, 1e-6, 1e-7))
        name = type(ours).__name__
        rows.append(
            Row(f"{name} path, dense {n}x{d} (violation {a:.0e})", f"skglm (violation {b:.0e})", mine, other, 1.0)
        )
    return rows


_FIRST_FIT = """
import time, numpy as np
rng = np.random.default_rng(0)
X, y = np.asfortranarray(rng.standard_normal((100, 200))), rng.standard_normal(100)
import sklearn.linear_model
started = time.perf_counter()
{code}
print(time.perf_counter() - started)
"""


def bench_cold_start(quick: bool) -> list[Row]:
    """Import and first fit in a new process, machine code on disk, beyond scikit-learn's import."""
    repeats = 1 if quick else 3
    ours = _first_fit(
        "from sparsetheory.regression import WorkingSetLasso\nWorkingSetLasso(alpha=0.1).fit(X, y)", repeats
    )
    rows = [Row("import + first fit, new process", "one second", ours, 1.0, 1.0)]
    if _optional("skglm"):
        rows.append(
            Row(
                "import + first fit, new process",
                "skglm",
                ours,
                _first_fit("import skglm\nskglm.Lasso(0.1).fit(X, y)", repeats),
                5.0,
            )
        )
    return rows


def _first_fit(code: str, repeats: int) -> float:
    program = [sys.executable, "-c", _FIRST_FIT.format(code=code)]
    runs = [
        subprocess.run(program, capture_output=True, text=True, check=True, env=os.environ) for _ in range(1 + repeats)
    ]
    return min(float(run.stdout) for run in runs[1:])


def bench_random_supports(quick: bool) -> list[Row]:
    """Compare the whole fit with the product of anchors and design plus one pass per greedy step."""
    n, d, k = (300, 4000, 5) if quick else (800, 40_000, 10)
    X = make_design("clusters", n, d, random_state=0)
    S = sample_support(X, n_nonzero=k, random_state=1)
    y = X[:, S] @ adversarial_coefficients(X, S) + 0.1 * np.random.default_rng(5).standard_normal(n)
    model = RandomSupportRegressor(k, noise_std=0.1, fit_intercept=False, random_state=0)
    ours = best_of(lambda: model.fit(X, y), 4)
    product = best_of(lambda: model.anchors_.Q.T @ X)
    passes = model.path_.indices.size + 1
    least = product + passes * best_of(lambda: X.T @ y)
    task = f"anchors + forward-backward, {n}x{d}, k={k}, {model.anchors_.indices.size} anchors"
    return [Row(task, f"one product and {passes} passes alone", ours, least, 1 / 3)]


_MAPPED_FIT = """
import resource, sys, time
import numpy as np
from sparsetheory.regression import RandomSupportRegressor
n, d, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
X = np.memmap(path, dtype=np.float32, mode="r", shape=(n, d), order="F")
y = np.load(path + ".npy")
started = time.perf_counter()
RandomSupportRegressor(10, noise_std=0.1, random_state=0).fit(X, y)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


def bench_memory(quick: bool) -> list[Row]:
    """Resident memory of a fit from a float32 memory map, in a process of its own; mapped pages count."""
    n, d = (500, 4000) if quick else (10_000, 100_000)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "design.f32")
        X = np.memmap(path, dtype=np.float32, mode="w+", shape=(n, d), order="F")
        heads = rng.standard_normal((n, 15), dtype=np.float32)
        for start in range(0, d, 1000):
            tau = (10 ** rng.uniform(-3, -1, 1000)).astype(np.float32)
            columns = heads[:, rng.integers(15, size=1000)] + tau * rng.standard_normal((n, 1000), dtype=np.float32)
            X[:, start : start + 1000] = columns / np.sqrt(np.mean(columns**2, axis=0))
        S = rng.choice(d, 10, replace=False)
        signal = X[:, S].astype(np.float64) @ adversarial_coefficients(X[:, S].astype(np.float64), np.arange(10))
        np.save(path + ".npy", signal + 0.1 * rng.standard_normal(n))
        del X
        program = [sys.executable, "-c", _MAPPED_FIT, str(n), str(d), path]
        run = subprocess.run(program, capture_output=True, text=True, check=True, env=os.environ)
    seconds, resident = (float(word) for word in run.stdout.split())
    task = f"fit from a float32 memory map, {n}x{d} ({seconds:.1f} s)"
    return [Row(task, "6 GB resident", resident, 6.0, 1.0, unit="GB")]


def bench_matching_pursuit(quick: bool) -> list[Row]:
    """One target against memory bandwidth and scikit-learn; many targets against SPAMS and scikit-learn."""
    rng = np.random.default_rng(0)
    n, d, k = (300, 2000, 10) if quick else (2000, 20_000, 20)
    X = np.asfortranarray(rng.standard_normal((n, d)))
    X /= np.linalg.norm(X, axis=0)
    y = X[:, :k] @ rng.standard_normal(k) + 0.1 * rng.standard_normal(n)
    model = OMP(k, fit_intercept=False).fit(X, y)
    sklearn = importlib.import_module("sklearn.linear_model")
    ours, theirs, one_pass = best_of_each(
        lambda: model.fit(X, y),
        lambda: sklearn.orthogonal_mp(X, y, n_nonzero_coefs=k),
        lambda: X.T @ y,
        repeats=5,
    )
    task = f"OMP, one target, {n}x{d}, {k} steps"
    rows = [
        Row(task, "scikit-learn", ours, theirs, 1.0),
        Row(task, f"{k} passes over the design alone", ours, k * one_pass),
    ]
    return rows + _bench_many_targets(quick, rng)


def _bench_many_targets(quick: bool, rng: np.random.Generator) -> list[Row]:
    targets, k = (400, 10) if quick else (20_000, 10)
    D = rng.standard_normal((144, 576))
    D = np.asfortranarray(D / np.linalg.norm(D, axis=0))
    Y = np.asfortranarray(D @ sparse.random_array((576, targets), density=0.02, rng=rng) + 0.05)
    gram = D.T @ D
    task = f"OMP, {targets} targets, 144x576, {k} steps"

    def ours() -> Any:
        return omp_gram(gram, (D.T @ Y).T, n_nonzero=k)

    ours()
    rows = []
    if spams := _optional("spams"):
        mine, theirs = best_of_each(ours, lambda: spams.omp(Y, D, L=k, numThreads=1))
        rows.append(Row(task, "SPAMS", mine, theirs, 1.0))
    mine = best_of(ours, 3)
    sklearn = importlib.import_module("sklearn.linear_model")
    few = targets // 20
    theirs = best_of(lambda: sklearn.orthogonal_mp_gram(gram, D.T @ Y[:, :few], n_nonzero_coefs=k), 1) * 20
    rows.append(Row(task, f"scikit-learn ({few} targets, scaled)", mine, theirs, 20.0))
    return rows


def bench_splicing(quick: bool) -> list[Row]:
    """Best subsets of 1 to 20 features of a Gaussian design."""
    if not (abess := _optional("abess")):
        return []
    rng, rows = np.random.default_rng(0), []
    for n, d in ((300, 2000),) if quick else ((1000, 5000), (500, 20_000)):
        X = np.asfortranarray(rng.standard_normal((n, d)))
        y = X[:, :10] @ rng.uniform(1, 2, 10) + rng.standard_normal(n)
        model = SplicingRegressor(max_n_nonzero=20).fit(X, y)
        peer = abess.LinearRegression(support_size=range(1, 21), thread=1)
        theirs = best_of(lambda peer=peer, X=X, y=y: peer.fit(X, y), 3)
        same = set(model.support_) == set(np.flatnonzero(peer.coef_))
        ours = best_of(lambda model=model, X=X, y=y: model.fit(X, y), 3)
        rows.append(
            Row(f"splicing, {n}x{d}, 20 sizes", f"abess ({'same' if same else 'other'} support)", ours, theirs, 1.0)
        )
    return rows


# Median errors over the variance of the noise of a first prototype: 300 rows, 1000 columns, 6 coefficients chosen by
# "min", noise of standard deviation 0.1.
_EXPECTED = {
    "gaussian": 0.024,
    "clusters15": 0.021,
    "clusters40": 0.084,
    "tree": 0.030,
    "lowrank4": 0.018,
    "multiscale": 0.14,
    "analytic": 0.072,
}
# Designs on which everything without anchors must be this many times worse.
_SEPARATED = {"clusters15": 20.0, "tree": 20.0}


def bench_table(quick: bool) -> list[Row]:
    """Median errors of anchors with forward-backward selection beside a prototype and the best method without."""
    n, d, k, noise_std = 300, 1000, 6, 0.1
    peers: dict[str, Any] = {
        "Lasso": WorkingSetLasso(theory.universal_alpha(noise_std, n, d, 0.1), fit_intercept=False),
        "OMP": OMP(k, fit_intercept=False),
        "splicing": SplicingRegressor(k, fit_intercept=False),
    }
    if abess := _optional("abess"):
        peers["abess"] = abess.LinearRegression(support_size=k, thread=1, fit_intercept=False)
    anchored = RandomSupportRegressor(k, noise_std=noise_std, fit_intercept=False, random_state=0)
    records = benchmark_recovery(
        {"ours": anchored, **peers},
        list(_EXPECTED),
        modes=("min",),
        n_repetitions=1 if quick else 25,
        n_samples=n,
        n_features=d,
        n_nonzero=k,
        noise_std=noise_std,
    )
    rows = []
    for design, expected in _EXPECTED.items():
        median = {
            name: float(np.median([r.error for r in records if (r.design, r.method) == (design, name)]))
            for name in ("ours", *peers)
        }
        best = min(peers, key=median.__getitem__)
        task = f"error, {design} min, {n}x{d}, k={k}"
        rows.append(Row(task, "a prototype", median["ours"], expected, 0.5, unit="sigma^2"))
        rows.append(Row(task, f"best without: {best}", median["ours"], median[best], _SEPARATED.get(design), "sigma^2"))
    return rows


_PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "table": bench_table,
    "random_supports": bench_random_supports,
    "lasso": bench_lasso,
    "nonconvex": bench_nonconvex,
    "cold_start": bench_cold_start,
    "matching_pursuit": bench_matching_pursuit,
    "splicing": bench_splicing,
    "memory": bench_memory,
}


if __name__ == "__main__":
    run_parts("Sparse regression", __doc__, _PARTS)
