"""A multilayer perceptron with a stated initialisation."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.models.activation import activation_module
from sparsetheory.gpu.core.models.initialisation import initialise

__all__ = ["MLP"]


class MLP(nn.Sequential):
    """A multilayer perceptron: linear layers with an activation after each but the last.

    It is a plain sequence of modules: linear layers are ``"0"``, ``"2"``, ``"4"`` and so on.

    Parameters
    ----------
    widths : sequence of int
        Inputs, hidden widths and outputs, at least two numbers.
    activation : {"relu", "gelu", "silu", "tanh", "identity"}
    bias : bool
        Whether layers have biases, which start at 0.
    initialisation : str
        As :func:`initialise` takes it.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU.

    Examples
    --------
    >>> import torch
    >>> model = MLP([64, 32, 10])
    >>> model(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: str = "relu",
        bias: bool = True,
        initialisation: str = "he_normal",
        generator: torch.Generator | int | None = 0,
    ) -> None:
        sizes = [COUNT.check("widths", width) for width in widths]
        if len(sizes) < 2:
            raise ValueError(f"widths must hold at least two numbers, inputs and outputs; got {list(widths)!r}")
        modules: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            modules += [nn.Linear(fan_in, fan_out, bias=bias), activation_module(activation)]
        super().__init__(*modules[:-1])
        initialise(self, initialisation, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of shape (n, widths[-1]) for inputs of shape (n, ...), whose other axes are joined."""
        return super().forward(x.flatten(1))
