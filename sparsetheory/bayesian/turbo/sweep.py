"""One round of Turbo-VBI: coefficients, precisions with the support, noise."""

from dataclasses import replace

import numpy as np
from scipy.special import expit

from sparsetheory.bayesian.markov.support_priors import SupportBelief, SupportPrior
from sparsetheory.bayesian.turbo.elbo import InitialFactors, TurboState
from sparsetheory.bayesian.turbo.gaussian import gaussian_factor
from sparsetheory.bayesian.turbo.model import NoiseFactor, PrecisionFactor, TurboModel
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.typing import Float64Array

__all__ = ["turbo_round", "turbo_sweep"]


class _Fixed:
    """Messages of a prior that are not recomputed, for sweeps between two exchanges."""

    bounded = False

    def __init__(self, belief: SupportBelief) -> None:
        self._belief = belief

    def update(self, log_odds: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        return replace(self._belief, probability=expit(self._belief.extrinsic + log_odds), log_odds=log_odds)


def turbo_sweep(
    problem: TurboProblem,
    model: TurboModel,
    prior: SupportPrior | _Fixed,
    start: InitialFactors | TurboState,
    *,
    learn_noise: bool = True,
) -> TurboState:
    r"""Update all factors once, each to its optimum given the others.

    With the whole prior of the support this is coordinate ascent of the structured bound, whose factor of the support
    is a full joint distribution: the best one is the prior times the evidence, and its marginals are what sum-product
    computes. So the bound cannot decrease.

    Notes
    -----
    The coefficients cost :func:`sparsetheory.bayesian.turbo.gaussian.gaussian_factor`, all else is O(M N L).
    """
    x = gaussian_factor(problem, start.expected_precisions, start.noise.mean)
    second = np.sum(np.abs(x.mean) ** 2, axis=1) + problem.n_snapshots * x.var
    precisions, evidence = _precisions(model, second, start.support.probability[problem.live])
    log_odds = np.zeros(problem.n_total)
    log_odds[problem.live] = evidence
    support = prior.update(log_odds, start.support)
    learn = learn_noise and model.noise_precision is None
    noise = NoiseFactor.learned(model, x) if learn else start.noise
    return TurboState(model, x, second, precisions, support, noise, problem.live)


def _precisions(model: TurboModel, second: Float64Array, post: Float64Array) -> tuple[PrecisionFactor, Float64Array]:
    """Return the factor of the precisions, and the evidence about the support that goes with it."""
    if model.factorisation == "collapsed":
        return model.coupled(second), model.collapsed_evidence(second)
    factor = model.averaged(second, post)
    return factor, model.evidence(factor)


def turbo_round(
    problem: TurboProblem,
    model: TurboModel,
    prior: SupportPrior,
    start: InitialFactors | TurboState,
    n_inner_sweeps: int = 1,
    *,
    learn_noise: bool = True,
) -> TurboState:
    """Sweep `n_inner_sweeps` times with the messages of the prior held fixed, then let the prior answer the evidence.

    What goes to the prior is the evidence alone, and what comes back is extrinsic: no factor ever meets its own opinion
    again.
    """
    for _ in range(n_inner_sweeps - 1):
        start = turbo_sweep(problem, model, _Fixed(start.support), start, learn_noise=learn_noise)
    return turbo_sweep(problem, model, prior, start, learn_noise=learn_noise)
