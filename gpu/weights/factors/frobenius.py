"""Weight decay of what linear factors multiply to, in the place of decay of each factor.

Provenance: authors' code of Sparse-IFT, which adds it to the loss; here it is added to the gradients once a step.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.gpu.core.hooks.penalties import GradientPenalty
from sparsetheory.gpu.weights.factors.doped import SparseDopedLinear
from sparsetheory.gpu.weights.factors.factorized import SparseFactorizedLinear

__all__ = ["FrobeniusDecay"]

Factored = SparseFactorizedLinear | SparseDopedLinear


class FrobeniusDecay(GradientPenalty):
    r"""Add the gradient of :math:`\frac{\alpha}{2} \|W_s + V U\|_F^2` to those of the factors, once a step.

    Decay of each factor would shrink the nuclear norm of the product instead. Give the optimiser no other decay for
    these parameters. A parameter without gradient is left alone.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    layers : iterable of SparseDopedLinear or SparseFactorizedLinear
        Of a factorised layer it is meant for linear factors: with a normalisation or an activation inside, their
        product is not what the layer computes.
    alpha : float
        Strength; it compares with ``weight_decay`` of SGD.

    Raises
    ------
    ValueError
        If the optimiser is LBFGS or lacks a factor, or a layer is none of these.

    Examples
    --------
    >>> import torch
    >>> layer = SparseDopedLinear(8, 8, 0.5, bias=False, generator=0)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    >>> decay = FrobeniusDecay(optimizer, [layer], alpha=1.0)
    >>> before = layer.product().norm()
    >>> (0 * layer(torch.ones(1, 8))).sum().backward()
    >>> optimizer.step()
    >>> bool(layer.product().norm() < before)
    True
    """

    def __init__(self, optimizer: Optimizer, layers: Iterable[nn.Module], alpha: float) -> None:
        self._alpha = NONNEGATIVE.check("alpha", alpha)
        self._owners: list[tuple[Factored, nn.Parameter]] = []
        for index, layer in enumerate(layers):
            if not isinstance(layer, Factored):
                raise ValueError(f"layers must be doped or factorised; number {index} is {type(layer).__name__}")
            self._owners += [(layer, factor) for factor in _factors(layer)]
        super().__init__(optimizer, [factor for _, factor in self._owners], lambda factor, group: factor)

    def term(self, index: int, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """Return the gradient for the factor of a number."""
        layer, factor = self._owners[index]
        with torch.enable_grad():
            penalty = 0.5 * self._alpha * layer.product().square().sum()
        return torch.autograd.grad(penalty, factor)[0]


def _factors(layer: Factored) -> list[nn.Parameter]:
    """Return the matrices among the parameters: all but biases, and those of normalisations."""
    return [parameter for parameter in layer.parameters() if parameter.ndim == 2]
