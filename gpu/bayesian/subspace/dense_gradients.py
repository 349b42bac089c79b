"""Dense gradients of the means of layers in the steps that ask for them, masked before anything else sees them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["DenseGradients"]


class DenseGradients:
    """Gradients of means as if there were no masks, set aside within the backward passes of chosen steps.

    What stays in ``weight.grad`` is zero off the mask as soon as it is there, so that clipping, which comes later, sees
    the norm of what is trained. Gradients of several backward passes before one step of the optimiser add up.

    Parameters
    ----------
    layers : sequence of VariationalLayer
    wanted : callable
        Without arguments; whether the step that is being computed asks for dense gradients.
    noise_free : callable
        Without arguments; whether that step is computed without noise.
    """

    def __init__(
        self, layers: Sequence[VariationalLayer], wanted: Callable[[], bool], noise_free: Callable[[], bool]
    ) -> None:
        self._layers = list(layers)
        self._wanted, self._noise_free = wanted, noise_free
        self._ways: list[tuple[str, bool] | None] = [None] * len(self._layers)
        self._kept: list[Tensor | None] = [None] * len(self._layers)
        # The gradient that the kept one belongs to: another tensor means that the user has dropped the old one.
        self._seen: list[Tensor | None] = [None] * len(self._layers)
        self._handles: list[RemovableHandle] = []

    def attach(self) -> None:
        """Add hooks to the layers and their means."""
        for index, layer in enumerate(self._layers):
            weight = layer.weight
            self._handles += [
                layer.register_forward_pre_hook(self._before_forward(index)),
                # Also after an exception in the forward pass: the layer gets its own settings back.
                layer.register_forward_hook(self._after_forward(index), always_call=True),
                weight.register_post_accumulate_grad_hook(self._after_backward(index)),
            ]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.clear()

    def take(self) -> list[Tensor | None]:
        """Return what was kept since the last call, None for layers that had no part in the loss."""
        found = self._kept
        self.clear()
        return found

    def clear(self) -> None:
        """Forget what was kept."""
        self._kept, self._seen = [None] * len(self._layers), [None] * len(self._layers)

    def _before_forward(self, index: int) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...]) -> None:
            if torch.is_grad_enabled() and self._wanted():
                assert isinstance(layer, VariationalLayer)
                self._ways[index] = (layer.sampling, layer.dense_gradient)
                layer.dense_gradient = True
                if self._noise_free():
                    layer.sampling = "mean"

        return hook

    def _after_forward(self, index: int) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            way, self._ways[index] = self._ways[index], None
            if way is not None:
                assert isinstance(layer, VariationalLayer)
                layer.sampling, layer.dense_gradient = way

        return hook

    def _after_backward(self, index: int) -> Callable[[Tensor], None]:
        def hook(weight: Tensor) -> None:
            wanted, layer = self._wanted(), self._layers[index]
            if weight.grad is None or not (wanted or layer.dense_gradient):
                return
            with torch.no_grad():
                if wanted:
                    kept = self._kept[index] if self._seen[index] is weight.grad else None
                    # Off the mask the gradient is that of this pass alone, on it the sum of all passes.
                    self._kept[index] = (
                        weight.grad.clone()
                        if kept is None
                        else torch.where(layer.mask, weight.grad, kept + weight.grad)
                    )
                    self._seen[index] = weight.grad
                weight.grad.masked_fill_(~layer.mask, 0)

        return hook
