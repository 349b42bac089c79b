"""How the residual stream of a random network grows with its depth, simulated and in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["VarianceGrowth", "variance_growth"]


@dataclass(frozen=True, eq=False)
class VarianceGrowth:
    """Second moment of the residual stream, layer by layer, as measured and as expected."""

    measured: Tensor
    expected: Tensor


def variance_growth(
    depth: int,
    width: int,
    density: float | tuple[float, float] = 1.0,
    norm: bool = True,
    rescale: bool = False,
    generator: torch.Generator | int | None = 0,
    *,
    branch_scale: float = 1.0,
    n_samples: int = 128,
) -> VarianceGrowth:
    """Simulate the residual stream of a random network whose weights are masked at random."""
    raise NotImplementedError
