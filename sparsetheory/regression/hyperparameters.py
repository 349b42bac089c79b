"""Checks of single hyper-parameters, with errors that name them."""

import math
from numbers import Integral, Real
from typing import Any

__all__ = ["check_count", "check_number"]


def check_count(name: str, value: Any) -> int:
    """Return a positive integer.

    Raises
    ------
    ValueError
        If it is not one; booleans are refused.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a positive integer; got {value!r}")
    return int(value)


def check_number(name: str, value: Any, *, positive: bool = False) -> float:
    """Return a finite number that is not negative, or is positive.

    Raises
    ------
    ValueError
        If it is not one; booleans are refused.
    """
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} must be a finite {'positive' if positive else 'non-negative'} number; got {value!r}")
    return float(value)
