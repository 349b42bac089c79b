"""Dense gradients of the means of layers in the steps that ask for them, masked before anything else sees them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["DenseGradients"]


class DenseGradients:
    """Gradients of means as if there were no masks, set aside within the backward passes of chosen steps.

    What stays in ``weight.grad`` is zero off the mask as soon as it is there, so that clipping, which comes later, sees
    the norm of what is trained. Gradients of several backward passes before one step of the optimiser add up; those of
    several steps are averaged.

    Parameters
    ----------
    layers : sequence of VariationalLayer
    wanted : callable
        Without arguments; whether the step that is being computed asks for dense gradients.
    noise_free : callable
        Without arguments; whether that step is computed without noise.

    Attributes
    ----------
    has_begun : bool
        Whether a forward pass has been recorded since the last :meth:`begin_step`.
    """

    def __init__(
        self, layers: Sequence[VariationalLayer], wanted: Callable[[], bool], noise_free: Callable[[], bool]
    ) -> None:
        self._layers = list(layers)
        self._wanted, self._noise_free = wanted, noise_free
        self._ways: list[tuple[str, bool] | None] = [None] * len(self._layers)
        self._kept: list[Tensor | None] = [None] * len(self._layers)
        # The gradient that the kept one belongs to, and how often it had been changed.
        self._seen: list[tuple[Tensor, int] | None] = [None] * len(self._layers)
        self._sums: list[Tensor | None] = [None] * len(self._layers)
        self._n_steps = 0
        self.has_begun = False
        self._handles: list[RemovableHandle] = []

    def attach(self) -> None:
        """Add hooks to the layers and their means."""
        for index, layer in enumerate(self._layers):
            weight = layer.weight
            self._handles += [
                layer.register_forward_pre_hook(self._before_forward(index)),
                # Also after an exception in the forward pass: the layer gets its own settings back.
                layer.register_forward_hook(self._after_forward(index), always_call=True),
                weight.register_hook(self._before_backward(index)),
                weight.register_post_accumulate_grad_hook(self._after_backward(index)),
            ]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._forget()

    def begin_step(self) -> None:
        """Note that the step of the optimiser is over, and that forward passes are those of the next one."""
        self.has_begun = False

    def end_step(self, scale: Tensor | None) -> None:
        """Add the gradients of one step of the optimiser, over a loss scale that they still have, to the sums."""
        for index, gradient in enumerate(self._kept):
            if gradient is not None:
                value, total = gradient if scale is None else gradient / scale, self._sums[index]
                self._sums[index] = value if total is None else total + value
        self._n_steps += 1
        self._forget()

    def means(self) -> list[Tensor | None]:
        """Return the means over steps since :meth:`clear`, None for layers that had no part in the loss."""
        return [None if total is None else total / self._n_steps for total in self._sums]

    def clear(self) -> None:
        """Forget what was set aside."""
        self._sums, self._n_steps = [None] * len(self._layers), 0
        self._forget()

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the sums over steps."""
        return {
            "sums": [None if total is None else total.clone() for total in self._sums],
            "n_steps": self._n_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.clear()
        self.begin_step()
        self._sums = [
            None if total is None else total.to(layer.weight.device).clone()
            for total, layer in zip(state["sums"], self._layers, strict=True)
        ]
        self._n_steps = int(state["n_steps"])

    def _forget(self) -> None:
        self._kept, self._seen = [None] * len(self._layers), [None] * len(self._layers)

    def _before_forward(self, index: int) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...]) -> None:
            # A copy of the model has copies of the hooks, and is not trained here.
            if layer is not self._layers[index] or not torch.is_grad_enabled():
                return
            self.has_begun = True
            if self._wanted():
                self._ways[index] = (layer.sampling, layer.dense_gradient)
                layer.dense_gradient = True
                if self._noise_free():
                    layer.sampling = "mean"

        return hook

    def _after_forward(self, index: int) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if layer is not self._layers[index]:
                return
            way, self._ways[index] = self._ways[index], None
            if way is not None:
                layer.sampling, layer.dense_gradient = way

        return hook

    def _before_backward(self, index: int) -> Callable[[Tensor], None]:
        def hook(incoming: Tensor) -> None:
            seen, gradient = self._seen[index], self._layers[index].weight.grad
            if seen is None or (seen[0] is gradient and seen[1] == gradient._version):
                return
            # Another tensor, or zeros since: the user has dropped what the kept gradient was of.
            if seen[0] is not gradient or not gradient.any():
                self._kept[index] = self._seen[index] = None

        return hook

    def _after_backward(self, index: int) -> Callable[[Tensor], None]:
        def hook(weight: Tensor) -> None:
            wanted, layer = self._wanted(), self._layers[index]
            if weight.grad is None or not (wanted or layer.dense_gradient):
                return
            with torch.no_grad():
                if wanted:
                    kept = self._kept[index]
                    # Off the mask the gradient is that of this pass alone, on it the sum of all passes.
                    self._kept[index] = (
                        weight.grad.clone()
                        if kept is None
                        else torch.where(layer.mask, weight.grad, kept + weight.grad)
                    )
                weight.grad.masked_fill_(~layer.mask, 0)
                if wanted:
                    self._seen[index] = (weight.grad, weight.grad._version)

        return hook
