"""How far a weight must move before its rounded copy changes."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["VisibleThreshold", "visible_threshold"]

_BITS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


@dataclass(frozen=True, eq=False)
class VisibleThreshold:
    """Distances of weights to the boundaries at which their rounded values change.

    Parameters
    ----------
    down, up : Tensor of float64
        Distance to the lower and to the upper boundary, at least 0; infinite where there is none.
    inclusive : Tensor of bool
        Whether arriving at a boundary is enough. Ties go to even numbers, so it is where the last bit of the rounded
        weight is 1; elsewhere a boundary must be passed.
    """

    down: Tensor
    up: Tensor
    inclusive: Tensor

    @property
    def smallest(self) -> Tensor:
        """Distance to the nearer boundary."""
        return torch.minimum(self.down, self.up)

    def visible(self, movement: Tensor | float) -> Tensor:
        """Return where a movement, taken exactly, changes the rounded weight.

        Parameters
        ----------
        movement : Tensor, broadcastable against the weight, or float
            Signed.
        """
        step = torch.as_tensor(movement, dtype=torch.float64, device=self.up.device)
        return self._reaches(step, self.up) | self._reaches(-step, self.down)

    def visible_either_way(self, distance: Tensor | float) -> Tensor:
        """Return where a movement of a given length changes the rounded weight in at least one direction."""
        return self.visible(distance) | self.visible(-torch.as_tensor(distance, dtype=torch.float64))

    def _reaches(self, step: Tensor, distance: Tensor) -> Tensor:
        return (step > distance) | (self.inclusive & (step == distance))


def visible_threshold(weight: Tensor, dtype: torch.dtype = torch.bfloat16) -> VisibleThreshold:
    r"""Return how far each weight must move before it is another number in a narrower precision.

    A weight :math:`2^e \le |w| < 2^{e+1}` that bfloat16 holds has neighbours at a distance of :math:`2^{e-7}`, and so
    boundaries at :math:`2^{e-8}`; a power of two has one at half of that towards zero. A parameter that is itself
    bfloat16 starts every step in the middle of its interval. With steps of one size lr it therefore moves only if
    :math:`\mathrm{lr} > 2^{e-8}`, or once at equality if its last bit is 1. A float32 master copy, in contrast, sums
    up steps until it passes a boundary.

    Parameters
    ----------
    weight : Tensor
        Finite: the master weights, or weights in the narrow precision itself. Float32 or narrower; float64 with
        ``dtype=torch.float32`` only, as torch rounds float64 to half precision in two steps.
    dtype : torch.dtype
        Where the change shall be seen: bfloat16, float16 or float32.

    Returns
    -------
    VisibleThreshold
        In the shape and on the device of the weight. The distances are exact, but for float64 weights near the
        smallest numbers of float32, where they are rounded once.

    Raises
    ------
    ValueError
        If a dtype is none of these, or a weight is not finite.

    Notes
    -----
    The two zeros are one number. Beyond the largest number of `dtype` lies infinity.

    Examples
    --------
    At 1 the next smaller bfloat16 is twice as near as the next larger one:

    >>> import torch
    >>> found = visible_threshold(torch.tensor([1.0]))
    >>> found.down.item() == 2**-9, found.up.item() == 2**-8, found.inclusive.item()
    (True, True, False)
    >>> found.visible(1.001 * 2**-8), found.visible(2**-8)
    (tensor([True]), tensor([False]))
    """
    if dtype not in _BITS:
        raise ValueError(f"dtype must be one of {', '.join(map(str, _BITS))}; got {dtype}")
    allowed = (torch.float64, torch.float32) if dtype == torch.float32 else (torch.float32, *_BITS)
    if weight.dtype not in allowed:
        names = ", ".join(map(str, dict.fromkeys(allowed)))
        raise ValueError(f"weight must be one of {names} for dtype={dtype}; got {weight.dtype}")
    if not bool(torch.isfinite(weight).all()):
        raise ValueError("weight must be finite; got infinite entries or NaN")
    exact = weight.detach().to(torch.float64)
    rounded = weight.detach().to(dtype)
    key = _order(rounded)
    low, middle, high = (_number(key + shift, dtype) for shift in (-1, 0, 1))
    # Halves of neighbouring numbers add up exactly in double precision.
    upper, lower = (middle / 2 + high / 2), (middle / 2 + low / 2)
    return VisibleThreshold(exact - lower, upper - exact, (key & 1) == 1)


def _order(values: Tensor) -> Tensor:
    """Return the places of numbers in ascending order, as int64: zero is 0, its neighbours are -1 and 1."""
    bits = values.view(_BITS[values.dtype]).to(torch.int64)
    largest = torch.iinfo(_BITS[values.dtype]).max
    return torch.where(bits < 0, -(bits & largest), bits)


def _number(key: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the number at a place, as float64."""
    largest = torch.tensor(torch.finfo(dtype).max, dtype=dtype)
    place, last = key.abs(), int(_order(largest))
    values = place.clamp(max=last).to(_BITS[dtype]).view(dtype).to(torch.float64)
    # Rounding goes to infinity as if the next number of the same spacing stood in its place. Beyond there is nothing.
    spacing = float(largest) - float(_number(torch.tensor(last - 1), dtype)) if bool((place > last).any()) else 0.0
    values = torch.where(place == last + 1, float(largest) + spacing, values)
    values = torch.where(place > last + 1, torch.inf, values)
    return torch.copysign(values, key.to(torch.float64))
