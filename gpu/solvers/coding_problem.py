"""What the coders of a convex penalty share: the problem in one precision, its objective and its duality gap."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sparsetheory.penalties import Penalty

__all__ = ["CodingProblem", "duality_gaps", "objectives"]

# Roundings of the largest correlation that a gap may consist of.
_ROUNDINGS = 16


@dataclass(frozen=True, eq=False)
class CodingProblem:
    """Signals and atoms, and a penalty ``slope |c| + ridge c^2 / 2``, in the precision of the coder.

    Attributes
    ----------
    X : Tensor of shape (n_samples, n_features)
    D : Tensor of shape (n_atoms, n_features)
    slope, ridge : float
        Strengths of the l1 norm and of half the square.
    positive : bool
        Whether codes must not be negative.
    tol : Tensor of shape (n_samples,)
        Largest duality gap of each signal, relative to the objective.
    gram : Tensor of shape (n_atoms, n_atoms)
        ``D @ D.T``.
    """

    X: Tensor
    D: Tensor
    slope: float
    ridge: float
    positive: bool
    tol: Tensor
    gram: Tensor

    @classmethod
    def of(cls, X: Tensor, D: Tensor, penalty: Penalty, tol: float, gram: Tensor | None) -> "CodingProblem":
        """Return the problem of a convex penalty.

        Rounding errors of correlations, as a share of the slope of the penalty, are gaps that no code can avoid.
        """
        slope, ridge = penalty.alpha * penalty.l1_part, penalty.alpha * (1.0 - penalty.l1_part)
        gram = D @ D.T if gram is None else gram.to(D.dtype)
        largest = (X @ D.T).abs().amax(1)
        tolerances = (_ROUNDINGS * torch.finfo(X.dtype).eps / slope * largest).clamp(min=tol)
        return cls(X, D, slope, ridge, penalty.positive, tolerances, gram)

    @cached_property
    def correlations(self) -> Tensor:
        """Products of all signals with all atoms."""
        return self.X @ self.D.T

    def rows(self, which: Tensor) -> "CodingProblem":
        """Return the problem of some signals."""
        return replace(self, X=self.X[which], tol=self.tol[which])

    def doubled(self) -> "CodingProblem":
        """Return the same problem in double precision."""
        X, D = self.X.double(), self.D.double()
        return replace(self, X=X, D=D, gram=D @ D.T)

    def shrink(self, points: Tensor, step: float) -> Tensor:
        """Apply the proximal operator of the penalty."""
        if self.positive:
            shrunk = (points - step * self.slope).clamp_(min=0.0)
        else:
            shrunk = torch.nn.functional.softshrink(points, step * self.slope)
        return shrunk.div_(1.0 + step * self.ridge) if self.ridge else shrunk

    def pull(self, correlations: Tensor) -> Tensor:
        """Return how hard correlations pull entries away from zero."""
        return correlations if self.positive else correlations.abs()

    def is_solved(self, codes: Tensor) -> Tensor:
        """Say which codes have a duality gap of at most `tol` times their objective."""
        return duality_gaps(self, codes) <= self.tol * objectives(self, codes)


def objectives(problem: CodingProblem, codes: Tensor) -> Tensor:
    """Return half the squared residual plus the penalty of each code, in double precision."""
    C = codes.double()
    residual = problem.X.double() - C @ problem.D.double()
    penalty = problem.slope * C.abs().sum(-1) + 0.5 * problem.ridge * C.square().sum(-1)
    return 0.5 * residual.square().sum(-1) + penalty


def duality_gaps(problem: CodingProblem, codes: Tensor) -> Tensor:
    """Return an upper bound on the objective of each code minus the minimum, in double precision.

    The bound of :func:`sparsetheory.coding.duality_gap`, where it is derived: all terms are at least zero, so that
    small gaps are not lost in cancellation. Infinite for negative entries that must not be.
    """
    C, D, slope = codes.double(), problem.D.double(), problem.slope
    residual = problem.X.double() - C @ D
    correlations, square = residual @ D.T, residual.square().sum(-1)
    if problem.ridge:
        # The square of an elastic net is the squared residual of more samples, where the signal is zero.
        correlations -= problem.ridge * C
        square = square + problem.ridge * C.square().sum(-1)
    largest = problem.pull(correlations).amax(-1)
    most = torch.where(largest > 0, slope / largest, torch.inf)
    best = 1.0 + torch.where(square > 0, (C * correlations).sum(-1) / square, 0.0)
    scale = torch.minimum(torch.maximum(best, torch.zeros_like(most) if problem.positive else -most), most)
    slack = (slope - scale.unsqueeze(-1) * C.sign() * correlations).clamp_(min=0.0)
    gaps = 0.5 * (1.0 - scale).square() * square + (C.abs() * slack).sum(-1)
    return torch.where((C < 0).any(-1), torch.inf, gaps) if problem.positive else gaps
