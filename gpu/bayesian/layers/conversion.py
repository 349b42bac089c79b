"""Models whose linear and convolutional layers have normal weights."""

import math
from typing import Any

import torch
from torch import nn

from sparsetheory.gpu.bayesian.layers.conv import BayesConv2d
from sparsetheory.gpu.bayesian.layers.linear import BayesLinear
from sparsetheory.gpu.bayesian.layers.softplus import inverse_softplus
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["bayesianise"]


def bayesianise(
    model: nn.Module,
    density: float,
    *,
    prior_std: float = 0.005,
    mu_std: float | str = 0.01,
    sigma_init: tuple[float, float] = (6e-4, 5e-4),
    dense_first: bool = True,
    generator: torch.Generator | int | None = None,
) -> nn.Module:
    """Replace linear and convolutional layers by layers with normal weights, in place; return the model."""
    source = cpu_generator(generator)
    first = True
    for name, layer in list(model.named_modules()):
        if type(layer) is nn.Linear:
            new: Any = BayesLinear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        elif type(layer) is nn.Conv2d:
            new = BayesConv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,  # type: ignore[arg-type]
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
                bias=layer.bias is not None,
            )
        else:
            continue
        share = 1.0 if first and dense_first else density
        first = False
        _start(new, share, mu_std, sigma_init, source)
        if layer.bias is not None:
            new.bias.data.copy_(layer.bias.data)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, new)
    return model


def _start(
    layer: VariationalLayer, density: float, mu_std: float | str, sigma_init: tuple[float, float], source: Any
) -> None:
    shape = layer.weight.shape
    size = layer.weight.numel()
    kept = torch.randperm(size, generator=source)[: round(density * size)]
    mask = torch.zeros(size, dtype=torch.bool)
    mask[kept] = True
    fan_in = size // shape[0]
    scale = 1 / math.sqrt(fan_in * density) if isinstance(mu_std, str) else mu_std
    with torch.no_grad():
        layer.mask.copy_(mask.reshape(shape))
        layer.weight.copy_(scale * torch.randn(shape, generator=source)).masked_fill_(~layer.mask, 0)
        sigma = (sigma_init[0] + sigma_init[1] * torch.randn(shape, generator=source)).abs().clamp_min(1e-8)
        layer.rho.copy_(inverse_softplus(sigma)).masked_fill_(~layer.mask, 0)
