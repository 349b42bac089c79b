"""Sharpness of labels, and the radius in which the nearest neighbour keeps its class."""

from dataclasses import dataclass
from typing import Any

from sparsetheory.certificates import Certificate

__all__ = ["LabelSharpness", "label_sharpness"]


@dataclass(frozen=True)
class LabelSharpness(Certificate):
    """How close points of different classes are."""

    value: float = 0.0
    pair: tuple[int, int] | None = None
    certified_radius: float = float("inf")
    one_class: bool = False


def label_sharpness(X: Any, y: Any, max_points: int | None = None, *, generator: Any = 0) -> LabelSharpness:
    """Return the sharpness of labels."""
    raise NotImplementedError
