"""Smaller branches of a residual network, by hooks: scaled outputs of normalisations, and scaled branches."""

from collections.abc import Sequence

from torch import nn

__all__ = ["BranchScaling", "LayerNormScaling"]


class LayerNormScaling:
    """Scale what the normalisations of layer l give, counted from 0, by ``1 / sqrt(l + 1)``."""

    def __init__(self, model: nn.Module, layers: str | Sequence[str] | None = None) -> None:
        raise NotImplementedError

    def remove(self) -> None:
        """Take the hooks off."""


class BranchScaling:
    """Scale what the branches of layers add to the residual stream."""

    def __init__(self, model: nn.Module, scale: float, layers: str | Sequence[str] | None = None) -> None:
        raise NotImplementedError

    def remove(self) -> None:
        """Take the hooks off."""
