"""What the swaps of a training run did."""

from dataclasses import dataclass

__all__ = ["SwapReport"]


@dataclass(frozen=True)
class SwapReport:
    """The swaps so far, and how much of the model they have explored.

    Parameters
    ----------
    step : int
        Optimiser steps done; swaps are among them.
    n_swaps : int
        Steps that were swaps.
    n_left_out : int
        Swaps that were left out as a gradient was not finite.
    n_grown, n_regrown : int
        Weights that entered a mask, and that were removed and chosen again, over all swaps.
    density : float
        Share of the weights that are on their masks.
    explored : float
        Share of the weights that have been on their masks at any time.
    n_active : dict of str to int
        Weights on the mask of each layer, by its name.
    never_swap : tuple of str
        Layers that are too small, or too dense, for any swap.
    """

    step: int
    n_swaps: int
    n_left_out: int
    n_grown: int
    n_regrown: int
    density: float
    explored: float
    n_active: dict[str, int]
    never_swap: tuple[str, ...]
