"""What linear and convolutional layers with normal weights have in common."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import POSITIVE
from sparsetheory.gpu.bayesian.layers.softplus import positive

__all__ = ["VariationalLayer"]


class VariationalLayer(nn.Module):
    """The state of a layer whose weights are independent normal variables on a mask, and zero off it.

    The parameter `weight` holds the means, `rho` gives the deviations, the buffer `mask` says which weights there are.
    """

    weight: nn.Parameter
    rho: nn.Parameter
    mask: Tensor
    sampling: str

    @property
    def sigma(self) -> Tensor:
        """Standard deviations, zero off the mask; differentiable."""
        return torch.where(self.mask, positive(self.rho), 0.0)

    @property
    def mean(self) -> Tensor:
        """Means, zero off the mask; differentiable."""
        return torch.where(self.mask, self.weight, 0.0)

    def kl(self, prior_std: float) -> Tensor:
        """Return the divergence of the weights on the mask from independent N(0, prior_std^2), in nats."""
        scale = POSITIVE.check("prior_std", prior_std)
        mean, sigma = self.weight[self.mask], positive(self.rho[self.mask])
        return (-(sigma / scale).log() + (sigma.square() + mean.square()) / (2 * scale**2) - 0.5).sum()

    def _register(self, sampling: str, **like: Any) -> None:
        self.rho = nn.Parameter(torch.full_like(self.weight.detach(), -5.0))
        self.register_buffer("mask", torch.ones_like(self.weight, dtype=torch.bool))
        self.sampling = sampling
