"""Matrix factorisation by Bayesian personalised ranking: an item of a user is to score above one that is not."""

import torch
from torch import Tensor, nn

__all__ = ["MatrixFactorisation", "bpr_loss", "draw_triples"]


class MatrixFactorisation(nn.Module):
    """Scores of users and items: inner products of the rows of two embedding tables."""

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int,
        density: float = 1.0,
        *,
        generator: torch.Generator | int | None = None,
    ) -> None:
        raise NotImplementedError


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Return the mean of ``-log sigmoid(positive - negative)``."""
    raise NotImplementedError


def draw_triples(
    observed: Tensor, n: int, generator: torch.Generator | int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw users, an item of each, and an item that each has not."""
    raise NotImplementedError
