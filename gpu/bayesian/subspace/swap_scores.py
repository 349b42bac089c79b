"""Scores of one swap: which weights of a layer leave, and which enter."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, MISSING, POSITIVE, Choice
from sparsetheory.gpu.bayesian.layers.softplus import positive
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.bayesian.subspace.addition_scores import addition_score
from sparsetheory.gpu.bayesian.subspace.fisher_diagonal import FisherDiagonal
from sparsetheory.gpu.bayesian.subspace.removal_scores import removal_score
from sparsetheory.gpu.core.hooks.snapshots import Score, Snapshot
from sparsetheory.gpu.dynamic.scores import random_order

__all__ = ["CRITERIA", "GainScore", "addition", "removal"]

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


def addition(
    model: nn.Module, layers: Mapping[str, VariationalLayer], rule: str, n_samples: int | None, temperature: float
) -> Score:
    """Return the score of which the largest enter: magnitudes of dense gradients, or a new :class:`GainScore`."""
    Choice("grad", "gain").check("rule", rule)
    (MISSING | COUNT).check("n_samples", n_samples)
    POSITIVE.check("temperature", temperature)
    if rule == "grad":
        return lambda snapshot: addition_score(snapshot.gradient)
    if n_samples is None:
        raise ValueError("n_samples must be given for the rule 'gain', which counts in nats; got None")
    return GainScore(model, layers, n_samples / temperature)


class GainScore:
    """The gain of the evidence bound by each new weight, in nats, from the dense gradient and second derivatives.

    What a weight gains that has just left is what its removal costs, exactly.

    Parameters
    ----------
    model : torch.nn.Module
        Watched from the start, until :meth:`detach`.
    layers : mapping of str to VariationalLayer
        By their names in the model, in the order of the masks.
    scale : float
        Nats in one unit of the loss: the number of samples over the temperature.
    """

    def __init__(self, model: nn.Module, layers: Mapping[str, VariationalLayer], scale: float) -> None:
        self._model, self._names, self._layers, self._scale = model, list(layers), list(layers.values()), scale
        _require_priors(self._layers, "rule 'gain'")
        self._price = removal(self._layers, "savage_dickey")
        self._fisher = FisherDiagonal(model, self._names)

    def __call__(self, snapshot: Snapshot) -> Tensor:
        """Return the gains of all weights of a layer, those of active ones too."""
        curvature = self._fisher.curvatures.get(self._names[snapshot.index])
        if curvature is None:
            raise RuntimeError(f"a gain needs gradients of {self._names[snapshot.index]}; there was none so far")
        gain = addition_score(
            self._scale * _wide(snapshot.gradient),
            self._scale * _wide(curvature),
            prior_std=self._layers[snapshot.index].prior_std,
            rule="gain",
        )
        return torch.where(snapshot.mask, self._price(snapshot).to(gain.dtype), gain)

    def attach(self) -> None:
        """Watch the model again after :meth:`detach`."""
        state = self._fisher.state_dict()
        self._fisher = FisherDiagonal(self._model, self._names)
        self._fisher.load_state_dict(state)

    def detach(self) -> None:
        """Stop watching the model."""
        self._fisher.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return the second derivatives so far."""
        return self._fisher.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._fisher.load_state_dict(state)


def _wide(values: Tensor) -> Tensor:
    """Return values in at least float32: scores of half precision would tie."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _require_priors(layers: Sequence[VariationalLayer], what: str) -> None:
    for index, layer in enumerate(layers):
        if layer.prior_std is None:
            raise ValueError(f"{what} needs a prior_std in each layer; got None in number {index}")
        POSITIVE.check("prior_std", layer.prior_std)
