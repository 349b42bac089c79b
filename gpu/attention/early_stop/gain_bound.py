"""What a small gain says of the mass that was not visited, and when it says nothing."""

from typing import overload

import torch
from torch import Tensor

__all__ = ["monotone_gain_bound"]


@overload
def monotone_gain_bound(gain_tol: float, remaining: int) -> float: ...
@overload
def monotone_gain_bound(gain_tol: Tensor, remaining: Tensor | int) -> Tensor: ...
def monotone_gain_bound(gain_tol: float | Tensor, remaining: int | Tensor) -> float | Tensor:
    """Bound the dropped mass of a query that stopped by its gain, if masses of blocks fell in the order of visits.

    After the last block, of mass g, the visited keys hold the mass l, and ``g <= gain_tol l``. Each of the r blocks
    that remain has at most the mass g. So they hold at most ``r g <= r gain_tol l``, and the dropped share is at most
    ``r g / (l + r g) <= r gain_tol / (1 + r gain_tol)``.

    Without falling masses there is no bound at all: one key in the last block may hold nearly everything. Then stop
    by ``max_dropped`` of :func:`early_stop_attention`, whose bound always holds.

    Parameters
    ----------
    gain_tol : float or Tensor
        Mass of the last block over that of all visited keys: the tolerance, or the gain at which a query stopped.
    remaining : int or Tensor
        Blocks that were not visited.

    Returns
    -------
    float or Tensor
        The bound, below 1.

    Examples
    --------
    >>> monotone_gain_bound(0.25, 4)
    0.5
    """
    for name, value in (("gain_tol", gain_tol), ("remaining", remaining)):
        if bool((torch.as_tensor(value) < 0).any()):
            raise ValueError(f"{name} must not be negative; got {value!r}")
    mass = gain_tol * remaining
    return mass / (1.0 + mass)
