"""A model in which shares of the budget change often: what all shares need is computed once."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sparsetheory.gpu.activations.rsparse.budgets import Budget, input_sparsity, split_budget
from sparsetheory.gpu.activations.rsparse.conversion import linear_layers, put_layer
from sparsetheory.gpu.activations.rsparse.factors import WeightFactors, decompose
from sparsetheory.gpu.activations.rsparse.layer import RSparseLinear, is_scaled
from sparsetheory.gpu.activations.rsparse.thresholds import column_norms, lower_quantile
from sparsetheory.gpu.activations.selectors import ColumnScaled
from sparsetheory.gpu.core.layers import weight_rows
from sparsetheory.gpu.core.recording import layer_inputs

__all__ = ["Candidates"]

Share = tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Layer:
    """A dense layer, its singular directions up to the largest rank, and how shares split its budget."""

    dense: nn.Module
    norms: Tensor
    factors: WeightFactors
    budgets: tuple[Budget, ...]

    @classmethod
    def of(cls, dense: nn.Module, shares: Sequence[Share]) -> Self:
        weight = weight_rows(dense)
        budgets = tuple(split_budget(weight.shape[1], weight.shape[0], *share) for share in shares)
        factors = decompose(weight, max(budget.rank for budget in budgets))
        return cls(dense, column_norms(weight), factors, budgets)

    def selector(self, scaled: bool) -> ColumnScaled:
        return ColumnScaled(self.norms if scaled else None, 0.0)


@dataclass(frozen=True, eq=False)
class _Option:
    """How one layer selects with one share: what the calibration says of it."""

    scaled: bool
    threshold: Tensor
    realised: float


class Candidates:
    """R-Sparse versions of one model, each layer with one of several shares.

    Parameters
    ----------
    dense : torch.nn.Module
        Not changed.
    layers : dict of str to _Layer
    shares : sequence of tuple of float
        Pairs of `sparsity` and `rho`.
    scaled : bool, optional
        As :class:`RSparseLinear` takes it.
    batches : iterable
        Calibration.
    """

    def __init__(
        self,
        dense: nn.Module,
        layers: dict[str, _Layer],
        shares: Sequence[Share],
        scaled: bool | None,
        batches: Iterable[Any],
    ) -> None:
        self.dense, self.layers, self.shares, self.scaled = dense, layers, tuple(shares), scaled
        self.model = copy.deepcopy(dense)
        self.inputs = layer_inputs(dense, batches, {name: layer.dense for name, layer in layers.items()})
        self.options = {name: self._options(layer, self.inputs[name]) for name, layer in layers.items()}

    @classmethod
    def of(
        cls,
        model: nn.Module,
        batches: Iterable[Any],
        shares: Sequence[Share],
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] = (),
        scaled: bool | None = None,
    ) -> Self:
        """Prepare layers, named as :func:`rsparse_model` takes them, and calibrate them."""
        layers = {name: _Layer.of(dense, shares) for name, dense in linear_layers(model, include, exclude).items()}
        return cls(model, layers, shares, scaled, batches)

    def calibrated(self, batches: Iterable[Any]) -> Self:
        """Return the same layers with thresholds from other batches."""
        return type(self)(self.dense, self.layers, self.shares, self.scaled, batches)

    @property
    def n_entries(self) -> int:
        """Entries of all weights."""
        return sum(layer.budgets[0].n_in * layer.budgets[0].n_out for layer in self.layers.values())

    def put(self, numbers: Sequence[int]) -> nn.Module:
        """Return one model with these shares, by their numbers, in place of those before."""
        for name, number in zip(self.layers, numbers, strict=True):
            self.model = put_layer(self.model, name, self._made(name, number))
        return self.model

    @torch.no_grad()
    def losses(self) -> list[list[float]]:
        """Return for each layer and share the squared error of its outputs on the calibration, relative to them."""
        return [self._errors(name) for name in self.layers]

    def costs(self) -> list[list[float]]:
        """Return for each layer and share how many entries one token reads."""
        return [[float(budget.used) for budget in layer.budgets] for layer in self.layers.values()]

    def _options(self, layer: _Layer, inputs: Tensor) -> list[_Option]:
        ways = [is_scaled(self.scaled, rho) for _, rho in self.shares]
        # A sort of all scores serves every threshold.
        scores = {way: _ascending(layer.selector(way).scores(inputs)) for way in set(ways)}
        options = []
        for (sparsity, rho), way in zip(self.shares, ways, strict=True):
            threshold = lower_quantile(scores[way], input_sparsity(sparsity, rho), ascending=True)
            realised = float((scores[way] <= threshold).double().mean())
            options.append(_Option(way, threshold, realised))
        return options

    def _made(self, name: str, number: int) -> RSparseLinear:
        layer, option = self.layers[name], self.options[name][number]
        selector = layer.selector(option.scaled)
        selector.threshold = option.threshold.clone()
        return RSparseLinear.assembled(layer.dense, layer.budgets[number], selector, layer.factors, option.realised)

    def _errors(self, name: str) -> list[float]:
        weight, inputs = weight_rows(self.layers[name].dense), self.inputs[name]
        energy = float((inputs @ weight.T).double().square().sum())
        errors = []
        for number in range(len(self.shares)):
            made = self._made(name, number)
            off = inputs.masked_fill(made.selector(inputs), 0)
            lost = off @ weight.T
            if made.residual is not None:
                lost -= made.residual(off)
            errors.append(float(lost.double().square().sum()) / energy if energy else 0.0)
        return errors


def _ascending(scores: Tensor) -> Tensor:
    flat = scores.detach().flatten()
    if flat.device.type == "cpu" and flat.dtype in (torch.float32, torch.float64):
        # Numpy sorts with vector instructions, and without the order, which torch always returns, too.
        return torch.from_numpy(np.sort(flat.numpy()))
    return flat.sort().values
