"""Models with normal weights as plain ones: means under masks."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["plain_copy"]


def plain_copy(model: nn.Module, masks: Mapping[VariationalLayer, Tensor]) -> nn.Module:
    """Return a copy of a model in which layers with normal weights are plain ones.

    Parameters
    ----------
    model : torch.nn.Module
        Left as it is.
    masks : mapping of VariationalLayer to Tensor of bool
        Which weights of each layer are kept.

    Returns
    -------
    torch.nn.Module
        On the same device, in the same precision and mode. Means are kept under the masks; all else is zero. Hooks of
        the layers are not copied, nor those by which this package watches a model in training.
    """
    # The copy of a layer is made in advance, so that hooks of the layer, and what they hold, are never copied.
    made: dict[int, Any] = {id(layer): _plain(layer, mask) for layer, mask in masks.items()}
    plain = copy.deepcopy(model, made)
    for module in plain.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for number in [number for number, hook in hooks.items() if _is_own(hook)]:
                del hooks[number]
    return plain


def _is_own(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]


def _plain(layer: Any, mask: Tensor) -> nn.Module:
    like = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    bias = layer.bias is not None
    new: nn.Linear | nn.Conv2d
    if isinstance(layer, nn.Linear):
        new = nn.Linear(layer.in_features, layer.out_features, bias=bias, **like)
    else:
        new = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            bias=bias,
            padding_mode=layer.padding_mode,
            **like,
        )
    with torch.no_grad():
        new.weight.copy_(torch.where(mask, layer.weight, 0.0)).requires_grad_(layer.weight.requires_grad)
        if new.bias is not None:
            new.bias.copy_(layer.bias).requires_grad_(layer.bias.requires_grad)
    return new.train(layer.training)
