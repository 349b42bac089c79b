"""A layer with normal weights beside its prior: moments for the one, expected precisions for the other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.gpu.bayesian.layers.softplus import positive
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.bayesian.turbo.dead_inputs import SeenInputs
from sparsetheory.gpu.bayesian.turbo.layout import WeightGrid
from sparsetheory.gpu.bayesian.turbo.prior import SupportFactors, WeightPrior
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["LayerPrior"]


@dataclass(eq=False)
class LayerPrior:
    """A layer with its prior, and what the weights feel of it."""

    layer: VariationalLayer
    grid: WeightGrid
    prior: WeightPrior
    precision: Tensor
    seen: SeenInputs | None = None

    @classmethod
    def make(cls, layer: VariationalLayer, grid: WeightGrid, structure: str, **numbers: Any) -> "LayerPrior":
        """Give a layer a prior on its grid; `numbers` are those of WeightPrior."""
        rows, columns, group = grid.shape(layer.weight.shape)
        prior = WeightPrior((rows, columns), structure, group_size=group, **numbers)
        made = cls(layer, grid, prior, layer.weight.detach())
        made.show()
        return made

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return second moments and logarithms of deviations of every state, of shape (R, C), in float64."""
        sigma = positive(self.layer.rho.double())
        second = self.layer.weight.double().square() + sigma.square()
        return self.grid.pack(second).sum(-1), self.grid.pack(sigma.log()).sum(-1)

    def off(self) -> BoolArray | None:
        """Return which states only have weights of inputs that have always been zero."""
        if self.seen is None:
            return None
        dead: BoolArray = self.grid.pack(self.seen.dead(self.layer.weight)).all(-1).cpu().numpy()
        return dead

    def on(self, threshold: float = 0.5) -> BoolArray:
        """Return which states are on with a probability above a threshold, shape (R, C); all before any update."""
        if self.prior.factors.precisions is None:
            return np.ones(self.prior.shape, dtype=np.bool_)
        return np.asarray(self.prior.probability > threshold)

    def mask(self, threshold: float = 0.5) -> Tensor:
        """Return which weights are on, in the shape of the weight and on its device."""
        return self.spread(self.on(threshold)).to(self.layer.weight.device).contiguous()

    def fitted(self, second: Tensor, off_rate: float) -> SupportFactors:
        """Return the best factors for second moments of the states."""
        return self.prior.fitted(second.detach().cpu().numpy(), off_rate, self.off())

    def spread(self, values: Float64Array | BoolArray) -> Tensor:
        """Return one value per state as a tensor of the shape of the weight, on the CPU."""
        rows, columns = self.prior.shape
        packed = torch.from_numpy(values.reshape(rows, columns, 1)).expand(rows, columns, self.prior.group_size)
        spread: Tensor = self.grid.unpack(packed, self.layer.weight.shape)
        return spread

    def show(self) -> None:
        """Hand the expected precisions to the weights, in float32 or wider."""
        weight = self.layer.weight
        wide = torch.promote_types(weight.dtype, torch.float32)
        self.precision = self.spread(self.prior.expected_precisions).to(weight.device, wide)

    def penalty(self) -> Tensor:
        """Return the divergence with the present factors."""
        weight, rho = (part.to(self.precision.dtype) for part in (self.layer.weight, self.layer.rho))
        sigma = positive(rho)
        energy = (self.precision.to(weight.device) * (weight.square() + sigma.square())).sum()
        return 0.5 * energy - sigma.log().sum() + self.prior.factors.constant
