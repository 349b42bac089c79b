"""What a state space model did on some sequences."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["SSMRun"]


@dataclass(frozen=True, eq=False)
class SSMRun:
    """States and outputs of a state space model, and the factors of its transition."""

    outputs: Tensor
    states: Tensor
    factors: tuple[Tensor, Tensor] | None = None
