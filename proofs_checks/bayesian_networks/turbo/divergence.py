"""Claims about the divergence of weights, precisions and states from the prior, and its frozen majoriser."""

from dataclasses import replace
from typing import Any

import numpy as np

from sparsetheory.proofs_checks.bayesian_networks.turbo.instances import (
    SmallLayer,
    divergence_by_enumeration,
    law_of_states,
    ours,
    small_layers,
)
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Sums of some dozens of terms, each of at most some hundreds.
_ROUNDING = 1e-10


def _second(layer: SmallLayer, move: int = 0) -> Float64Array:
    means, stds = layer.weights(move)
    return np.asarray((means**2 + stds**2).sum(axis=-1))


def _logs(layer: SmallLayer, move: int = 0) -> Float64Array:
    return np.asarray(np.log(layer.weights(move)[1]).sum(axis=-1))


def _kl(layer: SmallLayer, move: int = 0, prior: Any = None) -> float:
    """Return the divergence after an update."""
    prior = layer.prior() if prior is None else prior
    prior.update(_second(layer, move), layer.off_rate)
    return float(prior.kl(_second(layer, move), _logs(layer, move)))


def _size(layer: SmallLayer) -> float:
    """Return the size of the terms of the divergence."""
    n = layer.shape[0] * layer.shape[1]
    deep = layer.on_shape + layer.off_shape + layer.shape[2]
    return n * deep * (20 + abs(np.log(layer.ratio)) + abs(np.log(layer.on_rate)))


def _equal(left: float, right: float, scale: float) -> Measurement:
    return Measurement(abs(left - right), 0.0, scale)


def _enumerated(layer: SmallLayer) -> Measurement:
    """Compare the divergence in closed form with the enumeration of all states; neither is negative."""
    exact = divergence_by_enumeration(layer)
    below = {"minus divergence": -exact, "zero": 0.0}
    return _equal(_kl(layer), exact, _size(layer)).and_chain(below)


def _with_published_exponent(layer: SmallLayer) -> Measurement:
    """Use the exponent 1 of complex numbers, as the published code does for real weights."""
    return _equal(_kl(layer), divergence_by_enumeration(layer, exponent=1.0), _size(layer))


structured_divergence = Claim(
    name="bayesian_networks.structured_divergence",
    summary="The divergence from a structured prior is closed: messages along chains give what all states together do.",
    statement=r"-\sum_i (\tfrac12 + \ln\sigma_i) - \sum_i g_0(e_i) - \ln Z(\ell) = \min_{q(s) \prod q(\rho_i | s_i)} "
    r"\mathrm{KL}(q(w) q(\rho, s) \| p(w, \rho, s)) \ge 0",
    source=ours("collapsed divergence"),
    verdict=Always(_ROUNDING),
    instances=small_layers,
    evaluate=_enumerated,
    near_miss=_with_published_exponent,
)


def _gradients(layer: SmallLayer, precisions: Float64Array) -> Measurement:
    """Differentiate the enumerated divergence by torch, and compare with what frozen precisions give."""
    import torch

    means, stds = (torch.tensor(part, requires_grad=True) for part in layer.weights())
    energy = (means.square() + stds.square()).sum(-1).flatten()
    n_shared, costs = layer.shape[2], []
    for a, b in layer.laws:
        shape, rate = torch.tensor(a + n_shared / 2, dtype=torch.float64), b + energy / 2
        # The law of the precisions integrated out: a ratio of Gamma functions.
        costs.append(
            shape * rate.log()
            - a * np.log(b)
            + torch.lgamma(torch.tensor(a, dtype=torch.float64))
            - torch.lgamma(shape)
        )
    states = torch.tensor(layer.states)
    total = torch.tensor(law_of_states(layer)) - states @ costs[1] - (1 - states) @ costs[0]
    kl = -torch.logsumexp(total, 0) - stds.log().sum()
    by_mean, by_std = torch.autograd.grad(kl, (means, stds))
    frozen = torch.tensor(precisions)[..., None]
    # In units of the terms that cancel.
    errors = [
        (by_mean - frozen * means).abs() / (frozen * (means.abs() + stds)),
        (by_std - frozen * stds + 1 / stds).abs() / (frozen * stds + 1 / stds),
    ]
    return Measurement(float(max(error.detach().max() for error in errors)), 0.0, 1.0)


def _gradient(layer: SmallLayer) -> Measurement:
    return _gradients(layer, layer.prior().update(_second(layer), layer.off_rate))


def _posterior_as_prior(layer: SmallLayer) -> Measurement:
    """Let the evidence of a node count twice, as if its posterior were sent back as a prior."""
    prior = layer.prior()
    prior.update(_second(layer), layer.off_rate)
    odds = prior.extrinsic + 2 * prior.log_odds
    post = np.exp(-np.logaddexp(0.0, -odds)).ravel()
    return _gradients(layer, prior.factors.precisions.expected(post).reshape(prior.shape))


structured_gradient = Claim(
    name="bayesian_networks.structured_gradient",
    summary="The divergence has the gradient of a weighted square with frozen expected precisions.",
    statement=r"\partial_\mu \mathrm{KL} = \langle\rho\rangle \mu, \quad "
    r"\partial_\sigma \mathrm{KL} = \langle\rho\rangle \sigma - 1 / \sigma",
    source=ours("gradient of the collapsed divergence"),
    verdict=Always(1e-9),
    instances=small_layers,
    evaluate=_gradient,
    near_miss=_posterior_as_prior,
)


def _majorised(layer: SmallLayer) -> Measurement:
    """Compare changes of the divergence with those of its majoriser, for several moves of means and deviations.

    The divergence with precisions and states maximised out is a concave function of the second moments, so it lies
    below its tangent, which has the expected precisions as slopes.
    """
    prior = layer.prior()
    old = _kl(layer, 0, prior)
    changes, allowed = [], []
    for move in range(1, 6):
        changes.append(_kl(layer, move) - old)
        allowed.append(prior.kl(_second(layer, move), _logs(layer, move)) - old)
    return Measurement.worst(changes, allowed, _size(layer))


frozen_precisions_majorise = Claim(
    name="bayesian_networks.frozen_precisions_majorise",
    summary="With frozen precisions a step that lowers the loss lowers the true divergence at least as much.",
    statement=r"\mathrm{KL}(\mu', \sigma') - \mathrm{KL}(\mu, \sigma) \le J(\mu', \sigma') - J(\mu, \sigma), \quad "
    r"J = \sum \tfrac12 \langle\rho\rangle (\mu^2 + \sigma^2) - \ln \sigma",
    source=ours("majorisation by frozen precisions"),
    verdict=Always(_ROUNDING),
    instances=small_layers,
    evaluate=_majorised,
    near_miss=Reversed(),
)


def _below_mean_field(layer: SmallLayer) -> Measurement:
    """Compare with factors of precisions that do not see the states, after up to six sweeps."""
    prior = layer.prior(factorisation="meanfield")
    found = [_kl(layer, 0, prior) for _ in range(6)]
    return Measurement.worst(_kl(layer), found, _size(layer))


collapsed_is_tighter = Claim(
    name="bayesian_networks.collapsed_is_tighter",
    summary="Precisions that see their states give a divergence that is never larger than the published one.",
    statement=r"\min_{q(s) \prod q(\rho_i | s_i)} \mathrm{KL} \le \min_{q(s) \prod q(\rho_i)} \mathrm{KL}",
    source=ours("a larger family of factors"),
    verdict=Always(_ROUNDING),
    instances=small_layers,
    evaluate=_below_mean_field,
    near_miss=Reversed(),
)


def _never_raised(layer: SmallLayer) -> Measurement:
    """Update at new weights, again and again, and compare with the divergence before each update."""
    prior = layer.prior()
    after, before = [], []
    for move in (0, 1, 1, 2, 2, 2):
        before.append(prior.kl(_second(layer, move), _logs(layer, move)))
        after.append(_kl(layer, move, prior))
    # Known precisions, which the first update ends, belong to another prior.
    return Measurement.worst(after[1:], before[1:], _size(layer))


def _evidence_twice(layer: SmallLayer) -> Measurement:
    """Send back posteriors in place of extrinsic messages: node by node the evidence then counts twice."""
    prior = layer.prior()
    after, before = [], []
    for move in (0, 1, 1, 2):
        second, logs = _second(layer, move), _logs(layer, move)
        before.append(prior.kl(second, logs))
        prior.update(second, layer.off_rate)
        belief = prior.factors.belief
        wrong = prior.support.update(2 * belief.log_odds, belief)
        model = prior.model(layer.off_rate)
        precisions = prior.factors.precisions
        constant = (
            -0.5 * second.size * layer.shape[2]
            - precisions.log_joint(model, np.zeros(second.size), wrong.probability)
            - wrong.log_prior
        )
        expected = precisions.expected(wrong.probability)
        prior.factors = replace(prior.factors, belief=wrong, expected_precisions=expected, constant=constant)
        after.append(prior.kl(second, logs))
    return Measurement.worst(after[1:], before[1:], _size(layer))


def _both_kinds() -> Any:
    lines = ("iid", "chain_rows", "grid_mean_field")
    return small_layers(lines) | small_layers(lines, "meanfield")


supports_never_raise = Claim(
    name="bayesian_networks.supports_never_raise",
    summary="No update of precisions and states raises the divergence, in either factorisation.",
    statement=r"\mathrm{KL}(q(w) q'(\rho, s)) \le \mathrm{KL}(q(w) q(\rho, s))",
    source=ours("coordinate descent of the divergence"),
    verdict=Always(_ROUNDING),
    instances=_both_kinds,
    evaluate=_never_raised,
    near_miss=_evidence_twice,
)
