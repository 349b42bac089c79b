"""Albedo and shading of a picture."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Retinex", "retinex"]


@dataclass(frozen=True, eq=False)
class Retinex:
    """Albedo and shading."""

    albedo: Tensor
    shading: Tensor


def retinex(image: Tensor, alpha: float, q: float = 1.0, coupled: bool = False) -> Retinex:
    """Split a picture into albedo and shading."""
    raise NotImplementedError
