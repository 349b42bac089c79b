"""Backward elimination: remove weights one by one, each time the one whose removal costs least."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.weights.layerwise.search.greedy import greedy_passes
from sparsetheory.gpu.weights.layerwise.search.problem import Problem

__all__ = ["Elimination", "backward_elimination"]


@dataclass(frozen=True)
class Elimination:
    """What a backward elimination leaves, and what it cost.

    Parameters
    ----------
    weight : Tensor of shape (out, in)
        Coefficients, zero outside the mask: the least-squares fit on it.
    mask : Tensor of bool, of shape (out, in)
        Kept entries.
    objective : Tensor of shape (out,)
        ``(w - s)' H (w - s)`` of every row, computed from the weights.
    increments : Tensor of shape (blocks, steps)
        Rise of the objective with every removal, by blocks of rows that share a mask; NaN after the last removal.
    order : Tensor of shape (blocks, steps)
        Columns as they were removed, int64; -1 after the last removal.
    """

    weight: Tensor
    mask: Tensor
    objective: Tensor
    increments: Tensor
    order: Tensor


def backward_elimination(W: Tensor, H: Tensor, pattern: Pattern, *, n_jobs: int | None = 1) -> Elimination:
    """Remove weights one by one until the pattern holds, and fit the others anew after every removal.

    The weight of the least price ``s_j^2 / [(H_SS)^{-1}]_jj`` goes, the lowest column where prices tie, as long as its
    group has more than its quota. This is the exact greedy solver of OBC [1]_. With ``PerRow(0)`` rows are traced to
    the end; :func:`sparsetheory.gpu.core.allocate` shares a budget out over such traces.

    Parameters
    ----------
    W : Tensor of shape (out, in)
        Weights of the dense layer, float64.
    H : Tensor of shape (in, in)
        Gram matrix of the inputs with its damping, float64. Inputs of diagonal zero get weight zero. If it is singular
        to working precision, ``1e-10`` of its diagonal is added.
    pattern : NM, PerRow, RowBlock or BlockNM
        When to stop. For `RowBlock` all blocks are traced to the end, and the count is shared out by the convex hulls
        of their traces.
    n_jobs : int, optional
        Threads; results do not depend on it.

    Returns
    -------
    Elimination

    Raises
    ------
    TypeError
        If `W` or `H` is not a float64 tensor on the CPU.
    ValueError
        If shapes and pattern do not fit each other, or the pattern is not supported.
    RuntimeError
        If `H` is not positive semidefinite.

    Notes
    -----
    O(in^3) once and O(in steps^2 / 2) for each block of rows.

    References
    ----------
    .. [1] E. Frantar, S. P. Singh, D. Alistarh, "Optimal brain compression", NeurIPS 2022, arXiv:2208.11580.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import PerRow
    >>> W = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    >>> H = torch.tensor([[1.0, 0.5], [0.5, 4.0]], dtype=torch.float64)
    >>> found = backward_elimination(W, H, PerRow(0))
    >>> found.order.tolist(), found.increments.round(decimals=4).tolist()
    ([[0, 1]], [[0.9375, 5.0625]])
    """
    problem = Problem.of(W, H)
    found = greedy_passes(problem, pattern, n_jobs, forward=False)
    weight, mask = torch.from_numpy(found.weight), torch.from_numpy(found.inside)
    amounts, order = torch.from_numpy(found.amounts), torch.from_numpy(found.order)
    return Elimination(weight, mask, problem.objectives(weight), amounts, order)
