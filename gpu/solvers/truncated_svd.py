"""Truncated singular value decompositions of many matrices, with two-sided bounds on what truncation loses."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, SIZE, Choice, generator
from sparsetheory.gpu.solvers.arguments import finite_tensor
from sparsetheory.lowrank import ErrorInterval
from sparsetheory.lowrank.spectra import gram_floor

__all__ = ["SVDSummary", "truncated_svd_summary"]


@dataclass(frozen=True, eq=False)
class SVDSummary:
    """The leading singular directions of matrices, and between which bounds their best rank-r errors lie.

    Attributes
    ----------
    basis : Tensor of shape (..., m, k)
        Orthonormal columns, the leading left singular vectors, in the dtype of the matrices; k is `rank`, or more for a
        range finder.
    singular_values : Tensor of float64 of shape (..., k)
        Descending.
    rank : int
        The rank r of the bounds.
    lower, upper : Tensor of float64 of shape (...)
        Bounds on the squared Frobenius error of the best rank-r approximation, rounding included.
    energy : Tensor of float64 of shape (...)
        Squared Frobenius norms.
    """

    basis: Tensor
    singular_values: Tensor
    rank: int
    lower: Tensor
    upper: Tensor
    energy: Tensor

    def relative(self) -> tuple[Tensor, Tensor]:
        """Return bounds on the relative errors, which are not squared; zero for matrices of zeros."""
        safe = torch.where(self.energy > 0, self.energy, 1.0)
        return (self.lower / safe).sqrt(), (self.upper / safe).sqrt()


def truncated_svd_summary(
    X: Tensor,
    rank: int,
    *,
    method: str = "auto",
    oversampling: int = 5,
    n_power: int = 1,
    random_state: Any = None,
) -> SVDSummary:
    """Find leading singular directions of each matrix of a batch, and bound the error of the best approximation.

    Parameters
    ----------
    X : Tensor of shape (..., m, n)
        Matrices; computed in double precision, where their entries are exact.
    rank : int
        Directions to keep, r.
    method : {"auto", "gram", "svd", "range_finder"}
        "gram" takes the eigenvalues of the smaller Gram matrix, which resolve relative errors above about 1e-6. "svd"
        decomposes the matrix. "auto" does the former, and the latter where it is needed. "range_finder" projects on a
        random sketch of the columns: its bounds hold for every draw, and how far they are apart says how good it is.
    oversampling, n_power : int
        Directions beyond `rank`, and power steps, of the range finder.
    random_state : None, int, RandomState or Generator
        Seed of the sketch, drawn on the CPU; all matrices share it.

    Returns
    -------
    SVDSummary

    Raises
    ------
    TypeError
        If `X` is not a tensor of floating-point numbers.
    ValueError
        If it has fewer than two axes or is not finite, or a number is out of range.

    See Also
    --------
    sparsetheory.lowrank.block_svd_error, sparsetheory.lowrank.range_finder_summary : The same on arrays.

    Notes
    -----
    O(m n min(m, n)) operations per matrix for exact methods, O(m n (rank + oversampling)) per power step for the range
    finder. With B the part of a matrix inside the sketch and R the rest,
    ``E_r(B)^2 <= E_r^2 <= E_r(B)^2 + |R|^2``.

    Examples
    --------
    >>> import torch
    >>> found = truncated_svd_summary(torch.diag(torch.tensor([3.0, 2.0, 1.0])), 1)
    >>> found.singular_values, bool(found.lower <= 5.0 <= found.upper)
    (tensor([3.], dtype=torch.float64), True)
    """
    matrices = finite_tensor("X", X, least_axes=2).double()
    COUNT.check("rank", rank)
    SIZE.require(oversampling=oversampling, n_power=n_power)
    Choice("auto", "gram", "svd", "range_finder").check("method", method)
    batch, (m, n) = matrices.shape[:-2], matrices.shape[-2:]
    if not m or not n:
        raise ValueError(f"X must hold matrices with rows and columns; got shape {tuple(X.shape)}")
    flat = matrices.reshape(-1, m, n)
    energy = flat.square().sum((1, 2))
    if method == "range_finder":
        found = _sketched(flat, rank, min(rank + oversampling, m, n), n_power, random_state)
    else:
        found = _exact(flat, energy, rank, method)
    lower, upper = found.bounds(energy, (m, n), rank).to(X.device)
    return SVDSummary(
        found.basis.to(X.dtype).reshape(*batch, *found.basis.shape[1:]),
        found.values.reshape(*batch, found.values.shape[1]),
        rank,
        lower.reshape(batch),
        upper.reshape(batch),
        energy.reshape(batch),
    )


@dataclass
class _Found:
    """Directions and singular values of each matrix, two tails of squares, and whether a Gram matrix squared them."""

    basis: Tensor
    values: Tensor
    lower: Tensor
    upper: Tensor
    squared: Tensor

    def bounds(self, energy: Tensor, shape: tuple[int, int], rank: int) -> Tensor:
        """Return both ends of the interval of each matrix, widened by what rounding may have done."""
        if rank >= min(shape):
            return torch.zeros(2, energy.shape[0], dtype=torch.float64)
        numbers = zip(*(x.tolist() for x in (self.lower, self.upper, energy, self.squared)), strict=True)
        ends = [
            (ErrorInterval.from_bounds if squared else ErrorInterval.from_tails)(low, high, total, shape, "exact")
            for low, high, total, squared in numbers
        ]
        return torch.tensor([[end.lower for end in ends], [end.upper for end in ends]], dtype=torch.float64)


def _exact(flat: Tensor, energy: Tensor, rank: int, method: str) -> _Found:
    shape = flat.shape[-2:]
    if method == "svd":
        return _decomposed(flat, rank)
    found = _by_gram(flat, rank)
    coarse = found.upper <= gram_floor(*shape) * energy
    if method == "auto" and rank < min(shape) and bool(coarse.any()):
        fine = _decomposed(flat[coarse], rank)
        for name in ("basis", "values", "lower", "upper", "squared"):
            getattr(found, name)[coarse] = getattr(fine, name)
    return found


def _decomposed(flat: Tensor, rank: int) -> _Found:
    left, values, _ = torch.linalg.svd(flat, full_matrices=False)
    tail = values[:, rank:].square().sum(1)
    return _Found(left[:, :, :rank].contiguous(), values[:, :rank].clone(), tail, tail, torch.zeros_like(tail) > 0)


def _by_gram(flat: Tensor, rank: int) -> _Found:
    """Decompose the smaller Gram matrix; of wide ones its eigenvectors are the left singular vectors."""
    tall = flat.shape[1] > flat.shape[2]
    squares, vectors = torch.linalg.eigh(flat.mT @ flat if tall else flat @ flat.mT)
    squares, vectors = squares.flip(1).clamp(min=0.0), vectors.flip(2)[:, :, :rank]
    # Left singular vectors from right ones are images, made orthonormal again where rounding bent them.
    basis = _orthonormal(flat @ vectors) if tall else vectors.contiguous()
    tail = squares[:, rank:].sum(1)
    return _Found(basis, squares[:, :rank].sqrt(), tail, tail.clone(), torch.ones_like(tail) > 0)


def _sketched(flat: Tensor, rank: int, size: int, n_power: int, random_state: Any) -> _Found:
    """Project on the range of a random sketch, sharpened by power steps."""
    drawn = generator(random_state).standard_normal((flat.shape[2], size))
    basis = _orthonormal(flat @ torch.from_numpy(drawn).to(flat.device))
    for _ in range(n_power):
        basis = _orthonormal(flat @ (flat.mT @ basis))
    inside = basis.mT @ flat
    rotation, values, _ = torch.linalg.svd(inside, full_matrices=False)
    missed = (flat - basis @ inside).square().sum((1, 2))
    lower = values[:, rank:].square().sum(1)
    return _Found(basis @ rotation, values, lower, lower + missed, torch.zeros_like(missed) > 0)


def _orthonormal(columns: Tensor) -> Tensor:
    return torch.linalg.qr(columns).Q
