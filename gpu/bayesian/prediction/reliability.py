"""Reliability diagrams: accuracy against confidence, bin by bin."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["ReliabilityCurve", "reliability_curve"]


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Accuracy against confidence in bins of confidence."""

    counts: Tensor
    confidence: Tensor
    accuracy: Tensor


def reliability_curve(probs: Tensor, y: Tensor, n_bins: int = 15) -> ReliabilityCurve:
    """Return accuracy and mean confidence in bins of confidence."""
    raise NotImplementedError
