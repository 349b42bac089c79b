"""The best values on a given mask: least squares for each row, by batches of Cholesky factors."""

from typing import Any

import torch
from torch import Tensor

from sparsetheory.gpu.weights.pruned import check_gram, check_mask, check_weight

__all__ = ["refit"]

# Blocks of the Gram matrix that are gathered at a time; factors and workspace take as much again, twice.
_BYTES = 64 * 2**20
# A squared pivot, relative to a diagonal of 1, that rounding errors may have made.
_SMALLEST_PIVOT = 1e-12


def refit(W: Tensor, H: Any, mask: Tensor) -> Tensor:
    """Return the values on a mask that minimise ``tr (W - S) H (W - S)'``.

    For each row w with kept entries K and pruned entries P the minimiser is ``w_K + inv(H_KK) H_KP w_P``. Where the
    block ``H_KK`` is singular to working precision, the change that is smallest in normalised coordinates is taken,
    among those that minimise.

    Parameters
    ----------
    W : Tensor of shape (out, features)
        Dense weights of a layer, one row per output, in any floating-point precision.
    H : Tensor of shape (features, features), or Gram
        The Gram matrix of the objective, damped as the objective is. A positive factor changes nothing.
    mask : Tensor of shape (out, features)
        Which entries are kept; rows may keep different numbers.

    Returns
    -------
    Tensor of shape (out, features)
        In the precision of `W`; zero where nothing is kept, and for inputs that are always zero.

    Raises
    ------
    TypeError, ValueError
        If `W` is not a finite real matrix, `H` is not symmetric and finite, or shapes do not fit.

    Notes
    -----
    ``O(k**3)`` operations for a row that keeps k entries, in double precision. Memory beyond that of the arguments is
    about 200 MB, or a few blocks of k x k numbers if these are larger.

    Examples
    --------
    >>> import torch
    >>> H = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    >>> refit(torch.tensor([[1.0, 2.0]]), H, torch.tensor([[False, True]]))
    tensor([[0.0000, 2.5000]])
    """
    weight = check_weight(W)
    kept = check_mask(mask, weight)
    gram = check_gram(H, weight, name="H")
    d = gram.diagonal().sqrt()
    alive = d > 0
    d = torch.where(alive, d, 1.0)
    unit, kept = gram / d / d[:, None], kept & alive
    values = torch.where(alive, weight * d, 0.0)
    demand = (values * ~kept) @ unit
    counts = kept.sum(1)
    # Rows with similar counts go together, because a batch is as wide as its widest row.
    order = counts.argsort(stable=True)
    first = 0
    while first < len(order):
        rows = _next_rows(order[first:], counts)
        values[rows] = values[rows] * kept[rows] + _changes(unit, demand[rows], kept[rows])
        first += len(rows)
    return torch.where(kept, values / d, 0.0).to(W.dtype)


def _next_rows(order: Tensor, counts: Tensor) -> Tensor:
    """Return the first rows whose blocks fit into memory together, at least one."""
    widest = counts[order].double()
    total = 8.0 * widest**2 * torch.arange(1, len(order) + 1, device=order.device)
    return order[: max(int((total <= _BYTES).sum()), 1)]


def _changes(unit: Tensor, demand: Tensor, kept: Tensor) -> Tensor:
    """Solve ``unit[K, K] x = demand[K]`` for every row; entries that are not kept are zero."""
    widest = int(kept.sum(1).max())
    changes = torch.zeros_like(demand)
    if widest == 0:
        return changes
    # Kept positions first, in order; a row that keeps fewer is filled up with equations x = 0.
    present, where = kept.to(torch.int8).sort(dim=1, descending=True, stable=True)
    present, where = present[:, :widest].bool(), where[:, :widest]
    blocks = unit[where[:, :, None], where[:, None, :]]
    if not bool(present.all()):
        blocks *= present[:, :, None] & present[:, None, :]
        blocks.diagonal(dim1=1, dim2=2).masked_fill_(~present, 1.0)
    sides = demand.gather(1, where) * present
    lower, failed = torch.linalg.cholesky_ex(blocks)
    smallest = lower.diagonal(dim1=1, dim2=2).square().amin(1)
    singular = (failed != 0) | ~(smallest > _SMALLEST_PIVOT)
    if bool(singular.any()):
        lower[singular] = torch.eye(widest, dtype=lower.dtype, device=lower.device)
    solved = torch.cholesky_solve(sides[:, :, None], lower)[:, :, 0]
    for row in singular.nonzero()[:, 0].tolist():
        solved[row] = torch.linalg.pinv(blocks[row], rtol=_SMALLEST_PIVOT, hermitian=True) @ sides[row]
    return changes.scatter_(1, where, solved * present)
