"""Rounds of Turbo-VBI until nothing moves, and the choice among starts."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.bayesian.markov.support_priors import SupportPrior
from sparsetheory.bayesian.turbo.elbo import InitialFactors, TurboState, turbo_elbo
from sparsetheory.bayesian.turbo.initialisation import STARTS, make_start
from sparsetheory.bayesian.turbo.model import TurboModel
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.bayesian.turbo.sweep import turbo_round
from sparsetheory.constraints import generator
from sparsetheory.typing import Float64Array

__all__ = ["TurboFit", "TurboSchedule", "fit_starts", "run_rounds", "turbo_change"]

# A bound that should not decrease may do so by this fraction of its size, which is far beyond rounding.
_DECREASE = 1e-6


@dataclass(frozen=True)
class TurboSchedule:
    """How to start and when to stop; the names are those of ``TurboVBI``."""

    init: str
    n_anneal_steps: int
    n_init: int
    learn_prior: bool
    n_inner_sweeps: int
    max_iter: int
    tol: float
    compute_elbo: bool


@dataclass(frozen=True, eq=False)
class TurboFit:
    """One run.

    Parameters
    ----------
    state : TurboState
        All factors.
    prior : SupportPrior
        The prior of the support, learned or not.
    elbo : ndarray
        Bound after each round with the final priors; the last value belongs to `state`.
    change : float
        What one more round changes, as :func:`turbo_change` measures it.
    n_iter : int
        Rounds.
    converged : bool
        Whether that is within the tolerance.
    """

    state: TurboState
    prior: SupportPrior
    elbo: Float64Array
    change: float
    n_iter: int
    converged: bool


def turbo_change(before: TurboState, after: TurboState) -> float:
    """Return how far a round moved.

    Parameters
    ----------
    before, after : TurboState

    Returns
    -------
    float
        Relative change of the mean or of a learned noise precision, or largest change of a support probability.
    """
    moved = np.linalg.norm(after.x.mean - before.x.mean)
    size = np.linalg.norm(after.x.mean)
    # Data of zeros have a mean of exactly zero, which stays.
    relative = moved / size if size > 0 else moved
    noise = abs(before.noise.mean / after.noise.mean - 1.0)
    return float(max(relative, noise, np.abs(after.support.probability - before.support.probability).max()))


def fit_starts(
    problem: TurboProblem, model: TurboModel, prior: SupportPrior, schedule: TurboSchedule, random_state: Any
) -> TurboFit:
    """Run from every start and return the run with the largest bound."""
    fits = []
    known = model.noise_precision is not None
    for kind, jitter in _starts(problem.n_coefficients, known, schedule, random_state):
        start, first_prior = make_start(
            kind,
            problem,
            model,
            prior,
            steps=schedule.n_anneal_steps,
            n_inner_sweeps=schedule.n_inner_sweeps,
            learn_prior=schedule.learn_prior,
            jitter=jitter,
        )
        fits.append(run_rounds(problem, model, first_prior, start, schedule))
    return max(fits, key=lambda fit: fit.elbo[-1])


def _starts(
    size: int, known_noise: bool, schedule: TurboSchedule, random_state: Any
) -> list[tuple[str, Float64Array | None]]:
    """List kinds of starts and factors of the first precisions: every kind once, then annealing from random ones."""
    kinds = [schedule.init, *(kind for kind in STARTS if kind != schedule.init)]
    if known_noise and schedule.init != "anneal_quiet":
        kinds.remove("anneal_quiet")
    kinds = kinds[: schedule.n_init]
    starts: list[tuple[str, Float64Array | None]] = [(kind, None) for kind in kinds]
    if schedule.n_init > len(kinds):
        rng = generator(random_state)
        starts += [("anneal", np.exp(rng.standard_normal(size))) for _ in range(schedule.n_init - len(kinds))]
    return starts


def run_rounds(
    problem: TurboProblem,
    model: TurboModel,
    prior: SupportPrior,
    start: InitialFactors | TurboState,
    schedule: TurboSchedule,
) -> TurboFit:
    """Repeat rounds; what is returned is the first state that one more round changes by at most the tolerance.

    Warns
    -----
    RuntimeWarning
        If the bound decreases although every update was exact.
    """
    inner = schedule.n_inner_sweeps
    state = turbo_round(problem, model, prior, start, inner)
    elbos = [turbo_elbo(state)]
    for n_iter in range(1, schedule.max_iter + 1):
        answering = prior.learned(state.support) if schedule.learn_prior else prior
        after = turbo_round(problem, model, answering, state, inner)
        change = turbo_change(state, after)
        if change <= schedule.tol or n_iter == schedule.max_iter:
            break
        state, prior = after, answering
        if schedule.compute_elbo:
            elbos.append(turbo_elbo(state))
    path = np.array(elbos if schedule.compute_elbo else [turbo_elbo(state)])
    if prior.bounded and inner == 1 and model.exponent == model.update_exponent:
        _require_ascent(path)
    return TurboFit(state, prior, path, change, n_iter, change <= schedule.tol)


def _require_ascent(path: Float64Array) -> None:
    drops = path[:-1] - path[1:] - _DECREASE * np.abs(path[:-1])
    if np.any(drops > 0):
        at = int(np.argmax(drops))
        warnings.warn(
            f"the evidence lower bound fell from {path[at]:.10g} to {path[at + 1]:.10g} in round {at + 2}, although "
            "every update is exact: rounding has won; scale the data, or raise the noise variance",
            RuntimeWarning,
            stacklevel=5,
        )
