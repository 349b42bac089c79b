"""Which inputs are large: scores of a calibration, their quantile, and the selector that compares with it."""

from fractions import Fraction
from math import floor

import torch
from torch import Tensor, nn

from sparsetheory.gpu.solvers.arguments import finite_tensor

__all__ = ["ScoreThreshold", "calibration_rows", "column_norms", "lower_quantile"]


class ScoreThreshold(nn.Module):
    """Select inputs whose score is above a threshold: ``|x_j| c_j > t``, or ``|x_j| > t`` without scales.

    Scales and threshold are buffers, so they are saved and moved with the layer.

    Parameters
    ----------
    scale : Tensor of shape (in,), optional
        Not negative; the norms of the columns of the weight, for example.
    threshold : Tensor of shape (), or float
        In the unit of the scores.

    Examples
    --------
    >>> import torch
    >>> ScoreThreshold(torch.tensor([1.0, 3.0]), 2.0)(torch.tensor([-2.0, 1.0]))
    tensor([False,  True])
    """

    scale: Tensor | None
    threshold: Tensor

    def __init__(self, scale: Tensor | None, threshold: Tensor | float) -> None:
        super().__init__()
        self.register_buffer("scale", None if scale is None else scale.detach().clone())
        dtype = torch.get_default_dtype() if scale is None else scale.dtype
        given = threshold if isinstance(threshold, Tensor) else torch.tensor(threshold, dtype=dtype)
        self.register_buffer("threshold", given.detach().clone())

    def scores(self, x: Tensor) -> Tensor:
        """Return the scores of inputs of shape (..., in)."""
        return x.abs() if self.scale is None else x.abs() * self.scale

    def forward(self, x: Tensor) -> Tensor:
        """Return the mask of inputs of shape (..., in)."""
        return self.scores(x.detach()) > self.threshold


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
