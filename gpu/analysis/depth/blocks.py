"""The layers of a residual network, and the residual stream in what they take and give."""

from torch import nn

__all__ = ["residual_layers"]


def residual_layers(model: nn.Module) -> list[str]:
    """Return the names of the repeated blocks of a model."""
    raise NotImplementedError
