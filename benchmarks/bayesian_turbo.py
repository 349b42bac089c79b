"""Turbo-VBI: the cost of a sweep beside the linear algebra it needs, messages, and recovery beside peers.

Run ``python benchmarks/bayesian_turbo.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE``
also writes one JSON line per row. One process, one thread, after compilation.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _timing import Row, best_of, print_table
from scipy.linalg import cholesky, get_blas_funcs
from sklearn.linear_model import ARDRegression, LassoCV, OrthogonalMatchingPursuit
from threadpoolctl import threadpool_limits

from sparsetheory.bayesian.datasets.clustered import ClusteredProblem, make_clustered
from sparsetheory.bayesian.datasets.off_grid import OffGridChannel, make_off_grid_channel
from sparsetheory.bayesian.markov.chain import chain_messages
from sparsetheory.bayesian.markov.grid import grid_belief_propagation
from sparsetheory.bayesian.markov.support_priors import ChainPrior
from sparsetheory.bayesian.off_grid.estimator import OffGridTurboVBI
from sparsetheory.bayesian.sbl.sbl import SBL
from sparsetheory.bayesian.turbo.checks import make_problem
from sparsetheory.bayesian.turbo.elbo import InitialFactors
from sparsetheory.bayesian.turbo.estimator import TurboVBI
from sparsetheory.bayesian.turbo.model import NoiseFactor
from sparsetheory.bayesian.turbo.sparse_prior import SparsePrior
from sparsetheory.bayesian.turbo.sweep import turbo_sweep
from sparsetheory.bayesian.turbo_cs.estimator import TurboCS


def bench_sweep(quick: bool) -> list[Row]:
    """One sweep against one product of sensing matrix and its transpose and one Cholesky factorisation."""
    rows = []
    for complex_data in (False, True):
        for m, n in ((100, 400),) if quick else ((500, 2000), (100, 2000)):
            data = make_clustered(m, n, activation=0.01, complex_data=complex_data, random_state=0)
            ours, least = _sweep_seconds(data), _algebra_seconds(data.F)
            kind = "complex" if complex_data else "real"
            task = f"one sweep, {kind}, N={n}, M={m}"
            rows.append(Row(task, "one GEMM and one Cholesky", ours, least, 1 / 3))
    return rows


def _sweep_seconds(data: ClusteredProblem) -> float:
    problem = make_problem(data.F, data.y, None)
    model = SparsePrior(on_rate=1.0).model(problem, 0.1, noise_variance="learn", factorisation="collapsed")
    prior = ChainPrior(0.02, 0.1, (1, problem.n_total))
    belief = prior.update(np.zeros(problem.n_total), None)
    noise = NoiseFactor.known(1 / data.noise_variance)
    state = turbo_sweep(problem, model, prior, InitialFactors(np.ones(problem.n_total), noise, belief))
    return best_of(lambda: turbo_sweep(problem, model, prior, state), 5)


def _algebra_seconds(F: Any) -> float:
    F = np.asfortranarray(F)
    # NumPy would notice that the factors are the same, and compute half of the product.
    (gemm,) = get_blas_funcs(("gemm",), (F,))

    def run() -> None:
        product = gemm(1.0, F, F, trans_b=2)
        product[np.diag_indices_from(product)] += 1.0
        cholesky(product, lower=True, overwrite_a=True, check_finite=False)

    return best_of(run, 5)


def bench_messages(quick: bool) -> list[Row]:
    """Nanoseconds per node of exact chains, and per node and iteration of grids, against 600."""
    n = 10_000 if quick else 1_000_000
    ell = np.random.default_rng(0).normal(size=n)
    chain_messages(ell[:10], activation=0.02, deactivation=0.1)
    chain = best_of(lambda: chain_messages(ell, activation=0.02, deactivation=0.1)) / n * 1e9
    grid, table = ell.reshape(100, -1), [[0.9, 0.1], [0.2, 0.8]]
    found = grid_belief_propagation(grid, table, table)
    loopy = best_of(lambda: grid_belief_propagation(grid, table, table)) / n / found.n_iter * 1e9
    return [
        Row(f"chain messages, {n} nodes", "600 ns per node", chain, 600.0, 1.0, unit="ns"),
        Row(f"grid messages, {n} nodes", "600 ns per node and iteration", loopy, 600.0, 1.0, unit="ns"),
    ]


def _decibels(x: Any, truth: Any) -> float:
    return float(10 * np.log10(np.sum(np.abs(x - truth) ** 2) / np.sum(np.abs(truth) ** 2)))


def _methods(data: ClusteredProblem, activation: float, deactivation: float) -> dict[str, Callable[[], Any]]:
    """Fits that return coefficients; what is given the truth is told so in its name."""
    real = not np.iscomplexobj(data.F)
    chain = {"activation": activation, "deactivation": deactivation}
    known = SparsePrior(**chain, on_rate=1.0)
    independent = replace(known, structure="iid")
    learned: dict[str, Any] = {"prior": SparsePrior(**chain), "noise_variance": "learn"}

    def turbo(**options: Any) -> Any:
        given = {"prior": known, "noise_variance": data.noise_variance}
        return TurboVBI(**(given | options)).fit(data.F, data.y).coef_

    methods: dict[str, Callable[[], Any]] = {
        "collapsed chain": turbo,
        "collapsed iid": lambda: turbo(prior=independent),
        "mean-field chain": lambda: turbo(factorisation="meanfield"),
        "mean-field iid": lambda: turbo(factorisation="meanfield", prior=independent),
        "collapsed chain, noise and rate learned": lambda: turbo(**learned),
        "same, two starts": lambda: turbo(**learned, n_init=2),
        "mean-field chain, published start": lambda: turbo(factorisation="meanfield", init="group"),
    }
    if real:
        k = int(data.support.sum())
        methods["ARD, scikit-learn"] = lambda: ARDRegression(fit_intercept=False).fit(data.F, data.y).coef_
        methods["OMP with the true size"] = lambda: (
            OrthogonalMatchingPursuit(n_nonzero_coefs=k, fit_intercept=False).fit(data.F, data.y).coef_
        )
        methods["LassoCV"] = lambda: LassoCV(fit_intercept=False).fit(data.F, data.y).coef_
    return methods


def recovery_table(quick: bool) -> list[dict[str, Any]]:
    """Mean normalised squared error in decibels over random problems."""
    settings = (
        ("real 80 x 200, 20 dB", 80, 200, 0.02, 0.1, 20.0, False),
        ("real 60 x 200, 20 dB", 60, 200, 0.01, 0.1, 20.0, False),
        ("complex 60 x 200, 20 dB", 60, 200, 0.02, 0.1, 20.0, True),
        ("complex 64 x 128, 10 dB", 64, 128, 0.0125, 0.2375, 10.0, True),
    )
    found: dict[str, dict[str, Any]] = {}
    for name, m, n, p01, p10, snr, complex_data in settings:
        errors: dict[str, list[float]] = {}
        for seed in range(2 if quick else 30):
            data = make_clustered(
                m, n, activation=p01, deactivation=p10, snr_db=snr, complex_data=complex_data, random_state=seed
            )
            for method, fit in _methods(data, p01, p10).items():
                errors.setdefault(method, []).append(_decibels(fit(), data.x))
        for method, values in errors.items():
            found.setdefault(method, {"method": method} | {s[0]: "" for s in settings})[name] = float(np.mean(values))
    return list(found.values())


# Two paths on 128 directions, in lone cells.
_PATHS = SparsePrior(activation=0.0125, deactivation=0.2375)
_PUBLISHED = {"factorisation": "meanfield", "step": 0.04, "anneal_grid": False}
_OUTER = (1, 2, 5, 10, 20, 50)


def _channel_paths(problem: OffGridChannel) -> dict[str, list[float]]:
    """Errors of the channel in decibels per outer iteration; a single one for a fixed grid."""
    F, y, noise = problem.F.matrix(), problem.y, problem.noise_variance

    def moving(**options: Any) -> list[float]:
        model = OffGridTurboVBI(**({"prior": _PATHS, "noise_variance": noise, "keep_iterates": True} | options)).fit(
            problem.F, y
        )
        steps = zip(model.history_["coef"][:, 0], model.history_["offsets"], strict=True)
        return [problem.nmse(x, problem.F.grid + u * problem.F.spacing) for x, u in steps]

    gains = np.linalg.lstsq(problem.F.block(problem.directions, problem.cells), y, rcond=None)[0]
    oracle = problem.array.block(problem.directions, problem.cells) @ gains - problem.channel
    errors = {
        "chain, grid moves while annealing": moving(),
        "chain, grid moves after annealing": moving(anneal_grid=False),
        "mean-field chain, grid moves while annealing": moving(factorisation="meanfield"),
        "chain, published updates and steps": moving(**_PUBLISHED),
        "iid (off-grid SBI), grid moves while annealing": moving(prior=replace(_PATHS, structure="iid")),
        "iid (off-grid SBI), published updates and steps": moving(prior=replace(_PATHS, structure="iid"), **_PUBLISHED),
        "fixed grid, TurboVBI": [problem.nmse(TurboVBI(prior=_PATHS, noise_variance=noise).fit(F, y).coef_)],
        "fixed grid, SBL": [problem.nmse(SBL(noise_variance=noise).fit(F, y).coef_)],
        "fixed grid, TurboCS": [problem.nmse(TurboCS(density=0.05, noise_variance=noise).fit(F, y).coef_)],
        "least squares, directions known": [float(np.sum(np.abs(oracle) ** 2) / np.sum(np.abs(problem.channel) ** 2))],
    }
    return {method: [float(10 * np.log10(value)) for value in values] for method, values in errors.items()}


def channel_table(quick: bool) -> list[dict[str, Any]]:
    """Mean errors of channels at 10 dB against outer iterations; runs that stopped keep their last value."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(2 if quick else 50):
        for method, path in _channel_paths(make_off_grid_channel(snr_db=10, random_state=seed)).items():
            found.setdefault(method, []).append([path[min(k, len(path)) - 1] for k in _OUTER])
    means = {method: np.mean(paths, axis=0) for method, paths in found.items()}
    return [
        {"method": method} | {f"after {k}": float(value) for k, value in zip(_OUTER, mean, strict=True)}
        for method, mean in means.items()
    ]


_TABLES: dict[str, tuple[str, Callable[[bool], list[dict[str, Any]]]]] = {
    "recovery": ("Turbo-VBI: NMSE in dB", recovery_table),
    "channel": ("Turbo-VBI: NMSE in dB of a channel between grid points, by outer iterations", channel_table),
}
_PARTS: dict[str, Callable[[bool], list[Row]]] = {"sweep": bench_sweep, "messages": bench_messages}


def main() -> None:
    """Run the parts asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", choices=[*_PARTS, *_TABLES], help="one part")
    parser.add_argument("--json", type=Path, help="also write one JSON line per row")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tables: dict[str, list[dict[str, Any]]] = {}
    with threadpool_limits(1):
        for name in [options.only] if options.only else [*_PARTS, *_TABLES]:
            if name in _TABLES:
                title, table = _TABLES[name]
                tables[title] = table(options.quick)
            else:
                rows = [row.cells() for row in _PARTS[name](options.quick)]
                tables.setdefault("Turbo-VBI: cost", []).extend(rows)
    for title, rows in tables.items():
        print_table(title, rows)
    if options.json:
        lines = [json.dumps({"table": title} | row) for title, rows in tables.items() for row in rows]
        options.json.write_text("".join(line + "\n" for line in lines))


if __name__ == "__main__":
    main()
