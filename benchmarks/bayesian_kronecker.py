"""Kronecker sparse Bayesian learning against dense expectation steps, scikit-learn, and the published settings."""

import argparse
import json
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from _timing import Row, best_of, best_result, print_table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ARDRegression, OrthogonalMatchingPursuit
from threadpoolctl import threadpool_limits

from sparsetheory.bayesian import (
    SBL,
    KroneckerOMP,
    KroneckerSBL,
    PatternCoupledSBL,
    irs_nmse,
    kron_omp_batch,
    kron_posterior,
    make_irs_mimo,
    make_kron_sparse,
    oracle_ls,
    support_recovery_rate,
)

Cells = dict[str, Any]


def _cpu(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of one call, and its result: other processes do not count."""
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


def _kron(factors: Any) -> Any:
    return reduce(np.kron, factors)


def dense_step(A: Any, y: Any, G: Any, noise: float) -> tuple[Any, Any]:
    """Form the full covariance from a Kronecker factor of N x M numbers: O(N^2 M) time, O(N^2) memory."""
    C = noise * np.eye(y.size) + (A * G) @ A.conj().T
    factor = (G[:, None] * A.conj().T) @ np.linalg.inv(np.linalg.cholesky(C)).conj().T
    cov = np.diag(G) - factor @ factor.conj().T
    return cov @ (A.conj().T @ y) / noise, np.diagonal(cov).real


def expectation_steps(quick: bool) -> list[Row]:
    """Time one expectation step against the dense one on the same data."""
    sizes: list[tuple[tuple[int, ...], tuple[int, ...], int | None]] = [((4, 6, 7), (8, 8, 8), None)]
    if not quick:
        # The last is the size that must be at least 500 times faster.
        sizes += [((6, 8, 12), (12, 12, 12), None), ((8, 12, 15), (15, 15, 15), 500)]
    rows = []
    for Ms, Ns, target in sizes:
        p = make_kron_sparse(Ms, Ns, (2, 2, 2), snr_db=20, random_state=0)
        gammas = [np.random.default_rng(0).uniform(0.1, 2.0, n) for n in Ns]
        A, G = _kron(p.dictionaries), _kron(gammas)
        step = partial(kron_posterior, p.dictionaries, p.y, gammas, noise_variance=p.noise_variance)
        ours, found = best_result(step, 20)
        peer, (mean, _) = best_result(partial(dense_step, A, p.y, G, p.noise_variance), 2)
        assert np.allclose(found.mean.reshape(-1), mean, atol=1e-6)
        task = f"expectation step, N = {G.size}, M = {p.y.size}"
        rows.append(Row(task, "full covariance", 1e3 * ours, 1e3 * peer, target, "ms"))
    return rows


def whole_fits(quick: bool) -> list[Row]:
    """Compare whole fits with those of scikit-learn, real and dense, on the Kronecker matrix."""
    Ms, Ns = ((4, 5, 5), (6, 6, 6)) if quick else ((6, 8, 8), (10, 10, 10))
    p = make_kron_sparse(Ms, Ns, (2, 2, 2), snr_db=20, random_state=0)
    A = _kron(p.dictionaries)
    size = f"N = {A.shape[1]}, M = {A.shape[0]}"
    ard = best_of(lambda: ARDRegression(fit_intercept=False, max_iter=150).fit(A, p.y), 1)
    omp = best_of(lambda: OrthogonalMatchingPursuit(n_nonzero_coefs=20, fit_intercept=False).fit(A, p.y), 3)
    pursuit = best_of(lambda: kron_omp_batch(p.dictionaries, p.y, n_nonzero=20))
    return [
        Row(
            f"KroneckerSBL, {size}",
            "sklearn ARDRegression",
            best_of(lambda: KroneckerSBL().fit(p.dictionaries, p.y)),
            ard,
        ),
        Row(f"SBL, {size}", "sklearn ARDRegression", best_of(lambda: SBL().fit(p.dictionaries, p.y), 1), ard),
        Row(f"20 steps of pursuit, {size}", "sklearn OMP", pursuit, omp),
    ]


def channel(quick: bool) -> list[Cells]:
    """Errors and CPU time on channels of the published size (N = 5832, M = 288), mean over trials."""
    trials, ratios = (2, (12,)) if quick else (16, (4, 12, 20))
    settings = {"n_surface_elements": 32, "n_base_antennas": 6, "n_angles": 8} if quick else {}
    shared = make_irs_mimo(**settings, random_state=0)
    rows: dict[str, Cells] = {}
    for snr in ratios:
        for seed in range(trials):
            p = make_irs_mimo(
                **settings, snr_db=snr, random_state=seed + 1, pilots=shared.pilots, patterns=shared.patterns
            )
            for name, model in _methods(p).items():
                seconds, fitted = _cpu(partial(model.fit, p.dictionaries, p.y))
                cells = rows.setdefault(name, {"method": name})
                key = f"NMSE at {snr} dB"
                cells[key] = cells.get(key, 0.0) + irs_nmse(p, fitted.coef_) / trials
                cells["slowest, CPU s"] = max(cells.get("slowest, CPU s", 0.0), seconds)
    return [{**{k: v for k, v in c.items() if k != "slowest, CPU s"}, "slowest, CPU s": c["slowest, CPU s"]}
            for c in rows.values()]  # fmt: skip


def _methods(p: Any) -> dict[str, Any]:
    noise, ones = p.noise_variance, [np.ones(A.shape[1]) for A in p.dictionaries]
    published: Cells = {
        "noise_variance": noise,
        "max_iter": 150,
        "absolute_threshold": 1e-4,
        "pruning": "published",
        "init": ones,
    }
    coupled: Cells = {"relative_threshold": (1e-2, 1e-1, 1e-2), "coupling_update": "nnls", "max_inner_iter": 9}
    return {
        "MM, known noise (ours)": KroneckerSBL(noise_variance=noise),
        "MM, learned noise (ours)": KroneckerSBL(),
        "PC-MM 0.8 (ours)": KroneckerSBL(noise_variance=noise, coupling=(0.8, None, 0.8)),
        "PC 0.8, published": KroneckerSBL("am", coupling=(0.8, None, 0.8), **coupled, **published),
        "AM, published": KroneckerSBL("am", relative_threshold=(1e-2, 1e-1, 1e-3), **published),
        "SVD, published": KroneckerSBL("svd", relative_threshold=0.0, **published),
        "SBL": SBL(noise_variance=noise, relative_threshold=1e-4),
        "pattern-coupled SBL": PatternCoupledSBL(noise_variance=noise),
        "Kronecker OMP, noise known": KroneckerOMP(noise_variance=noise, normalize=True),
    }


def real_sweep(quick: bool) -> list[Cells]:
    """Errors, supports and iterations on real data, N = 3375, M = 1440, support 3 x 3 x 3."""
    trials, ratios = (1, (20,)) if quick else (8, (10, 20, 30))
    cells = []
    for snr in ratios:
        problems = [
            make_kron_sparse((8, 12, 15), (15, 15, 15), (3, 3, 3), snr_db=snr, random_state=seed)
            for seed in range(trials)
        ]
        methods: dict[str, Callable[[Any], Any]] = {
            "MM": lambda p: KroneckerSBL(noise_variance=p.noise_variance),
            "AM": lambda p: KroneckerSBL(
                "am",
                noise_variance=p.noise_variance,
                relative_threshold=1e-2,
                max_iter=150,
                inner_tol=1e-5,
                inner_relative=False,
            ),
            "SVD": lambda p: KroneckerSBL(
                "svd", noise_variance=p.noise_variance, relative_threshold=1e-3, max_iter=150
            ),
        }
        for name, method in methods.items():
            fits = [method(p).fit(p.dictionaries, p.y) for p in problems]
            cells.append(_real_cells(name, snr, problems, [m.coef_ for m in fits], [m.n_iter_ for m in fits]))
        oracle = [oracle_ls(p.dictionaries, p.y, p.supports) for p in problems]
        cells.append(_real_cells("oracle", snr, problems, oracle, [0]))
    return cells


def _real_cells(name: str, snr: int, problems: list[Any], estimates: list[Any], iterations: list[int]) -> Cells:
    pairs = list(zip(estimates, problems, strict=True))
    return {
        "SNR, dB": snr,
        "method": name,
        "NMSE": float(np.mean([np.sum((x - p.x) ** 2) / np.sum(p.x**2) for x, p in pairs])),
        "support recovery": float(np.mean([support_recovery_rate(x, p.x) for x, p in pairs])),
        "iterations": float(np.mean(iterations)),
    }


def _memory(Ms: tuple[int, ...], Ns: tuple[int, ...]) -> Cells:
    """Fit twice, once for the time and once for the peak of what is allocated beyond the data."""
    p = make_kron_sparse(Ms, Ns, (3, 3, 3), snr_db=20, random_state=0)
    seconds, model = _cpu(lambda: KroneckerSBL().fit(p.dictionaries, p.y))
    tracemalloc.start()
    KroneckerSBL().fit(p.dictionaries, p.y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "N": int(np.prod(Ns)),
        "M": int(np.prod(Ms)),
        "iterations": model.n_iter_,
        "CPU s": seconds,
        "peak beyond the data, MB": peak / 1e6,
        "NMSE": float(np.sum((model.coef_ - p.x) ** 2) / np.sum(p.x**2)),
    }


def large_problems(quick: bool) -> list[Cells]:
    """Fit problems whose Kronecker matrix has up to 10^10 entries."""
    sizes = [((6, 8, 8), (10, 10, 10))] if quick else [((16, 20, 24), (30, 30, 30)), ((30, 40, 40), (60, 60, 60))]
    return [_memory(Ms, Ns) for Ms, Ns in sizes]


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write one JSON line per row")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    with threadpool_limits(1):
        rows = [*expectation_steps(options.quick), *whole_fits(options.quick)]
        if options.quick:
            # Targets are for the full sizes.
            rows = [replace(row, target=None) for row in rows]
        tables = {
            "Kronecker sparse Bayesian learning against its peers, one thread": [row.cells() for row in rows],
            "Channels through a reflecting surface": channel(options.quick),
            "Real data, support 3 x 3 x 3": real_sweep(options.quick),
            "Large problems": large_problems(options.quick),
        }
    for title, cells in tables.items():
        print_table(title, cells)
    if options.json:
        lines = [json.dumps({"table": title, **row}) for title, cells in tables.items() for row in cells]
        options.json.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
