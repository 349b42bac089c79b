"""Power laws of losses in the number of samples."""

from dataclasses import dataclass
from typing import Any

__all__ = ["ScalingLaw", "fit_scaling_law"]


@dataclass(frozen=True)
class ScalingLaw:
    """A power law."""

    slope: float
    intercept: float
    standard_error: float


def fit_scaling_law(N: Any, loss: Any) -> ScalingLaw:
    """Fit a power law of the loss."""
    raise NotImplementedError
