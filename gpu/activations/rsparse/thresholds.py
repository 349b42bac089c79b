"""Which inputs are large: norms of columns to scale them by, and quantiles of the scores of a calibration."""

from fractions import Fraction
from math import floor

from torch import Tensor

from sparsetheory.gpu.solvers.arguments import finite_tensor

__all__ = ["calibration_rows", "column_norms", "lower_quantile"]


def column_norms(weight: Tensor) -> Tensor:
    """Return the Euclidean norms of the columns of a weight in its dtype, computed in double precision."""
    return weight.detach().double().norm(dim=0).to(weight.dtype)


def lower_quantile(scores: Tensor, share: Fraction, *, ascending: bool = False) -> Tensor:
    """Return the ``floor(share * n)``-th smallest of n scores, counted from 1.

    Where that is the 0-th it is 0: as scores are not negative, all above it that can change an output are selected.

    Parameters
    ----------
    scores : Tensor
        Not negative.
    share : Fraction
        From 0 to 1.
    ascending : bool
        Whether they are sorted already.

    Returns
    -------
    Tensor of shape ()

    Examples
    --------
    >>> import torch
    >>> lower_quantile(torch.tensor([4.0, 1.0, 3.0, 2.0]), Fraction(1, 2))
    tensor(2.)
    """
    place, flat = floor(share * scores.numel()), scores.flatten()
    if place == 0:
        return scores.new_zeros(())
    return flat[place - 1] if ascending else flat.kthvalue(place).values


def calibration_rows(calibration: Tensor, n_in: int) -> Tensor:
    """Return inputs of a layer as a matrix with one token a row.

    Raises
    ------
    TypeError
        If they are not a tensor of floating-point numbers.
    ValueError
        If there are none, they are not finite, or have another number of features.
    """
    rows = finite_tensor("calibration", calibration, least_axes=1)
    if rows.shape[-1] != n_in or not rows.numel():
        raise ValueError(f"calibration must hold tokens of {n_in} features; got shape {tuple(calibration.shape)}")
    return rows.reshape(-1, n_in)
