"""First guesses of which points lie on one subspace: sparse codes over the other points, and shared bases."""

import torch
from torch import Tensor

__all__ = ["ssc_omp"]


def ssc_omp(X: Tensor, n_subspaces: int, n_nonzero: int, *, generator: torch.Generator | int | None = 0) -> Tensor:
    """Return labels by sparse subspace clustering with orthogonal matching pursuit."""
    raise NotImplementedError
