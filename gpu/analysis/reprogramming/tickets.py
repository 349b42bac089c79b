"""Lottery tickets: iterative magnitude pruning with rewinding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from sparsetheory.gpu.core.masks import MaskSet

__all__ = ["Ticket", "lottery_tickets"]


@dataclass(frozen=True, eq=False)
class Ticket:
    """A trained sparse network and its masks."""

    density: float
    model: nn.Module
    masks: MaskSet


def lottery_tickets(
    model: nn.Module,
    fit: Callable[[nn.Module], object],
    densities: Sequence[float],
    *,
    layers: str | Sequence[str] = "*",
    scope: str = "global",
) -> list[Ticket]:
    """Find tickets of falling density."""
    raise NotImplementedError
