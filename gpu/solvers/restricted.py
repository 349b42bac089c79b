"""Least squares of many targets, each on columns of its own, from one Gram matrix."""

import torch
from torch import Tensor

from sparsetheory.gpu.solvers.arguments import in_memory_chunks

__all__ = ["packed", "restricted_least_squares", "submatrices"]


def packed(active: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the positions of the active entries of each row, filled up with others, and which of them are active."""
    found = torch.topk(active.to(torch.float32), size, dim=-1)
    return found.indices, found.values > 0


def restricted_least_squares(
    gram: Tensor, correlations: Tensor, support: Tensor, *, smallest: float | None = None
) -> Tensor:
    """Return the minimisers of ``s G s' / 2 - b s'`` over the rows s of given supports.

    Parameters
    ----------
    gram : Tensor of shape (n_features, n_features)
        Gram matrix that all targets share.
    correlations : Tensor of shape (n_targets, n_features)
        Of the columns with each target; in the dtype of `gram`.
    support : Tensor of bool of shape (n_targets, n_features)
    smallest : float, optional
        Squared pivot of a factorisation, relative to its diagonal entry, up to which columns count as dependent; by
        default what rounding errors may have made.

    Returns
    -------
    Tensor of shape (n_targets, n_features)
        Of least norm where columns of a support depend on each other.

    Notes
    -----
    One Cholesky factorisation of a k x k matrix per target; targets of similar k share a call.
    """
    out = torch.zeros_like(correlations)
    sizes = support.sum(-1)
    order = sizes.argsort()
    most = int(sizes.max()) if sizes.numel() else 0
    if not most:
        return out
    for part in in_memory_chunks(order.numel(), 4 * most * most * gram.element_size(), gram.device):
        rows = order[part]
        size = int(sizes[rows[-1]])
        if size:
            index, valid = packed(support[rows], size)
            target = correlations[rows].gather(1, index) * valid
            out[rows] = out[rows].scatter(1, index, _solved(submatrices(gram, index, valid), target, smallest))
    return out


def submatrices(gram: Tensor, index: Tensor, valid: Tensor) -> Tensor:
    """Return the Gram matrices of the active columns, with ones on the diagonal where rows are filled up."""
    both = valid.unsqueeze(1) & valid.unsqueeze(2)
    eye = torch.eye(index.shape[1], dtype=gram.dtype, device=gram.device)
    return torch.where(both, gram[index.unsqueeze(2), index.unsqueeze(1)], eye)


def _solved(active: Tensor, target: Tensor, smallest: float | None) -> Tensor:
    least = active.shape[-1] * torch.finfo(active.dtype).eps if smallest is None else smallest
    factor, failed = torch.linalg.cholesky_ex(active)
    pivots, scales = factor.diagonal(dim1=-2, dim2=-1).square(), active.diagonal(dim1=-2, dim2=-1)
    good = (failed == 0) & (pivots > least * scales).all(-1)
    solution = torch.cholesky_solve(target.unsqueeze(-1), factor).squeeze(-1)
    bad = (~good).nonzero().squeeze(1)
    if bad.numel():
        inverse = torch.linalg.pinv(active[bad], rtol=smallest, hermitian=True)
        solution[bad] = (inverse @ target[bad].unsqueeze(-1)).squeeze(-1)
    return solution
