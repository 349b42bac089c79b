"""Few of many candidate directions, chosen by what they gain together."""

from torch import Tensor

__all__ = ["greedy_directions"]


def greedy_directions(gradients: Tensor, n_nonzero: int) -> Tensor:
    """Choose the directions of a subspace that explain the gradients of samples together; experimental."""
    raise NotImplementedError
