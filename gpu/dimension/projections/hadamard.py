"""The Walsh-Hadamard transform of tensors."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["fwht"]


def fwht(x: Tensor, dim: int = -1) -> Tensor:
    """Multiply with the Hadamard matrix of +-1 in natural order, unnormalised, in ``L log2 L`` additions.

    Parameters
    ----------
    x : Tensor
        Floating; a power of two of entries along `dim`.
    dim : int
        The axis that is transformed.

    Returns
    -------
    Tensor
        Of the shape, device and dtype of `x`.
    """
    moved = x.movedim(dim, -1)
    return _Hadamard.apply(moved).movedim(-1, dim)


def transformed(x: Tensor) -> Tensor:
    """Transform the last axis, without gradients."""
    n = x.shape[-1]
    for _ in range(n.bit_length() - 1):
        even, odd = x[..., ::2], x[..., 1::2]
        x = torch.cat((even + odd, even - odd), dim=-1)
    return x


class _Hadamard(torch.autograd.Function):
    """The transform is its own adjoint, so its derivative of any order is the transform again."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return transformed(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Hadamard.apply(grad)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return _Hadamard.apply(tangent)

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor) -> tuple[Tensor, int]:
        return _Hadamard.apply(x.movedim(in_dims[0], 0)), 0
