"""Codes of many signals by one active-set method, in lock step: exact once signs are right."""

import torch
from torch import Tensor

from sparsetheory.gpu.solvers.arguments import in_memory_chunks
from sparsetheory.gpu.solvers.coding_problem import CodingProblem
from sparsetheory.gpu.solvers.restricted import packed, submatrices

__all__ = ["signed_codes"]

# Entries enter together within this fraction of the largest excess.
_FRACTION = 0.7


def signed_codes(
    problem: CodingProblem, init: Tensor, max_iter: int, most_active: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the support and signs of every code, and solve for its entries.

    A feature-sign search (Lee, Battle, Raina and Ng, 2007) in rounds that all signals take together. Whoever is optimal
    for its signs looks for atoms at zero that are pulled by more than the slope of the penalty; they enter in a block
    with the signs of their pulls. Then everyone solves the least-squares problem of its active atoms and signs. If
    entries change sign on the way there, the code moves to the best of the points where one does, and entries at zero
    leave. If entries that just entered would leave in the wrong direction, they are taken out again: the pulls p of the
    new ones and the move d satisfy ``p d > 0`` together, so at least one of them stays. The objective decreases
    strictly with every move, so that no set of signs comes twice.

    Parameters
    ----------
    problem : CodingProblem
    init : Tensor of shape (n_samples, n_atoms)
        Where to start.
    max_iter : int
        Most rounds.
    most_active : int, optional
        Codes that want more active atoms than this are left as they are.

    Returns
    -------
    codes : Tensor of shape (n_samples, n_atoms)
    n_iter : Tensor of int64 of shape (n_samples,)
        Rounds taken.
    done : Tensor of bool of shape (n_samples,)
        Whether the search ended; it does not where active atoms depend on each other or are too many, or after
        `max_iter` rounds.
    """
    out, done = init.clone(), torch.zeros(init.shape[0], dtype=torch.bool, device=init.device)
    counts = torch.full(init.shape[:1], max_iter, device=init.device)
    search = _Search(problem, init)
    for round_ in range(max_iter):
        solved = search.enter()
        if most_active is not None:
            search.stuck |= ~solved & ((search.signs != 0).sum(-1) > most_active)
        ended = solved | search.stuck
        if bool(ended.any()):
            place = search.place[ended]
            out[place], done[place], counts[place] = search.codes[ended], solved[ended], round_
            search.keep(~ended)
        if not search.place.numel():
            return out, counts, done
        search.move()
    out[search.place] = search.codes
    return out, counts, done


class _Search:
    """Codes that are still searched for; `signs` is zero outside the active atoms."""

    def __init__(self, problem: CodingProblem, init: Tensor) -> None:
        self.problem = problem
        eye = torch.eye(problem.gram.shape[0], dtype=init.dtype, device=init.device)
        self.gram = problem.gram + problem.ridge * eye if problem.ridge else problem.gram
        self.correlations = problem.correlations
        self.place = torch.arange(init.shape[0], device=init.device)
        self.codes, self.signs = init.clone(), init.sign()
        # Whether a code is optimal for its signs; a code of zeros is.
        self.settled = ~(init != 0).any(-1)
        self.stuck = torch.zeros_like(self.settled)
        # Violations of a share v of the slope leave a relative gap of at most 2 v.
        self.allowed = problem.slope * problem.tol / 2

    def keep(self, rows: Tensor) -> None:
        """Forget the other codes."""
        for name in ("correlations", "place", "codes", "signs", "settled", "stuck", "allowed"):
            setattr(self, name, getattr(self, name)[rows])

    def enter(self) -> Tensor:
        """Let atoms enter settled codes; return which codes need none."""
        rows = self.settled.nonzero().squeeze(1)
        solved = torch.zeros_like(self.settled)
        if not rows.numel():
            return solved
        signs = self.signs[rows]
        left = torch.addmm(self.correlations[rows], self.codes[rows], self.gram, alpha=-1)
        excess = torch.where(signs == 0, self.problem.pull(left) - self.problem.slope, -torch.inf)
        worst = excess.amax(-1)
        good = worst <= self.allowed[rows]
        solved[rows] = good
        entering = (excess >= _FRACTION * worst.unsqueeze(1)) & ~good.unsqueeze(1)
        self.signs[rows] = torch.where(entering, left.sign(), signs)
        return solved

    def move(self) -> None:
        """Solve on the active atoms of all codes, a few codes of similar numbers at a time."""
        sizes = (self.signs != 0).sum(-1)
        order = sizes.argsort()
        most = int(sizes.max())
        for part in in_memory_chunks(order.numel(), 4 * most * most * self.codes.element_size(), self.codes.device):
            self._move_some(order[part], int(sizes[order[part]].max()))

    def _move_some(self, rows: Tensor, size: int) -> None:
        index, valid = packed(self.signs[rows] != 0, size)
        codes, signs = (values[rows].gather(1, index) * valid for values in (self.codes, self.signs))
        active = submatrices(self.gram, index, valid)
        target = (self.correlations[rows].gather(1, index) - self.problem.slope * signs) * valid
        factor, failed = torch.linalg.cholesky_ex(active)
        pivots, scales = factor.diagonal(dim1=-2, dim2=-1), active.diagonal(dim1=-2, dim2=-1)
        dependent = (failed > 0) | ~(pivots.square() > torch.finfo(codes.dtype).eps ** 0.5 * scales).all(-1)
        solution = torch.cholesky_solve(target.unsqueeze(-1), factor).squeeze(-1)
        new = valid & (codes == 0)
        wrong = new & (solution * signs <= 0) & ~dependent.unsqueeze(1)
        # Atoms that depend on each other enter one by one; whoever depends on those that are in ends the search.
        several = dependent & (new.sum(-1) > 1)
        wrong |= several.unsqueeze(1) & new & (new.cumsum(-1) > 1)
        waits = wrong.any(-1) | dependent
        moved, settled = self._searched(codes, solution, active, target + self.problem.slope * signs, valid)
        moved = torch.where(waits.unsqueeze(1), codes, moved)
        kept = torch.where(waits.unsqueeze(1), torch.where(wrong, 0.0, signs), moved.sign())
        self.stuck[rows], self.settled[rows] = dependent & ~several, settled & ~waits
        for values, found in ((self.codes, moved), (self.signs, kept)):
            values[rows] = values[rows].scatter(1, index, found)

    def _searched(
        self, codes: Tensor, solution: Tensor, active: Tensor, target: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the best points on the way to the solutions, and which of them are the solutions themselves."""
        crossing = valid & (codes != 0) & (codes * solution <= 0)
        settled = ~crossing.any(-1)
        rows = (~settled).nonzero().squeeze(1)
        if not rows.numel():
            return solution, settled
        start, move = codes[rows], solution[rows] - codes[rows]
        # Where each entry is zero on the way; the end of the way stands for entries that never are.
        reached = torch.where(crossing[rows], start / (start - solution[rows]), 1.0)
        if self.problem.positive:
            best = reached.argmin(-1, keepdim=True)
        else:
            curvature = torch.einsum("ni,nij,nj->n", move, active[rows], move)
            slope = ((target[rows] - torch.einsum("nij,nj->ni", active[rows], start)) * move).sum(-1)
            places = torch.cat([reached, torch.ones_like(reached[:, :1])], -1)
            sizes = (start.unsqueeze(1) + places.unsqueeze(2) * move.unsqueeze(1)).abs().sum(-1)
            smooth = 0.5 * places.square() * curvature.unsqueeze(1) - places * slope.unsqueeze(1)
            best = (smooth + self.problem.slope * sizes).argmin(-1, keepdim=True)
            reached = places
        length = reached.gather(1, best)
        zero = (reached[:, : move.shape[1]] == length) & crossing[rows]
        moved = solution.clone()
        moved[rows] = torch.where(zero, 0.0, start + length * move)
        return moved, settled
