"""Scale and shift between a prior and a depth map, and the rotation between normals."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Alignment", "align_scale_shift", "kabsch"]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Scale, shift and loss."""

    scale: Tensor
    shift: Tensor
    loss: Tensor


def align_scale_shift(prior: Tensor, depth: Tensor, weights: Tensor | None = None, robust: bool = False) -> Alignment:
    """Align a prior with a depth map."""
    raise NotImplementedError


def kabsch(n: Tensor, m: Tensor) -> Tensor:
    """Return the rotation that takes one set of normals nearest to another."""
    raise NotImplementedError
