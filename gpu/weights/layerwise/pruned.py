"""What every method of layer-wise pruning takes and returns."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import Instance
from sparsetheory.gpu.core.gram import as_gram
from sparsetheory.gpu.core.patterns import NM, BlockNM, Pattern, PerRow, PerTensor, RowBlock

__all__ = ["ALL_PATTERNS", "Pruned", "check_gram", "check_mask", "check_pattern", "check_weight"]

ALL_PATTERNS: tuple[type[Pattern], ...] = (NM, PerRow, PerTensor, RowBlock, BlockNM)
"""What methods produce that choose a mask by one score."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """A weight matrix with zeros.

    Parameters
    ----------
    weight : Tensor of shape (out, features)
        Zero where `mask` is False.
    mask : Tensor of bool of shape (out, features)
        Which entries are kept; a kept entry may be zero.
    """

    weight: Tensor
    mask: Tensor

    @classmethod
    def of(cls, values: Tensor, mask: Tensor, dtype: torch.dtype) -> "Pruned":
        """Return the values that are kept, in a given precision."""
        return cls(torch.where(mask, values.detach(), 0.0).to(dtype), mask)


def check_weight(W: Any) -> Tensor:
    """Return a weight matrix in double precision, a copy of it even where it has it already.

    Raises
    ------
    TypeError
        If it is not a tensor of real floating-point numbers.
    ValueError
        If it is not a matrix, or an entry is not finite.
    """
    if not isinstance(W, Tensor) or not W.is_floating_point():
        got = W.dtype if isinstance(W, Tensor) else type(W).__name__
        raise TypeError(f"W must be a tensor of real floating-point numbers; got {got}")
    if W.ndim != 2:
        raise ValueError(
            f"W must be a matrix with one row per output and one column per input; got shape {tuple(W.shape)}"
        )
    if not bool(torch.isfinite(W).all()):
        raise ValueError("W must be finite; got infinite entries or NaN")
    return W.detach().to(torch.float64, copy=True)


def check_gram(gram: Any, W: Tensor, *, name: str = "gram") -> Tensor:
    """Return a Gram matrix in double precision on the device of the weights; a :class:`Gram` gives its mean."""
    return as_gram(gram, W.shape[1], name=name).matrix.to(W.device)


def check_mask(mask: Any, W: Tensor) -> Tensor:
    """Return a mask of bool on the device of the weights, True where an entry of `mask` is not zero.

    Raises
    ------
    ValueError
        If it is not a tensor of the shape of the weights.
    """
    if not isinstance(mask, Tensor) or mask.shape != W.shape:
        got = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must have shape {tuple(W.shape)}; got {got}")
    return mask.to(W.device) != 0


def check_pattern(pattern: Any, W: Tensor, kinds: tuple[type[Pattern], ...] = (NM, PerRow, PerTensor)) -> Pattern:
    """Return a pattern that is of one of some kinds, has its groups along the inputs, and fits the weights.

    Raises
    ------
    ValueError
        If not.
    """
    words = " or ".join(kind.__name__ for kind in kinds)
    Instance(kinds, f"{words} for this method").check("pattern", pattern)
    if isinstance(pattern, NM | BlockNM) and pattern.axis not in (-1, 1):
        raise ValueError(f"pattern must have its groups along the last axis; got axis {pattern.axis}")
    assert isinstance(pattern, Pattern)
    pattern.check_shape(W.shape, name="W")
    return pattern
