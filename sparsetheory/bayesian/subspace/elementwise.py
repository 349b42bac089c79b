"""The few functions of single numbers that scores are made of, so that arrays and tensors share one formula."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

__all__ = ["NUMPY", "Elementwise", "Values"]

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
