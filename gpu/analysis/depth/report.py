"""Every score of how a residual network uses its depth, in one report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DepthReport", "depth_report"]


@dataclass(frozen=True, eq=False)
class DepthReport:
    """How a residual network uses its depth."""

    layers: tuple[str, ...]
    variance: Tensor
    median_variance: Tensor
    cosine: Tensor
    relative_contribution: Tensor
    loss: float
    causal: Tensor | None
    permutation: Tensor | None
    linear_increase: Tensor | None
    useful: Tensor | None
    jacobian: Tensor | None

    def to_frame(self) -> "pd.DataFrame":
        """Return one row per layer."""
        raise NotImplementedError


def depth_report(
    model: nn.Module,
    layers: str | Sequence[str] | None,
    batch: Any,
    fit_batch: Any = None,
    *,
    loss: Callable[[Any, Any], Tensor] | None = None,
) -> DepthReport:
    """Score how a residual network uses its depth."""
    raise NotImplementedError
