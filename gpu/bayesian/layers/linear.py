"""A linear layer with normal weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["BayesLinear"]


class BayesLinear(VariationalLayer, nn.Linear):
    """A linear layer whose weights are independent normal variables."""

    def __init__(self, in_features: int, out_features: int, *, sampling: str = "local", **kwargs: Any) -> None:
        nn.Linear.__init__(self, in_features, out_features, **kwargs)
        self._register(sampling)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs with noise: "local" noise of each sample, that of "weights" all share, or none with "mean"."""
        mean = functional.linear(x, self.mean, self.bias)
        if self.sampling == "mean":
            return mean
        if self.sampling == "weights":
            return mean + functional.linear(x, self.sigma * torch.randn_like(self.weight))
        variance = functional.linear(x.square(), self.sigma.square())
        return mean + (variance + 1e-12).sqrt() * torch.randn_like(mean)
