"""The Walsh-Hadamard transform of tensors."""

from typing import Any

import torch
from torch import Tensor

from sparsetheory.numba_kernels.projections.transforms import transform

__all__ = ["fwht", "in_kernel_type", "padded_size", "transform_rows"]


def fwht(x: Tensor, dim: int = -1) -> Tensor:
    """Multiply with the Hadamard matrix of +-1 in natural order, without a factor in front.

    The matrix is symmetric, and ``H @ H = L * I``: the transform is its own gradient, and its own inverse but for a
    factor of ``L``. ``L log2 L`` additions; on the CPU in single or double precision, all but the first and the last
    few passes over the data stay in the caches.

    Parameters
    ----------
    x : Tensor
        Of any floating type; a power of two of entries along `dim`. Its other axes are a batch.
    dim : int
        The axis that is transformed.

    Returns
    -------
    Tensor
        Of the shape, device and dtype of `x`. Types of 16 bits are added up in single precision, because entries grow
        up to L-fold; in float16, what comes out may still be infinite.

    Raises
    ------
    ValueError
        If `x` is not floating, has no axis, or its size along `dim` is not a power of two; IndexError if there is no
        axis `dim`.

    References
    ----------
    B. J. Fino, V. R. Algazi. Unified matrix treatment of the fast Walsh-Hadamard transform. IEEE Transactions on
    Computers, 1976.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.dimension import fwht
    >>> fwht(torch.tensor([1.0, 2.0, 3.0, 5.0]))
    tensor([11., -3., -5.,  1.])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim == 0:
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else repr(x)
        raise ValueError(f"x must be a floating tensor with at least one axis; got {got}")
    moved = x.movedim(dim, -1)
    size = moved.shape[-1]
    if size != padded_size(size):
        raise ValueError(f"x must have a power of two of entries along axis {dim}; got {size}")
    transformed: Tensor = _Hadamard.apply(moved)
    return transformed.movedim(-1, dim)


def padded_size(size: int) -> int:
    """Return the least power of two that is at least `size`, and at least 1.

    In integers: ``2 ** ceil(log2(size))`` is twice too large where a float logarithm is rounded up, as at 2**29 in
    some libraries.
    """
    return 1 << max(size - 1, 0).bit_length()


def in_kernel_type(x: Tensor) -> bool:
    """Return whether compiled kernels take a tensor: on the CPU, in single or double precision.

    While ``torch.compile`` traces, they do not: it can only look into operations of torch.
    """
    fits = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    return fits and not torch.compiler.is_compiling()


def transform_rows(x: Tensor, size: int) -> Tensor:
    """Fill rows with zeros up to a power of two and transform them, without gradients.

    Parameters
    ----------
    x : Tensor of shape (n, m)
        Single or double precision.
    size : int
        A power of two, at least m.

    Returns
    -------
    Tensor of shape (n, size)
    """
    if in_kernel_type(x):
        out = torch.empty(len(x), size, dtype=x.dtype)
        transform(x.detach().contiguous().numpy(), out.numpy())
        return out
    x = torch.nn.functional.pad(x, (0, size - x.shape[1]))
    # Pairs come from neighbours and go to both halves, so that after all passes each entry is where it belongs.
    for _ in range(size.bit_length() - 1):
        even, odd = x[:, ::2], x[:, 1::2]
        x = torch.cat((even + odd, even - odd), dim=1)
    return x


class _Hadamard(torch.autograd.Function):
    """The transform of the last axis; its matrix is symmetric, so derivatives of any order are transforms again."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        precision = torch.float64 if x.dtype == torch.float64 else torch.float32
        size = x.shape[-1]
        return transform_rows(x.reshape(-1, size).to(precision), size).reshape(x.shape).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: the derivative does not depend on the input."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Hadamard.apply(*grads)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return _Hadamard.apply(*tangents)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> tuple[Any, int]:
        return _Hadamard.apply(x.movedim(in_dims[0] or 0, 0)), 0
