"""A density for each layer under one budget of operations: the exact choice for given error curves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

__all__ = ["DensityAllocation", "allocate_densities"]


@dataclass(frozen=True, eq=False)
class DensityAllocation:
    """Densities."""

    densities: dict[str, float]


def allocate_densities(
    model: nn.Module, batches: Iterable[Any], densities: Sequence[float], budget: float
) -> DensityAllocation:
    raise NotImplementedError
