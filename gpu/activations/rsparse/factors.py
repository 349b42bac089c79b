"""A weight as a sum of rank-one terms, with a certified bound on what is left of it at each rank."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.activations.sparse_linear import SvdResidual
from sparsetheory.gpu.solvers.truncated_svd import truncated_svd_summary

__all__ = ["WeightFactors", "decompose"]


@dataclass(frozen=True, eq=False)
class WeightFactors:
    """Leading singular directions of a weight.

    Parameters
    ----------
    left : Tensor of shape (out, rank)
        Orthonormal columns U, in the dtype of the weight.
    right : Tensor of shape (rank, in)
        The projections ``U.T @ W``.
    sigma : tuple of float
        For each r from 0 to the rank a bound of ``|W - left[:, :r] @ right[:r]|_2``: the singular value r + 1, and
        rounding.
    """

    left: Tensor
    right: Tensor
    sigma: tuple[float, ...]

    def residual(self, rank: int) -> SvdResidual | None:
        """Return the layer of the first directions; None for none."""
        return SvdResidual.from_factors(self.left[:, :rank], self.right[:rank]) if rank else None


def decompose(weight: Tensor, rank: int) -> WeightFactors:
    r"""Decompose a weight, in double precision.

    Parameters
    ----------
    weight : Tensor of shape (out, in)
    rank : int
        Directions to keep, from 0 to the smaller side.

    Returns
    -------
    WeightFactors

    Notes
    -----
    With P the projection on the first r computed directions, ``(I - P) W`` has a norm of at most
    :math:`\sqrt{\lambda_{r+1} + n u \lambda_1} + n u \sigma_1`. There lambda are the computed eigenvalues of the Gram
    matrix, n is the sum of the sides, and u is the rounding of double precision: the computed directions are exact for
    a Gram matrix that lies within ``n u lambda_1`` of the true one. For weights in double precision that would be
    coarse at small singular values, so these are decomposed themselves, and the first term is
    :math:`\sigma_{r+1} + n u \sigma_1`.

    Rounding factors L, R to L', R' moves the product by at most
    :math:`|L - L'|_F \sigma_1 + (1 + |L - L'|_F) \, |R - R'|_F`.
    """
    least = min(weight.shape)
    exact = weight.detach().double()
    fine = weight.dtype == torch.float64
    found = truncated_svd_summary(exact, min(max(rank, 0) + 1, least), method="svd" if fine else "gram")
    left = found.basis[:, :rank]
    right = left.T @ exact
    rounded_left, rounded_right = left.to(weight.dtype), right.to(weight.dtype)
    values = torch.cat([found.singular_values, torch.zeros_like(found.singular_values[:1])])[: rank + 1]
    unit = sum(weight.shape) * torch.finfo(torch.float64).eps
    largest = values[0]
    missed = (values if fine else (values.square() + unit * largest.square()).sqrt()) + unit * largest
    bent = _grown((left - rounded_left.double()).square().sum(0))
    moved = _grown((right - rounded_right.double()).square().sum(1))
    bound = missed + bent * (largest + unit * largest) + (1 + bent) * moved
    return WeightFactors(rounded_left, rounded_right, tuple(bound.tolist()))


def _grown(squares: Tensor) -> Tensor:
    """Return the Frobenius norms of the first 0, 1, 2, ... columns from the squared norms of each."""
    return torch.cat(
        [torch.zeros_like(squares[:1]) if len(squares) else squares.new_zeros(1), squares.cumsum(0)]
    ).sqrt()
