"""Alternation between labels and bases: each is best for the other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from sparsetheory.gpu.representation.molrg.certificate import rounding_of

__all__ = ["Alternation", "SubspaceProblem"]


@dataclass
class Alternation:
    """Where an alternation stands."""

    bases: tuple[Tensor, ...]
    labels: Tensor
    halves: list[float]
    n_iter: int = 0
    converged: bool = False
    n_reseeds: int = 0

    @property
    def objective(self) -> float:
        """Squared norm of the scaled points within their subspaces."""
        return self.halves[-1]


@dataclass
class SubspaceProblem:
    """Points in working precision, and the dimensions of the subspaces.

    Parameters
    ----------
    points : Tensor of shape (n_samples, n_features)
        Scaled by a power of two so that their largest entry is near 1: squares neither vanish nor overflow.
    widths : tuple of int
    unit : float
        What they were divided by.
    reseed : bool
        Whether a subspace without points is given one.
    """

    points: Tensor
    widths: tuple[int, ...]
    unit: float = 1.0
    reseed: bool = True

    @classmethod
    def of(cls, points: Tensor, widths: tuple[int, ...], *, reseed: bool) -> Self:
        """Return the problem of points as they were given."""
        largest = float(points.abs().max())
        unit = 2.0 ** (math.frexp(largest)[1] - 1) if largest else 1.0
        return cls(points / points.new_tensor(unit), widths, unit, reseed)

    def __post_init__(self) -> None:
        self.squares = self.points.square().sum(1)
        self.energy = float(self.squares.double().sum())
        self.rounding = rounding_of(self.points.shape[1], self.points.dtype)

    def run(self, bases: tuple[Tensor, ...], max_iter: int) -> Alternation:
        """Alternate from some bases until nothing is gained."""
        held = self.held(bases)
        run = Alternation(bases, held.argmax(1), [self._total(held)])
        while run.n_iter < max_iter and not run.converged:
            used = self._seeded(held, run) if self.reseed else run.labels
            run.bases, best = self.refit(used, run.bases)
            held = self.held(run.bases)
            run.labels = held.argmax(1)
            run.halves += [best, self._total(held)]
            run.n_iter += 1
            gain = run.halves[-1] - run.halves[-3]
            run.converged = torch.equal(run.labels, used) or gain <= self.rounding * self.energy
        return run

    def held(self, bases: Sequence[Tensor]) -> Tensor:
        """Return the squared norm of each point in each subspace."""
        inside = self.points @ torch.cat(tuple(bases), dim=1)
        return torch.stack([part.square().sum(1) for part in inside.split(list(self.widths), dim=1)], dim=1)

    def refit(self, labels: Tensor, before: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], float]:
        """Return the best bases for some labels, and what they hold."""
        found, total = [], 0.0
        for k, (width, old) in enumerate(zip(self.widths, before, strict=True)):
            own = self.points[labels == k]
            if not len(own):
                found.append(old)
                continue
            _, values, right = torch.linalg.svd(own, full_matrices=False)
            found.append(_completed(right[:width].mT, old))
            total += float(values[:width].double().square().sum())
        return tuple(found), total

    def _seeded(self, held: Tensor, run: Alternation) -> Tensor:
        """Return the labels, with one of the worst points for each subspace that has none."""
        most, labels = held.max(1)
        counts = torch.bincount(labels, minlength=len(self.widths))
        missed = self.squares - most
        for k in (counts == 0).nonzero().flatten().tolist():
            worst = int(missed.argmax())
            if float(missed[worst]) <= self.rounding * float(self.squares[worst]):
                break
            labels[worst], missed[worst] = k, 0.0
            run.n_reseeds += 1
        return labels

    @staticmethod
    def _total(held: Tensor) -> float:
        return float(held.amax(1).double().sum())


def _completed(basis: Tensor, old: Tensor) -> Tensor:
    """Fill up a basis of fewer points than dimensions with directions of the subspace before, which it says nothing of.

    The old subspace holds at least as many directions orthogonal to the new basis as are missing: after projection
    their singular values are exactly 1.
    """
    missing = old.shape[1] - basis.shape[1]
    if not missing:
        return basis
    rest = old - basis @ (basis.mT @ old)
    return torch.cat([basis, torch.linalg.svd(rest, full_matrices=False).U[:, :missing]], dim=1)
