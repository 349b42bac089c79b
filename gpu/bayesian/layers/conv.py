"""A convolution with normal weights."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["BayesConv2d"]


class BayesConv2d(VariationalLayer, nn.Conv2d):
    """A convolution whose weights are independent normal variables."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, sampling: str = "local", **kwargs: Any
    ) -> None:
        nn.Conv2d.__init__(self, in_channels, out_channels, kernel_size, **kwargs)
        self._register(sampling)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs with the noise that `sampling` says."""
        mean = self._conv_forward(x, self.mean, self.bias)
        if self.sampling == "mean":
            return mean
        if self.sampling == "weights":
            return mean + self._conv_forward(x, self.sigma * torch.randn_like(self.weight), None)
        variance = self._conv_forward(x.square(), self.sigma.square(), None)
        return mean + (variance + 1e-12).sqrt() * torch.randn_like(mean)
