"""Where Turbo-VBI starts: annealing, a sparse Bayesian learning warm-up, or the published start."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sparsetheory.bayesian.markov.support_priors import SupportBelief, SupportPrior
from sparsetheory.bayesian.turbo.elbo import InitialFactors, TurboState
from sparsetheory.bayesian.turbo.gaussian import gaussian_factor
from sparsetheory.bayesian.turbo.model import NoiseFactor, TurboModel
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.bayesian.turbo.sweep import turbo_round
from sparsetheory.typing import Float64Array

__all__ = ["STARTS", "make_start"]

STARTS = ("anneal", "anneal_quiet", "sbl", "group")
# Energy of the data over that of the noise to start from, where the noise is learned.
_LOUD, _QUIET = 10.0, 100.0
_SBL_SWEEPS = 60
# Precisions of the warm-up stop here, in units of the prior precision of a coefficient that is on.
_LARGEST = 1e8


def make_start(
    kind: str,
    problem: TurboProblem,
    model: TurboModel,
    prior: SupportPrior,
    *,
    steps: int,
    n_inner_sweeps: int,
    learn_prior: bool,
    jitter: Float64Array | None = None,
    adapt: Callable[[TurboState], TurboProblem] | None = None,
) -> tuple[InitialFactors | TurboState, SupportPrior]:
    """Return a start of one kind, and the prior as far as it is learned already.

    Parameters
    ----------
    kind : {"anneal", "anneal_quiet", "sbl", "group"}
        Annealing of the rate that coefficients which are off have, from noise at a tenth or a hundredth of the energy
        of the data if it is learned; sweeps of sparse Bayesian learning; or the start of the published code, which
        suits densities below a twentieth.
    problem, model, prior
        What is to be fitted.
    steps : int
        Steps of the annealing.
    n_inner_sweeps : int
        Sweeps between two exchanges with the prior.
    learn_prior : bool
        Whether annealing learns the prior, which otherwise would decide on what it is learned from.
    jitter : ndarray of shape (N,), optional
        Factors of the first precisions, for further starts.
    adapt : callable, optional
        ``adapt(state)`` returns the problem of the next step of the annealing, for sensing matrices that are learned.
    """
    noise = _first_noise(problem, model, _QUIET if kind == "anneal_quiet" else _LOUD)
    belief = prior.update(np.zeros(problem.n_total), None)
    first = model.on_shape / model.on_rate * (1.0 if jitter is None else jitter)
    if kind in ("anneal", "anneal_quiet"):
        start = InitialFactors(first, noise, belief)
        return _annealed(problem, model, prior, start, steps, n_inner_sweeps, learn_prior, adapt)
    if kind == "sbl":
        return _warmed_up(problem, model, prior, InitialFactors(first, noise, belief)), prior
    density = prior.density
    if model.noise_precision is None:
        noise = NoiseFactor.known(1.0)
    return InitialFactors(
        model.on_shape / (density * model.on_rate + (1.0 - density) * model.off_rate), noise, belief
    ), prior


def _first_noise(problem: TurboProblem, model: TurboModel, ratio: float) -> NoiseFactor:
    """Return the noise to start with: a fraction of the energy of the data where it is unknown."""
    return NoiseFactor.known(ratio / problem.scale if model.noise_precision is None else model.noise_precision)


def _annealed(
    problem: TurboProblem,
    model: TurboModel,
    prior: SupportPrior,
    start: InitialFactors,
    steps: int,
    n_inner_sweeps: int,
    learn_prior: bool,
    adapt: Callable[[TurboState], TurboProblem] | None,
) -> tuple[InitialFactors | TurboState, SupportPrior]:
    """Lower the rate of coefficients that are off from where both states look alike, one round per step.

    Noise that is to be learned stays put during the first quarter, in which everything is on and would explain it, and
    a prior during the first half.
    """
    alike = model.on_rate * model.off_shape / model.on_shape
    state: InitialFactors | TurboState = start
    for k in range(steps + 1):
        rate = alike * (model.off_rate / alike) ** (k / steps)
        eased = replace(model, off_rate=rate)
        after = turbo_round(problem, eased, prior, state, n_inner_sweeps, learn_noise=4 * k >= steps)
        if learn_prior and 2 * k > steps:
            prior = prior.learned(after.support)
        if adapt is not None:
            problem = adapt(after)
        state = after
    return state, prior


def _warmed_up(problem: TurboProblem, model: TurboModel, prior: SupportPrior, start: InitialFactors) -> InitialFactors:
    """Run sparse Bayesian learning, in which every coefficient has a precision of its own, and read the support off."""
    expected, noise = start.expected_precisions, start.noise
    unit = model.on_shape / model.on_rate
    for _ in range(_SBL_SWEEPS):
        x = gaussian_factor(problem, expected, noise.mean)
        second = np.sum(np.abs(x.mean) ** 2, axis=1) + problem.n_snapshots * x.var
        expected = np.minimum(problem.n_snapshots / (second + 1e-12 / unit), _LARGEST * unit)
        if model.noise_precision is None:
            noise = NoiseFactor.learned(model, x)
    log_odds = np.zeros(problem.n_total)
    log_odds[problem.live] = model.collapsed_evidence(second)
    belief: SupportBelief = prior.update(log_odds, start.support)
    return InitialFactors(model.coupled(second).expected(belief.probability[problem.live]), noise, belief)
