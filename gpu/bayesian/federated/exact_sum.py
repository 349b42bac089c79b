"""Sums of floating-point numbers that have the same bits in any order, because integers are added."""

import torch
from torch import Tensor

__all__ = ["exact_terms", "rounded_sum"]

# A number is a sum of integers in units of 1, 2^-40 and 2^-80; integers of 64 bits then hold 2^22 terms.
_STEP = 40
_LEVELS = 3
_UNIT = 2.0**_STEP


def exact_terms(values: Tensor, name: str = "values") -> Tensor:
    """Return integers whose weighted sum is each value, to 2^-81.

    Parameters
    ----------
    values : Tensor of float64 of shape (n,)
        Below 2^40 in magnitude. Above 2^-28 a number is represented exactly.
    name : str
        What errors call them.

    Returns
    -------
    Tensor of int64 of shape (3, n)
        In units of 1, 2^-40 and 2^-80. Up to 2^22 such tensors add up without rounding, so their order does not matter.

    Raises
    ------
    ValueError
        If a value is not finite, or too large.
    """
    wrong = ~(values.abs() < _UNIT)
    if bool(wrong.any()):
        raise ValueError(f"{name} must be finite and below 2^40 in magnitude; got {float(values[wrong][0])}")
    rest, levels = values.to(torch.float64), []
    for _ in range(_LEVELS):
        whole = rest.round()
        levels.append(whole.to(torch.int64))
        # The difference is exact, and so is the product with a power of two.
        rest = (rest - whole) * _UNIT
    return torch.stack(levels)


def rounded_sum(terms: Tensor) -> Tensor:
    """Return what sums of integers stand for, in float64; a single number comes back as it was."""
    top, middle, low = terms.unbind()
    carry = _nearest(low)
    low, middle = low - carry * 2**_STEP, middle + carry
    carry = _nearest(middle)
    middle, top = middle - carry * 2**_STEP, top + carry
    return (low.double() / _UNIT + middle) / _UNIT + top


def _nearest(integers: Tensor) -> Tensor:
    """Return integers in units of one level above, rounded to the nearest."""
    return torch.div(integers + 2 ** (_STEP - 1), 2**_STEP, rounding_mode="floor")
