"""Forward selection: let weights enter one by one, each time the one that lowers the error most."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.weights.layerwise.search.greedy import greedy_passes
from sparsetheory.gpu.weights.layerwise.search.problem import Problem

__all__ = ["Selection", "forward_selection"]


@dataclass(frozen=True)
class Selection:
    """What a forward selection has chosen, and what it gained.

    Parameters
    ----------
    weight : Tensor of shape (out, in)
        Coefficients, zero outside the mask: the least-squares fit on it.
    mask : Tensor of bool, of shape (out, in)
        Kept entries.
    objective : Tensor of shape (out,)
        ``(w - s)' H (w - s)`` of every row, computed from the weights.
    decrements : Tensor of shape (blocks, steps)
        Fall of the objective with every entry, by blocks of rows that share a mask; NaN after the last one.
    order : Tensor of shape (blocks, steps)
        Columns as they entered, int64; -1 after the last one.
    """

    weight: Tensor
    mask: Tensor
    objective: Tensor
    decrements: Tensor
    order: Tensor


def forward_selection(W: Tensor, H: Tensor, pattern: Pattern, *, n_jobs: int | None = 1) -> Selection:
    """Let weights enter one by one until the pattern is full, and fit all of them anew after every entry.

    The column enters whose entry lowers ``(w - s)' H (w - s)`` most, the lowest one where they tie, as long as its
    group has room: orthogonal least squares [1]_ with quotas. Where half of a row is kept, searches that start from all
    weights do better; this one is a baseline and a start for very sparse rows.

    Parameters
    ----------
    W : Tensor of shape (out, in)
        Weights of the dense layer, float64.
    H : Tensor of shape (in, in)
        Gram matrix of the inputs with its damping, float64. Inputs of diagonal zero get weight zero, and so do columns
        that those before them determine.
    pattern : NM, PerRow, RowBlock or BlockNM
        When to stop. For `RowBlock` all blocks are traced to the end, and the count is shared out by the convex hulls
        of their traces.
    n_jobs : int, optional
        Threads; results do not depend on it.

    Returns
    -------
    Selection

    Raises
    ------
    TypeError
        If `W` or `H` is not a float64 tensor on the CPU.
    ValueError
        If shapes and pattern do not fit each other, or the pattern is not supported.

    Notes
    -----
    O(in steps^2 / 2) for each block of rows.

    References
    ----------
    .. [1] S. Chen, S. A. Billings, W. Luo, "Orthogonal least squares methods and their application to non-linear
       system identification", International Journal of Control 50, 1989.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import PerRow
    >>> W = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    >>> H = torch.tensor([[1.0, 0.5], [0.5, 4.0]], dtype=torch.float64)
    >>> found = forward_selection(W, H, PerRow(1))
    >>> found.weight.tolist(), found.decrements.tolist(), found.objective.tolist()
    ([[0.0, 1.125]], [[5.0625]], [0.9375])
    """
    problem = Problem.of(W, H)
    found = greedy_passes(problem, pattern, n_jobs, forward=True)
    weight, mask = torch.from_numpy(found.weight), torch.from_numpy(found.inside)
    amounts, order = torch.from_numpy(found.amounts), torch.from_numpy(found.order)
    return Selection(weight, mask, problem.objectives(weight), amounts, order)
