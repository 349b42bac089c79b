"""The image whose gradients are nearest to given ones: a Poisson equation on a rectangle."""

from torch import Tensor

__all__ = ["poisson_neumann"]


def poisson_neumann(div: Tensor) -> Tensor:
    """Solve the discrete Poisson equation with Neumann boundary."""
    raise NotImplementedError
