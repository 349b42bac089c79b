"""Exponentials of matrices of low rank, and zero-order hold of inputs, exact through small tables."""

from torch import Tensor

__all__ = ["lowrank_expm", "lowrank_zero_order_hold", "zero_order_hold"]


def lowrank_expm(U: Tensor, V: Tensor, step: float | Tensor, shift: float | Tensor = 0.0) -> Tensor:
    """Return the exponential of ``step (U V' - shift I)``."""
    raise NotImplementedError


def zero_order_hold(A: Tensor, B: Tensor, step: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return what a state and an input become after one step in which the input is held."""
    raise NotImplementedError


def lowrank_zero_order_hold(
    U: Tensor, V: Tensor, B: Tensor, step: float | Tensor, shift: float | Tensor = 0.0
) -> Tensor:
    """Return what an input that is held for one step adds to the state."""
    raise NotImplementedError
