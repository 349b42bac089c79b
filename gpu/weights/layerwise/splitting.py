"""What the methods of alternating directions share: one scale for all inputs, and one step.

With d for the square roots of the diagonal of a Gram matrix H, rows w are replaced by ``w d``, and H by
``H / (d d')``, whose diagonal is 1. The objective ``(b - b0)' H (b - b0)`` is the same, and its zeros too. A step for
``min (b - b0)' H (b - b0) / 2`` subject to b = D and D in the pattern, with multipliers V and weight rho, is

    B = (b0 H - V + rho D) inv(H + rho I),   D = projection of B + V / rho,   V = V + rho (B - D).

With ``T = B + V / rho`` the last two read D = T where it is kept, and V = rho T where it is not. Squares are the scores
of the projection, since what a set of positions shares in a pattern of blocks is judged by its energy.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.core.patterns import Pattern

__all__ = ["Scaled", "Split", "scaled"]

# Added to d, as published. It matters only for inputs whose root mean square is not much larger.
_LEAST = 1e-8


@dataclass(frozen=True, eq=False)
class Scaled:
    """A problem in normalised coordinates: `start` is ``W d``, `target` is ``start H``."""

    H: Tensor
    d: Tensor
    start: Tensor
    target: Tensor


def scaled(W: Tensor, H: Tensor, *, least: float = _LEAST) -> Scaled:
    """Return the problem of a weight matrix of shape (out, features) and a Gram matrix in normalised coordinates.

    What is published adds `least` to d. With 0 instead, the unit of the inputs has no say.
    """
    d = H.diagonal().sqrt() + least
    scale = torch.where(d > 0, d, 1.0)
    unit, start = H / scale / scale[:, None], W * d
    return Scaled(unit, d, start, start @ unit)


@dataclass(eq=False)
class Split:
    """The variables B, D and V of alternating directions, and where D is kept."""

    B: Tensor
    D: Tensor
    V: Tensor
    kept: Tensor

    @classmethod
    def begin(cls, problem: Scaled, pattern: Pattern) -> "Split":
        """Return D = projection of the dense weights, V = 0."""
        kept = pattern.mask(problem.start.square(), name="W")
        return cls(problem.start, problem.start * kept, torch.zeros_like(problem.start), kept)

    def solve(self, problem: Scaled, inverse: Tensor, rho: float) -> None:
        """Update B; `inverse` is ``inv(H + rho I)``."""
        self.B = torch.add(problem.target, self.D, alpha=rho).sub_(self.V) @ inverse

    def project(self, pattern: Pattern, rho: float) -> None:
        """Update D and V."""
        T = torch.add(self.B, self.V, alpha=1.0 / rho)
        self.kept = pattern.mask(T.square(), name="W")
        self.D = T * self.kept
        self.V = (T - self.D).mul_(rho)
