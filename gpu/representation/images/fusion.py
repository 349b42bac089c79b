"""Robust fusion of views that differ by scale, shift and outliers."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Fusion", "robust_fuse"]


@dataclass(frozen=True, eq=False)
class Fusion:
    """Fused signal, scale, shift and weights."""

    z: Tensor
    scale: Tensor
    shift: Tensor
    weights: Tensor


def robust_fuse(views: Tensor, max_iter: int = 20) -> Fusion:
    """Fuse views."""
    raise NotImplementedError
