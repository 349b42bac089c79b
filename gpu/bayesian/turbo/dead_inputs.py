"""Inputs of a layer that have been zero in every training batch."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["SeenInputs"]


class SeenInputs:
    """Watch, by a hook, which inputs of a layer are ever other than zero in training mode.

    Parameters
    ----------
    layer : VariationalLayer
        Linear or convolutional.
    """

    def __init__(self, layer: VariationalLayer) -> None:
        self._groups = int(getattr(layer, "groups", 1))
        n_inputs = layer.weight.shape[1] * self._groups
        self.alive = torch.zeros(n_inputs, dtype=torch.bool, device=layer.weight.device)
        self._handle = layer.register_forward_pre_hook(self._watch, with_kwargs=True)

    def dead(self, weight: Tensor) -> Tensor:
        """Return which entries of the weight belong to inputs that have always been zero; none before any batch."""
        if not bool(self.alive.any()):
            return torch.zeros_like(weight, dtype=torch.bool)
        # The weight of a grouped convolution has the inputs of one group; each block of outputs reads its own.
        inputs = self.alive.reshape(self._groups, -1).repeat_interleave(weight.shape[0] // self._groups, 0)
        return ~inputs.reshape(*inputs.shape, *([1] * (weight.ndim - 2))).expand(weight.shape)

    def remove(self) -> None:
        """Take the hook off the layer."""
        self._handle.remove()

    def _watch(self, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if layer.training:
            # Channels of a convolution are the third axis from the end, with a batch or without; features of a linear
            # layer are the last one.
            x = (inputs[0] if inputs else next(iter(named.values()))).detach()
            flat = x.movedim(-3, -1) if hasattr(layer, "kernel_size") else x
            self.alive = self.alive.to(x.device) | (flat.reshape(-1, flat.shape[-1]) != 0).any(0)
