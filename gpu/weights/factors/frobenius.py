"""Weight decay of what linear factors multiply to, in the place of decay of each factor.

Provenance: authors' code of Sparse-IFT, which adds it to the loss; here it is added to the gradients once a step.
"""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.gpu.core.hooks.steps import StepHooks, grad_scale, parameters_of
from sparsetheory.gpu.weights.factors.doped import SparseDopedLinear
from sparsetheory.gpu.weights.factors.factorized import SparseFactorizedLinear

__all__ = ["FrobeniusDecay"]

Factored = SparseFactorizedLinear | SparseDopedLinear


class FrobeniusDecay(StepHooks):
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
        self._layers: list[Factored] = []
        known = {id(parameter) for parameter in parameters_of(optimizer)}
        for index, layer in enumerate(layers):
            if not isinstance(layer, Factored):
                got = type(layer).__name__
                raise ValueError(f"layers must be doped or factorised; number {index} is {got}")
            if any(id(parameter) not in known for parameter in _factors(layer)):
                raise ValueError(f"layers must have their factors in the optimiser; number {index} has not")
            self._layers.append(layer)
        super().__init__(optimizer)

    def before_step(self) -> None:
        """Add the gradients."""
        scale = grad_scale(self.optimizer)
        for layer in self._layers:
            factors = [parameter for parameter in _factors(layer) if parameter.requires_grad]
            if not factors:
                continue
            with torch.enable_grad():
                penalty = 0.5 * self._alpha * layer.product().square().sum()
            for parameter, term in zip(factors, torch.autograd.grad(penalty, factors), strict=True):
                if parameter.grad is not None:
                    # A fused optimiser divides by the scale within its step.
                    parameter.grad.add_(term if scale is None else term * scale)

    def after_step(self) -> None:
        """Nothing is left to do."""


def _factors(layer: Factored) -> list[nn.Parameter]:
    """Return the matrices among the parameters: all but biases, and those of normalisations."""
    return [parameter for parameter in layer.parameters() if parameter.ndim == 2]
