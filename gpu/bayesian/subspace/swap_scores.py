"""Scores of one swap: which weights of a layer leave, and which enter."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sparsetheory.constraints import POSITIVE, Choice
from sparsetheory.gpu.bayesian.layers.softplus import positive
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.bayesian.subspace.addition_scores import addition_score
from sparsetheory.gpu.bayesian.subspace.removal_scores import removal_score
from sparsetheory.gpu.core.hooks.snapshots import Score, Snapshot
from sparsetheory.gpu.dynamic.scores import random_order

__all__ = ["CRITERIA", "addition", "removal"]

CRITERIA = ("mean", "snr", "mean_abs", "snr_abs", "exp_abs", "snr_exp_abs", "savage_dickey", "random")


def removal(layers: Sequence[VariationalLayer], criterion: str) -> Score:
    """Return the score of which the smallest leave, by the name of a criterion, or "random"."""
    Choice(*CRITERIA).check("criterion", criterion)
    if criterion == "random":
        return random_order
    if criterion == "savage_dickey":
        _require_priors(layers, "criterion 'savage_dickey'")

    def score(snapshot: Snapshot) -> Tensor:
        mu, rho = (parameter.detach() for parameter in snapshot.parameters)
        sigma = torch.where(snapshot.mask, positive(_wide(rho)), 0.0)
        return removal_score(_wide(mu), sigma, criterion, prior_std=layers[snapshot.index].prior_std)

    return score


def addition(layers: Sequence[VariationalLayer], curvatures: Callable[[int], Tensor] | None, scale: float) -> Score:
    """Return the score of which the largest enter.

    Parameters
    ----------
    layers : sequence of VariationalLayer
    curvatures : callable, optional
        From the number of a layer to second derivatives of the loss. Without them the magnitude of the dense gradient
        is the score; with them the gain of the evidence bound in nats. What a weight gains that has just left is what
        its removal costs, exactly.
    scale : float
        Nats in one unit of the loss: the number of samples over the temperature.
    """
    if curvatures is None:
        return lambda snapshot: addition_score(snapshot.gradient)
    _require_priors(layers, "rule 'gain'")
    price = removal(layers, "savage_dickey")

    def score(snapshot: Snapshot) -> Tensor:
        gradient, curvature = _wide(snapshot.gradient), _wide(curvatures(snapshot.index))
        prior = layers[snapshot.index].prior_std
        gain = addition_score(scale * gradient, scale * curvature, prior_std=prior, rule="gain")
        return torch.where(snapshot.mask, price(snapshot), gain)

    return score


def _wide(values: Tensor) -> Tensor:
    """Return values in at least float32: scores of half precision would tie."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _require_priors(layers: Sequence[VariationalLayer], what: str) -> None:
    for index, layer in enumerate(layers):
        if layer.prior_std is None:
            raise ValueError(f"{what} needs a prior_std in each layer; got None in number {index}")
        POSITIVE.check("prior_std", layer.prior_std)
