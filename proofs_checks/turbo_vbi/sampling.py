"""Claims about random chains and grids: statistics of samples, accuracy of loopy messages."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import logsumexp

from sparsetheory.bayesian.markov.chain import sample_chain, transition_table
from sparsetheory.bayesian.markov.grid import grid_belief_propagation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import BoolArray, Float64Array

_PATHS, _LENGTH = 100, 2000


@dataclass(frozen=True, eq=False)
class _Paths:
    """Independent paths of one stationary chain."""

    states: BoolArray
    activation: float
    deactivation: float


def _draw_paths(rng: np.random.Generator, mean_run: float) -> _Paths:
    p01, p10 = float(rng.uniform(0.01, 0.1)), 1.0 / mean_run
    return _Paths(sample_chain(_LENGTH, activation=p01, deactivation=p10, n_paths=_PATHS, random_state=rng), p01, p10)


def _statistics(paths: _Paths, forgetting: float | None = None) -> Measurement:
    """Measure density, runs, gaps and correlations of paths in standard errors.

    In a stationary chain the expected number of steps from off to on is ``(n - 1) density p10``, and the expected
    number of on nodes ``n density``; so nodes per run are ``1 / p10``, and nodes per gap ``1 / p01`` likewise. The
    correlation at distance k is the k-th power of the second eigenvalue, ``1 - p01 - p10``.
    """
    p01, p10, on = paths.activation, paths.deactivation, paths.states.astype(float)
    density, decay = p01 / (p01 + p10), 1 - p01 - p10 if forgetting is None else forgetting
    starts = (on[:, 1:] * (1 - on[:, :-1])).mean(axis=1)
    ends = (on[:, :-1] * (1 - on[:, 1:])).mean(axis=1)
    values = [on.mean(axis=1) - density, on.mean(axis=1) - starts / p10, 1 - on.mean(axis=1) - ends / p01]
    centred = on - density
    for k in (1, 5, 20):
        together = (centred[:, k:] * centred[:, :-k]).mean(axis=1)
        values.append(together - density * (1 - density) * decay**k)
    errors = [abs(v.mean()) / (v.std(ddof=1) / np.sqrt(v.size)) for v in values]
    return Measurement(float(max(errors)), 5.0)


chain_statistics = Claim(
    name="turbo_vbi.chain_statistics",
    summary="Sampled chains have the density, runs, gaps and correlations of the theory.",
    statement=r"P(s_i = 1) = \lambda, \ E[\text{run}] = 1/p_{10}, \ E[\text{gap}] = 1/p_{01}, "
    r"\ \mathrm{corr}(s_i, s_{i+k}) = (1 - p_{01} - p_{10})^k",
    source=Source.classic("Gallager, Stochastic processes (2013)", "two-state Markov chains"),
    verdict=WithProbability(0.999),
    evaluate=_statistics,
    near_miss=lambda paths: _statistics(paths, forgetting=1 - paths.deactivation),
    sweep=Sweep(
        axis="mean run of ones",
        values=(2.0, 5.0, 10.0, 20.0),
        draw=_draw_paths,
        trials=100,
        quick_trials=44,
        log="x",
        measured_label="largest deviation, in standard errors",
        y_label="deviation in standard errors",
        bound_label="five standard errors",
    ),
)


@dataclass(frozen=True, eq=False)
class _Grid:
    """A grid small enough to enumerate."""

    log_odds: Float64Array
    row_table: Float64Array
    col_table: Float64Array


def _draw_grid(rng: np.random.Generator, spread: float) -> _Grid:
    tables = [transition_table(*rng.uniform(0.05, 0.6, 2)) for _ in range(2)]
    return _Grid(rng.normal(0, spread, (3, 4)), *tables)


def _marginals(grid: _Grid) -> Float64Array:
    states = np.array(list(product([0, 1], repeat=grid.log_odds.size))).reshape(-1, *grid.log_odds.shape)
    rows, cols = np.log(grid.row_table), np.log(grid.col_table)
    logs = rows[states[:, :, :-1], states[:, :, 1:]].sum(axis=(1, 2))
    logs = logs + cols[states[:, :-1], states[:, 1:]].sum(axis=(1, 2)) + np.tensordot(states, grid.log_odds, 2)
    return np.tensordot(np.exp(logs - logsumexp(logs)), states, 1)


def _loopy_error(grid: _Grid, bound: float) -> Measurement:
    """Measure the largest error of a marginal against enumeration."""
    found = grid_belief_propagation(grid.log_odds, grid.row_table, grid.col_table, tol=1e-8, max_iter=1000)
    return Measurement(float(np.abs(found.probability - _marginals(grid)).max()), bound)


def _loopy_claim(name: str, bound: float, share: float, near_miss: float) -> Claim:
    return Claim(
        name=f"turbo_vbi.{name}",
        summary=f"Marginals of loopy messages are within {bound} of the truth on {share:.0%} of small grids.",
        statement=rf"P(\max_i |\tilde\pi_i^{{BP}} - \tilde\pi_i| \le {bound}) \ge {share} \text{{ on }} 3 \times 4 "
        r"\text{ grids}",
        source=Source.measured("accuracy of loopy sum-product"),
        verdict=WithProbability(share),
        evaluate=lambda grid: _loopy_error(grid, bound),
        near_miss=near_miss,
        sweep=Sweep(
            axis="standard deviation of the evidence",
            values=(1.0, 2.0, 4.0),
            draw=_draw_grid,
            trials=300,
            quick_trials=120,
            log="y",
            measured_label="largest error of a marginal",
            bound_label=str(bound),
        ),
    )


# Where evidence is weak, errors are below 0.01 in six grids of ten, and below 0.02 in seven.
loopy_error = _loopy_claim("loopy_error", 0.05, 0.8, near_miss=0.2)
loopy_tail = _loopy_claim("loopy_tail", 0.2, 0.9, near_miss=0.1)
