"""How much of a weight a mask keeps."""

import torch
from torch import Tensor

__all__ = ["retained_energy", "squared_rows"]


def retained_energy(weight: Tensor, mask: Tensor) -> float:
    """Return which share of the squared entries of a weight a mask keeps.

    It is one minus the squared distance of the weight to its masked self, relative to its squared Frobenius norm.

    Parameters
    ----------
    weight : Tensor
        Finite real numbers, of any shape and floating-point dtype.
    mask : Tensor of the shape of `weight`
        Kept where it is not zero.

    Returns
    -------
    float
        From 0 to 1; 1 for a weight that is zero everywhere, of which nothing is lost. Sums are in double precision.

    Raises
    ------
    TypeError
        If `weight` is not a tensor of real floating-point numbers.
    ValueError
        If an entry of `weight` is not finite, or `mask` has another shape.

    Examples
    --------
    >>> import torch
    >>> retained_energy(torch.tensor([[3.0, 4.0]]), torch.tensor([[False, True]]))
    0.64
    """
    rows = squared_rows(weight)
    if not isinstance(mask, Tensor) or mask.shape != weight.shape:
        got = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must have shape {tuple(weight.shape)}; got {got}")
    total = float(rows.sum())
    kept = torch.where(mask.to(rows.device).reshape(rows.shape) != 0, rows, 0.0)
    return float(kept.sum()) / total if total else 1.0


def squared_rows(weight: Tensor, name: str = "weight") -> Tensor:
    """Return the squared entries of a weight as a matrix in double precision with one row per output.

    Raises
    ------
    TypeError
        If it is not a tensor of real floating-point numbers.
    ValueError
        If an entry is not finite.
    """
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        got = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise TypeError(f"{name} must be a tensor of real floating-point numbers; got {got}")
    if not bool(torch.isfinite(weight).all()):
        raise ValueError(f"{name} must be finite; got infinite entries or NaN")
    wide = weight.detach().to(torch.float64)
    rows = wide.reshape(wide.shape[0], -1) if wide.ndim and wide.shape[0] else wide.reshape(1, -1)
    return rows.square()
