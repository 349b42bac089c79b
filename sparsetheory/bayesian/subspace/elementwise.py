"""What arrays and tensors need to share one formula: functions of single numbers, and the shape of two together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

__all__ = ["NUMPY", "Elementwise", "Values", "common_shape"]

Values = Any
"""An array, or a tensor: whatever the functions take."""


@dataclass(frozen=True)
class Elementwise:
    """Functions that act on every entry; `ndtr` is the distribution function of the standard normal law."""

    exp: Callable[[Values], Values]
    expm1: Callable[[Values], Values]
    log: Callable[[Values], Values]
    log1p: Callable[[Values], Values]
    ndtr: Callable[[Values], Values]
    sqrt: Callable[[Values], Values]
    where: Callable[[Values, Values, Values], Values]


NUMPY = Elementwise(np.exp, np.expm1, np.log, np.log1p, special.ndtr, np.sqrt, np.where)


def common_shape(**shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which two arrays or tensors broadcast, given by their names.

    Raises
    ------
    ValueError
        If there is none.
    """
    (first, base), (second, other) = ((name, tuple(shape)) for name, shape in shapes.items())
    try:
        return np.broadcast_shapes(base, other)
    except ValueError:
        raise ValueError(f"{second} must have a shape that broadcasts against {first}, {base}; got {other}") from None
