"""Codes of vectors by k-means on residuals, level by level."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["ResidualCodes", "residual_codes"]


@dataclass(frozen=True, eq=False)
class ResidualCodes:
    """Codes of vectors."""

    codes: Tensor
    centroids: Tensor
    collisions: Tensor
    errors: Tensor


def residual_codes(
    X: Any, n_levels: int, n_codes: int, balanced: bool = False, generator: torch.Generator | int | None = 0
) -> ResidualCodes:
    """Code vectors by k-means on residuals."""
    raise NotImplementedError
