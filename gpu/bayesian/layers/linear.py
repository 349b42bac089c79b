"""A linear layer with normal weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["BayesLinear"]


class BayesLinear(VariationalLayer, nn.Linear):
    """A linear layer whose weights are independent normal variables."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        sampling: str = "local",
        prior_std: float | None = None,
        generator: torch.Generator | int | None = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device, dtype)
        self._make_variational(sampling, prior_std, generator)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, weight, bias)
