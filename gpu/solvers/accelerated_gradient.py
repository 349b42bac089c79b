"""Codes of many signals by accelerated proximal gradient steps, each signal with its own momentum and its own stop."""

import torch
from torch import Tensor

from sparsetheory.gpu.solvers.coding_problem import CodingProblem

__all__ = ["accelerated_codes"]

# Steps between two looks at the duality gaps, each of which costs about two steps.
_PATIENCE = 10
# The step is this much below one over the curvature, whose eigenvalue is rounded.
_SAFE = 1.0 - 1e-6


def accelerated_codes(problem: CodingProblem, init: Tensor, max_iter: int) -> tuple[Tensor, Tensor]:
    """Step until the duality gap of each code is small.

    FISTA (Beck and Teboulle, 2009). The momentum of a code is forgotten when its last move points uphill
    (O'Donoghue and Candès, 2015). A step multiplies codes by the Gram matrix, or by the atoms and their transpose if
    those are cheaper: at least half as many features as atoms call for the former.

    Parameters
    ----------
    problem : CodingProblem
    init : Tensor of shape (n_samples, n_atoms)
        Where to start.
    max_iter : int
        Most steps per signal.

    Returns
    -------
    codes : Tensor of shape (n_samples, n_atoms)
    n_iter : Tensor of int64 of shape (n_samples,)
        Steps taken.
    """
    step = _SAFE / _curvature(problem.D)
    out, counts = init.clone(), torch.full(init.shape[:1], max_iter, device=init.device)
    place = torch.arange(init.shape[0], device=init.device)
    codes, point, momentum = init, init, torch.ones(init.shape[0], 1, dtype=init.dtype, device=init.device)
    for done_steps in range(0, max_iter + 1, _PATIENCE):
        solved = problem.is_solved(codes)
        if bool(solved.any()):
            out[place[solved]], counts[place[solved]] = codes[solved], done_steps
            left = ~solved
            problem, place = problem.rows(left), place[left]
            codes, point, momentum = codes[left], point[left], momentum[left]
        if not place.numel():
            return out, counts
        for _ in range(min(_PATIENCE, max_iter - done_steps)):
            codes, point, momentum = _step(problem, codes, point, momentum, step)
    out[place] = codes
    return out, counts


def _step(
    problem: CodingProblem, codes: Tensor, point: Tensor, momentum: Tensor, step: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the next codes, the point that they are extrapolated to, and the momentum."""
    moved = problem.shrink(torch.add(point, _descent(problem, point), alpha=step), step)
    move = moved - codes
    uphill = ((point - moved) * move).sum(-1, keepdim=True) > 0
    following = torch.where(uphill, 1.0, (1.0 + (1.0 + 4.0 * momentum.square()).sqrt()) / 2.0)
    weight = torch.where(uphill, 0.0, (momentum - 1.0) / following)
    return moved, torch.addcmul(moved, weight, move), following


def _descent(problem: CodingProblem, point: Tensor) -> Tensor:
    """Return the negative gradient of half the squared residual."""
    n_atoms, n_features = problem.D.shape
    if n_atoms < 2 * n_features:
        return torch.addmm(problem.correlations, point, problem.gram, alpha=-1)
    return torch.addmm(problem.X, point, problem.D, alpha=-1) @ problem.D.T


def _curvature(D: Tensor) -> float:
    """Return the largest eigenvalue of the Gram matrix, from the smaller of the two products."""
    small = D if D.shape[0] <= D.shape[1] else D.T
    return float(torch.linalg.eigvalsh((small @ small.T).double())[-1])
