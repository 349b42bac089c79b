"""What a pattern is, and the checks of shapes that patterns share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import Real
from sparsetheory.gpu.core.selection import check_scores

__all__ = ["DENSITY", "Pattern", "needs_axes", "needs_multiple"]

DENSITY = Real(0.0, 1.0)


class Pattern(ABC):
    """What may be kept of one tensor."""

    def mask(self, score: Tensor, *, name: str = "score") -> Tensor:
        """Return which entries are kept: those of the largest scores that the pattern allows.

        Parameters
        ----------
        score : Tensor
            Real floating-point numbers; infinite ones are fine, but not both infinities in one block.
        name : str
            What error messages call the tensor, such as the name of a layer.

        Returns
        -------
        Tensor of bool
            Of the shape and on the device of `score`.

        Raises
        ------
        TypeError
            If `score` is not a tensor of real floating-point numbers.
        ValueError
            If `score` holds NaN, or its shape does not fit the pattern.
        """
        checked = check_scores(score, name)
        self.check_shape(checked.shape, name=name)
        return self._mask(checked)

    def project(self, weight: Tensor, *, name: str = "weight") -> Tensor:
        """Return the weights with all entries set to zero but those of the largest magnitudes.

        Blocks are chosen by the sums of their magnitudes.

        Parameters
        ----------
        weight : Tensor
            Real floating-point numbers.
        name : str
            What error messages call the tensor.

        Returns
        -------
        Tensor
            Of the shape, dtype and device of `weight`; gradients pass through what is kept.
        """
        return torch.where(self.mask(weight.abs(), name=name), weight, torch.zeros_like(weight))

    @abstractmethod
    def check_shape(self, shape: Sequence[int], *, name: str = "score") -> None:
        """Raise ValueError where a tensor of this shape cannot have the pattern; the message calls it `name`."""

    @abstractmethod
    def count(self, shape: Sequence[int]) -> int:
        """Return how many entries of a tensor of this shape are kept."""

    @abstractmethod
    def _mask(self, score: Tensor) -> Tensor:
        """Return the mask of a score that has been checked."""


def needs_axes(shape: Sequence[int], least: int, pattern: Any, name: str) -> None:
    """Raise ValueError for a shape with too few axes."""
    if len(shape) < least:
        raise ValueError(f"{name} must have at least {least} axes for {pattern}; got shape {tuple(shape)}")


def needs_multiple(shape: Sequence[int], axis: int, size: int, pattern: Any, name: str) -> None:
    """Raise ValueError unless groups of a size fill an axis."""
    if shape[axis] % size:
        raise ValueError(
            f"{name} must have a multiple of {size} entries along axis {axis} for {pattern}; "
            f"got {shape[axis]} of shape {tuple(shape)}"
        )
