"""An independent check that no single swap lowers the objective: plain least squares for every mask one swap away."""

import math

import torch
from torch import Tensor

from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.weights.layerwise.search.layout import group_size
from sparsetheory.gpu.weights.layerwise.search.problem import Problem
from sparsetheory.gpu.weights.layerwise.search.sweeping import factor

__all__ = ["best_swap_gain"]


def best_swap_gain(w: Tensor, H: Tensor, mask: Tensor, pattern: Pattern) -> float:
    """Return by how much the best single swap lowers the least-squares objective on a mask.

    Nothing of the search is used: each kept column is left out in turn, the rest is factorised afresh by Cholesky, and
    the factor is bordered by each column that may take the place. O(kept) factorisations, O(kept^4) together.

    Parameters
    ----------
    w : Tensor of shape (in,) or (rows, in)
        One row of the dense layer, or rows that share the mask; float64.
    H : Tensor of shape (in, in)
        Gram matrix of the inputs with its damping, float64.
    mask : Tensor of bool, of the shape of `w`
        Kept weights, the same in all rows.
    pattern : NM, PerRow, RowBlock or BlockNM
        Which swaps are allowed: within a group, or within the row.

    Returns
    -------
    float
        At most zero, up to rounding, if and only if no swap helps; minus infinity if there is no swap.

    Raises
    ------
    ValueError
        If shapes do not fit, or the pattern is not supported.
    RuntimeError
        If `H` is not positive semidefinite.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import PerRow
    >>> w, H = torch.ones(2, dtype=torch.float64), torch.tensor([[1.0, 0.5], [0.5, 4.0]], dtype=torch.float64)
    >>> best_swap_gain(w, H, torch.tensor([True, False]), PerRow(1))
    2.8125
    """
    problem = Problem.of(w.reshape(-1, w.shape[-1]), H)
    rows = mask.reshape(-1, w.shape[-1])
    if mask.shape != w.shape or bool((rows != rows[0]).any()):
        raise ValueError(f"mask must have shape {tuple(w.shape)} and equal rows; got shape {tuple(mask.shape)}")
    mask = rows[0]
    m, kept, best = group_size(pattern, mask.numel()), mask.nonzero()[:, 0], -math.inf
    explained = _explained(problem, kept)[0]
    for j in kept.tolist():
        first = j // m * m
        others = first + (~mask[first : first + m]).nonzero()[:, 0]
        if len(others):
            rest = kept[kept != j]
            energy, lower, halfway = _explained(problem, rest)
            best = max(best, energy - explained + _best_entry(problem, rest, others, lower, halfway))
    return best


def _explained(problem: Problem, index: Tensor) -> tuple[float, Tensor, Tensor]:
    """Return what the fit on some columns explains, the factor of their block, and L^{-1} b."""
    lower = factor(problem.H[index][:, index])
    halfway = torch.linalg.solve_triangular(lower, problem.b[:, index].mT, upper=False)
    return float(halfway.square().sum()), lower, halfway


def _best_entry(problem: Problem, index: Tensor, others: Tensor, lower: Tensor, halfway: Tensor) -> float:
    """Return how much more is explained when the best of the other columns enters."""
    column = torch.linalg.solve_triangular(lower, problem.H[index][:, others], upper=False)
    left = problem.H.diagonal()[others] - column.square().sum(0)
    correlations = problem.b[:, others].mT - column.mT @ halfway
    usable = left > 1e-12 * problem.H.diagonal()[others]
    gains = correlations.square().sum(1)[usable] / left[usable]
    return float(gains.max()) if len(gains) else -math.inf
