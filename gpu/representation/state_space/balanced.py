"""Factors of the best approximation of a rank, made unique."""

import torch
from torch import Tensor

from sparsetheory.constraints import Integer
from sparsetheory.gpu.solvers.arguments import finite_tensor
from sparsetheory.gpu.solvers.truncated_svd import truncated_svd_summary

__all__ = ["balanced_factors", "fixed_signs", "nearest_shift"]

# Rounds of an alternation, and the relative change of a shift that ends it.
_MAX_ROUNDS, _LEAST_CHANGE = 100, 1e-12


def balanced_factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    r"""Return factors of the best approximation of a rank, as long as each other and with fixed signs.

    Parameters
    ----------
    matrix : Tensor of shape (n, m)
        Computed in double precision.
    rank : int
        From 1 to ``min(n, m)``.

    Returns
    -------
    U : Tensor of shape (n, rank)
        Left singular vectors times square roots of singular values. The largest entry in size of each column is
        positive.
    V : Tensor of shape (m, rank)
        ``U' U`` and ``V' V`` are both the diagonal matrix of the leading singular values. In the dtype of the matrix,
        without gradients.

    Raises
    ------
    TypeError, ValueError
        If it is no matrix of finite floating-point numbers, or the rank is out of range.

    Notes
    -----
    ``|U V' - matrix|_F^2`` is the sum of the squares of the other singular values, and nothing of that rank is nearer.
    Factors of equal singular values are unique up to a rotation only.

    Examples
    --------
    >>> import torch
    >>> U, V = balanced_factors(torch.diag(torch.tensor([-4.0, 1.0])), 1)
    >>> U.flatten(), V.flatten()
    (tensor([2., 0.]), tensor([-2., 0.]))
    """
    if finite_tensor("matrix", matrix).ndim != 2 or not matrix.numel():
        raise ValueError(f"matrix must have rows and columns; got shape {tuple(matrix.shape)}")
    Integer(1, min(matrix.shape)).check("rank", rank)
    found = truncated_svd_summary(matrix.detach().double(), rank, method="svd")
    lengths = found.singular_values.sqrt()
    right = (matrix.detach().double().mT @ found.basis) / torch.where(lengths > 0, lengths, 1.0)
    U, V = fixed_signs(found.basis * lengths, right)
    # Adding zero turns a negative zero into a positive one.
    return (U + 0.0).to(matrix.dtype), (V + 0.0).to(matrix.dtype)


def fixed_signs(U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Return factors of the same product, where the largest entry in size of each column of U is positive."""
    largest = U.gather(-2, U.detach().abs().argmax(-2, keepdim=True))
    signs = torch.where(largest.detach() < 0, -1.0, 1.0).to(U.dtype)
    return U * signs, V * signs


def nearest_shift(A: Tensor, rank: int) -> float:
    """Return the shift for which ``A + shift I`` is near a matrix of the rank: one that no single step improves.

    It takes the best matrix of low rank for a shift, and the best shift for that matrix, in turn, so the distance does
    not rise. The first shift is the mean of the diagonal of ``-A``. Each round is a singular value decomposition.
    """
    matrix = A.detach().double()
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    shift = -float(matrix.diagonal().mean())
    for _ in range(_MAX_ROUNDS):
        shifted = matrix + shift * eye
        basis = truncated_svd_summary(shifted, rank, method="svd").basis
        rest = shifted - basis @ (basis.mT @ shifted)
        before, shift = shift, shift - float(rest.diagonal().mean())
        if abs(shift - before) <= _LEAST_CHANGE * abs(shift):
            break
    return shift
