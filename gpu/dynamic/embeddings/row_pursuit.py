"""Greedy sparse rows under one budget: where entries of a table pay most, with the other table fixed."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["GreedyRows", "greedy_rows"]


@dataclass(frozen=True, eq=False)
class GreedyRows:
    """Rows that share a budget of entries."""

    coefficients: Tensor
    counts: Tensor
    order: Tensor
    gains: Tensor


def greedy_rows(gram: Tensor, correlations: Tensor, n_nonzero: int, *, rule: str = "gain") -> GreedyRows:
    """Give a budget of entries to the rows of a table, one after the other where it lowers the squared error most."""
    raise NotImplementedError
