"""A plain linear layer from what a layer of factors amounts to."""

import torch
from torch import Tensor, nn

__all__ = ["empty_linear", "merged_linear"]


def empty_linear(in_features: int, out_features: int, *, bias: bool) -> nn.Linear:
    """Return a linear layer without a draw from the global generator: its weight is to be written."""
    layer: nn.Linear = torch.nn.utils.skip_init(nn.Linear, in_features, out_features, bias=bias)
    return layer


def merged_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer with copies of a weight and a bias, on their device and in their dtype."""
    made = empty_linear(weight.shape[1], weight.shape[0], bias=bias is not None).to(weight.device, weight.dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None:
            made.bias.copy_(bias)
    return made
