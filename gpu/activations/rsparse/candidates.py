"""A model in which shares of the budget change often: what all shares need is computed once."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from sparsetheory.gpu.activations.rsparse.budgets import Budget, input_sparsity, split_budget
from sparsetheory.gpu.activations.rsparse.conversion import layer_inputs, linear_layers, put_layer
from sparsetheory.gpu.activations.rsparse.factors import WeightFactors, decompose
from sparsetheory.gpu.activations.rsparse.layer import RSparseLinear, is_scaled
from sparsetheory.gpu.activations.rsparse.thresholds import ScoreThreshold, column_norms, lower_quantile
from sparsetheory.gpu.core.layers import weight_rows

__all__ = ["Candidates", "Option"]


@dataclass(frozen=True)
class Option:
    """What one layer may become: shares, and the threshold and realised sparsity of the calibration."""

    budget: Budget
    scaled: bool
    threshold: Tensor
    realised: float


@dataclass(frozen=True, eq=False)
class _Layer:
    """A dense layer, its singular directions up to the largest rank, and its options."""

    dense: nn.Module
    norms: Tensor
    factors: WeightFactors
    options: tuple[Option, ...]
    inputs: Tensor

    def made(self, number: int) -> RSparseLinear:
        option = self.options[number]
        selector = ScoreThreshold(self.norms if option.scaled else None, option.threshold)
        return RSparseLinear.assembled(self.dense, option.budget, selector, self.factors, option.realised)


class Candidates:
    """R-Sparse versions of one model, each layer with one of several options.

    Parameters
    ----------
    model : torch.nn.Module
        A copy that is changed by :meth:`put`.
    layers : mapping of str to _Layer
    """

    def __init__(self, model: nn.Module, layers: Mapping[str, _Layer]) -> None:
        self.model, self.layers = model, layers

    @classmethod
    def of(
        cls,
        model: nn.Module,
        batches: Iterable[Any],
        shares: Sequence[tuple[float, float]],
        include: str | Sequence[str] | None,
        exclude: str | Sequence[str],
        scaled: bool | None,
    ) -> Self:
        """Prepare options for pairs of `sparsity` and `rho`; `model` is not changed."""
        dense = linear_layers(model, include, exclude)
        inputs = layer_inputs(model, batches, dense)
        layers = {name: _prepared(layer, inputs.pop(name), shares, scaled) for name, layer in dense.items()}
        return cls(copy.deepcopy(model), layers)

    @property
    def n_entries(self) -> int:
        """Entries of all weights."""
        budgets = [layer.options[0].budget for layer in self.layers.values()]
        return sum(budget.n_in * budget.n_out for budget in budgets)

    def put(self, numbers: Sequence[int]) -> nn.Module:
        """Return the model with these options, in place of those before."""
        for (name, layer), number in zip(self.layers.items(), numbers, strict=True):
            self.model = put_layer(self.model, name, layer.made(number))
        return self.model

    @torch.no_grad()
    def losses(self) -> list[list[float]]:
        """Return for each layer and option the squared error of its outputs on the calibration, relative to them."""
        return [_errors(layer) for layer in self.layers.values()]

    def costs(self) -> list[list[float]]:
        """Return for each layer and option how many entries one token reads."""
        return [[float(option.budget.used) for option in layer.options] for layer in self.layers.values()]


def _prepared(layer: nn.Module, inputs: Tensor, shares: Sequence[tuple[float, float]], scaled: bool | None) -> _Layer:
    weight = weight_rows(layer)
    norms = column_norms(weight)
    # A sort of all scores serves every threshold; one for each way to score.
    scores = {way: ScoreThreshold(norms if way else None, 0.0).scores(inputs).flatten().sort().values
              for way in {is_scaled(scaled, rho) for _, rho in shares}}  # fmt: skip
    options = []
    for sparsity, rho in shares:
        found = scores[is_scaled(scaled, rho)]
        threshold = lower_quantile(found, input_sparsity(sparsity, rho))
        realised = float((found <= threshold).double().mean())
        budget = split_budget(weight.shape[1], weight.shape[0], sparsity, rho)
        options.append(Option(budget, is_scaled(scaled, rho), threshold, realised))
    factors = decompose(weight, max(option.budget.rank for option in options))
    return _Layer(layer, norms, factors, tuple(options), inputs)


def _errors(layer: _Layer) -> list[float]:
    weight = weight_rows(layer.dense)
    energy = float((layer.inputs @ weight.T).double().square().sum())
    errors = []
    for number in range(len(layer.options)):
        made = layer.made(number)
        off = layer.inputs.masked_fill(made.selector(layer.inputs), 0)
        lost = off @ weight.T
        if made.residual is not None:
            lost -= made.residual(off)
        errors.append(float(lost.double().square().sum()) / energy if energy else 0.0)
    return errors
