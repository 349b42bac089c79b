"""Exchanges of single columns that lower sparse least squares with weights that are not negative."""

import torch
from torch import Tensor

from sparsetheory.gpu.solvers.arguments import in_memory_chunks
from sparsetheory.gpu.solvers.nonnegative import batched_nnls
from sparsetheory.gpu.solvers.nonnegative_compiled import compiled_swaps
from sparsetheory.gpu.solvers.restricted import packed

__all__ = ["batched_swaps", "swap_nonnegative"]

# Rounds of exchanges; one or two are enough nearly always.
_ROUNDS = 20
# An exchange must lower the objective by more than this share of the largest diagonal entry: less is rounding.
_LEAST_GAIN = 1e-14


def swap_nonnegative(grams: Tensor, rows: Tensor, x: Tensor, n_nonzero: int, *, sum_to_one: bool) -> Tensor:
    """Exchange one column for another one, with all weights fitted again, while that lowers the objective of a target.

    Parameters
    ----------
    grams : Tensor of float64 of shape (n_targets, n, n)
    rows : Tensor of float64 of shape (n_targets, n)
    x : Tensor of float64 of shape (n_targets, n)
        Weights to start at, with at most `n_nonzero` nonzeros in each row.
    n_nonzero : int
    sum_to_one : bool

    Returns
    -------
    Tensor of float64 of shape (n_targets, n)
        No weights whose support differs in one column from that of a row are better, unless 20 rounds were not enough.

    Notes
    -----
    Each round fits at most ``n_nonzero * n`` small problems per target. A processor passes over columns that cannot
    lower the objective beside the others.
    """
    if x.device.type == "cpu":
        return compiled_swaps(grams, rows, x, n_nonzero, sum_to_one=sum_to_one)
    return batched_swaps(grams, rows, x, n_nonzero, sum_to_one=sum_to_one)


def batched_swaps(grams: Tensor, rows: Tensor, x: Tensor, n_nonzero: int, *, sum_to_one: bool) -> Tensor:
    """Do what :func:`swap_nonnegative` does on any device, with all exchanges of many targets together."""
    x = x.clone()
    left = torch.arange(len(x), device=x.device)
    for _ in range(_ROUNDS):
        improved = torch.zeros(len(left), dtype=torch.bool, device=x.device)
        each = 4 * n_nonzero**3 * x.shape[1] * x.element_size()
        for part in in_memory_chunks(len(left), each, x.device):
            at = left[part]
            x[at], improved[part] = _best_exchange(grams[at], rows[at], x[at], n_nonzero, sum_to_one)
        left = left[improved]
        if not left.numel():
            break
    return x


def _best_exchange(gram: Tensor, rows: Tensor, x: Tensor, n_nonzero: int, sum_to_one: bool) -> tuple[Tensor, Tensor]:
    """Return the weights after the best exchange of each target, or as they were, and whether there was one."""
    (size, n), slots = x.shape, torch.eye(n_nonzero, dtype=torch.bool, device=x.device)
    index, valid = packed(x > 0, n_nonzero)
    # Spare places repeat the first column, so that what is tried does not depend on which others would fill them up.
    index = torch.where(valid, index, index[:, :1])
    # Every slot of the support, with every column in its place. A column that is in twice comes in once.
    columns = torch.arange(n, device=x.device).view(1, 1, n, 1)
    sets = torch.where(slots.view(1, n_nonzero, 1, n_nonzero), columns, index.view(size, 1, 1, n_nonzero)).flatten(1, 2)
    flat = sets.flatten(1)
    small = gram.gather(1, flat.unsqueeze(2).expand(-1, -1, n)).view(size, -1, n_nonzero, n)
    small = small.gather(3, sets.unsqueeze(2).expand(-1, -1, n_nonzero, -1)).flatten(0, 1)
    targets = rows.gather(1, flat).view(-1, n_nonzero)
    found, _ = batched_nnls(small, targets, n_nonzero, sum_to_one=sum_to_one)
    values = _objective(small, targets, found).view(size, -1)
    value, which = values.min(1)
    better = value < _objective(gram, rows, x) - _LEAST_GAIN * gram.diagonal(dim1=1, dim2=2).amax(1)
    chosen = sets[torch.arange(size, device=x.device), which]
    weights = found.view(size, -1, n_nonzero)[torch.arange(size, device=x.device), which]
    exchanged = torch.zeros_like(x).scatter_add(1, chosen, weights)
    return torch.where(better.unsqueeze(1), exchanged, x), better


def _objective(gram: Tensor, rows: Tensor, x: Tensor) -> Tensor:
    return (x * ((gram @ x.unsqueeze(2)).squeeze(2) / 2 - rows)).sum(-1)
