"""How well a score tells inputs of another kind from those that a network was trained for."""

from torch import Tensor

__all__ = ["detection_auroc"]


def detection_auroc(scores: Tensor, outside: Tensor) -> float:
    """Return the probability that an input from outside has a larger score than one from inside."""
    raise NotImplementedError
