"""What the standard deviations of new weights start from."""

from collections.abc import Iterable

import torch
from torch import Tensor

from sparsetheory.constraints import Choice
from sparsetheory.gpu.bayesian.layers.softplus import inverse_softplus
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["NewDeviations"]

_SMALL = 1e-6


class NewDeviations:
    """The `rho` of weights that enter a mask.

    Parameters
    ----------
    rule : {"mean", "eps"}
        The mean `rho` of the survivors of the layer, or a standard deviation of 1e-6. Where a layer has no survivors it
        is the mean before the swap, and that of all layers where it had no weights.
    """

    def __init__(self, rule: str) -> None:
        self._rule = Choice("mean", "eps").check("grow_std", rule)
        self._before: dict[int, Tensor] = {}

    def remember(self, layers: Iterable[VariationalLayer]) -> None:
        """Keep the means of layers before a swap."""
        active = {id(layer.rho): layer.rho.detach()[layer.mask].double() for layer in layers}
        overall = torch.cat([rho.cpu() for rho in active.values()]).mean()
        self._before = {key: rho.mean() if rho.numel() else overall for key, rho in active.items()}

    def __call__(self, parameter: Tensor, new: Tensor, survivors: Tensor, generator: torch.Generator) -> Tensor:
        """Return the start of new entries, a number in float64."""
        if self._rule == "eps":
            return inverse_softplus(torch.tensor(_SMALL, dtype=torch.float64))
        kept = parameter[survivors].double()
        return kept.mean() if kept.numel() else self._before[id(parameter)]
