"""K-subspaces: points go to the subspace that holds most of them, and subspaces to the points that they hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["KSubspaces", "k_subspaces"]


@dataclass(frozen=True, eq=False)
class KSubspaces:
    """Subspaces and the points that go to each."""

    bases: tuple[Tensor, ...]
    labels: Tensor
    objective: float
    objectives: Tensor
    n_iter: int
    converged: bool


def k_subspaces(
    X: Tensor,
    n_subspaces: int,
    n_components: int | Sequence[int],
    *,
    init: str | Tensor | Sequence[Tensor] = "random",
    n_init: int = 1,
    max_iter: int = 100,
    empty: str = "reseed",
    generator: torch.Generator | int | None = 0,
) -> KSubspaces:
    """Fit several subspaces to points so that each point is near one of them."""
    raise NotImplementedError
