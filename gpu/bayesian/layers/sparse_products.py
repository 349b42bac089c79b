"""Products of a linear layer at the weights on its mask alone, forward and backward, on the CPU."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

__all__ = ["Support", "moments", "support_of"]


@dataclass(frozen=True, eq=False)
class Support:
    """The entries of a matrix that are on a mask, row after row.

    Parameters
    ----------
    shape : tuple of int
        Outputs and inputs.
    indptr, indices : Tensor of int32 of shapes (out + 1,) and (nnz,)
        In CSR.
    places : Tensor of int64 of shape (nnz,)
        Where entries lie in the flat matrix.
    """

    shape: tuple[int, int]
    indptr: Tensor
    indices: Tensor
    places: Tensor

    @property
    def density(self) -> float:
        """Share of the entries that are on the mask."""
        return len(self.places) / max(self.shape[0] * self.shape[1], 1)

    @property
    def is_full(self) -> bool:
        """Whether all entries are on the mask."""
        return len(self.places) == self.shape[0] * self.shape[1]

    def values(self, matrix: Tensor) -> Tensor:
        """Return the entries of a matrix on the support; differentiable."""
        return matrix.reshape(-1) if self.is_full else _Values.apply(matrix, self.places)

    def matrix(self, values: Tensor) -> Tensor:
        """Return the dense matrix with these entries; differentiable."""
        if self.is_full:
            return values.reshape(self.shape)
        flat = torch.zeros(self.shape[0] * self.shape[1], dtype=values.dtype, device=values.device)
        return flat.index_copy(0, self.places, values).reshape(self.shape)


def support_of(mask: Tensor) -> Support:
    """Return the support of the mask of a weight, whose first axis is that of the outputs."""
    rows = mask.flatten(1)
    places = rows.reshape(-1).nonzero().squeeze(1)
    indptr = torch.zeros(len(rows) + 1, dtype=torch.int32, device=mask.device)
    indptr[1:] = rows.sum(1).cumsum(0)
    columns = max(rows.shape[1], 1)
    return Support((rows.shape[0], rows.shape[1]), indptr, (places % columns).to(torch.int32), places)


def moments(x: Tensor, means: Tensor, variances: Tensor | None, support: Support) -> tuple[Tensor, Tensor | None]:
    """Return ``x @ M.T``, and ``x**2 @ V.T`` if there are variances, for entries of M and V on one support.

    Parameters
    ----------
    x : Tensor of float32 or float64 of shape (..., in)
    means, variances : Tensor of shape (nnz,)

    Returns
    -------
    tuple of Tensor of shape (..., out)
        Differentiable any number of times; derivatives by entries cost ``2 nnz`` operations a sample each.

    Raises
    ------
    ValueError
        If inputs or entries are not as many as the support says: the compiled kernels would read other memory.

    Notes
    -----
    Zeros that are left out do not meet infinite inputs: 0 times infinity is 0 here.
    """
    n_outputs, n_inputs = support.shape
    if x.ndim == 0 or x.shape[-1] != n_inputs:
        raise ValueError(f"x must have shape (..., {n_inputs}); got {tuple(x.shape)}")
    for name, values in (("means", means), ("variances", variances)):
        if values is not None and values.shape != support.places.shape:
            raise ValueError(
                f"{name} must have shape {tuple(support.places.shape)}, one for each weight on the mask; "
                f"got {tuple(values.shape)}"
            )
    rows = x.reshape(math.prod(x.shape[:-1]), n_inputs)
    first, second = _Moments.apply(rows, means, variances, support)
    shape = (*x.shape[:-1], n_outputs)
    return first.reshape(shape), None if second is None else second.reshape(shape)


class _Values(torch.autograd.Function):
    """Entries of a matrix, whose derivative has a memory of its own, so that autograd adds others to it in place."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, places: Tensor) -> Tensor:
        ctx.shape, ctx.places = matrix.shape, places
        return matrix.reshape(-1).index_select(0, places)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Any) -> Any:
        shape, places = ctx.shape, ctx.places  # type: ignore[attr-defined]
        derivative = grads[0].new_zeros(shape)
        if torch.is_grad_enabled():  # the derivative is differentiated again
            return derivative.reshape(-1).index_copy(0, places, grads[0]).reshape(shape), None
        derivative.view(-1).index_copy_(0, places, grads[0])
        return derivative, None


class _Moments(torch.autograd.Function):
    """The two products; inputs and outputs have one row for each sample."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, means: Tensor, variances: Tensor | None, support: Support
    ) -> tuple[Tensor, Tensor | None]:
        from sparsetheory.numba_kernels.paired_products import multiply_pair

        ctx.save_for_backward(x, means, variances)
        ctx.support = support
        ctx.set_materialize_grads(True)
        width = _width(len(x), support, x.element_size())
        blocks = _blocks(x, width)
        first = blocks.new_empty(len(blocks), support.shape[0], width)
        second = first[:0] if variances is None else torch.empty_like(first)
        pair = means, means[:0] if variances is None else variances
        multiply_pair(*_arrays(support.indptr, support.indices, *pair, blocks, first, second))
        return _rows(first, len(x)), None if variances is None else _rows(second, len(x))

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Any) -> Any:
        x, means, variances = ctx.saved_tensors  # type: ignore[attr-defined]
        support: Support = ctx.support  # type: ignore[attr-defined]
        needed = ctx.needs_input_grad  # type: ignore[attr-defined]
        if torch.is_grad_enabled():  # the derivative is differentiated again
            return (*_dense_derivatives(x, means, variances, support, grads), None)
        return (*_derivatives(x, means, variances, support, grads, needed[0]), None)


def _derivatives(
    x: Tensor, means: Tensor, variances: Tensor | None, support: Support, grads: tuple[Any, ...], wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    from sparsetheory.numba_kernels.paired_products import pair_derivatives

    width = _width(len(x), support, x.element_size())
    blocks = _blocks(x, width)
    by_first = _blocks(grads[0], width)
    by_second = by_first[:0] if variances is None else _blocks(grads[1], width)
    pair = means, means[:0] if variances is None else variances
    derivatives = (*(torch.zeros_like(one) for one in pair), torch.zeros_like(blocks) if wanted else blocks[:0])
    pair_derivatives(*_arrays(support.indptr, support.indices, *pair, blocks, by_first, by_second, *derivatives))
    d_first, d_second, d_x = derivatives
    return _rows(d_x, len(x)) if wanted else None, d_first, None if variances is None else d_second


def _dense_derivatives(
    x: Tensor, means: Tensor, variances: Tensor | None, support: Support, grads: tuple[Any, ...]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the same by operations that can be differentiated."""
    d_x, d_first = grads[0] @ support.matrix(means), support.values(grads[0].mT @ x)
    if variances is None:
        return d_x, d_first, None
    d_x = d_x + 2 * x * (grads[1] @ support.matrix(variances))
    return d_x, d_first, support.values(grads[1].mT @ x.square())


def _width(n: int, support: Support, itemsize: int) -> int:
    from sparsetheory.numba_kernels.sparse_autoencoder.products import block_width

    width = block_width(max(n, 1), max(support.shape), itemsize)
    return width if n > width else n


def _blocks(rows: Tensor, width: int) -> Tensor:
    """Return rows as blocks of columns, of shape (n_blocks, features, width); what is left over is zero."""
    n, features = rows.shape
    if n <= width:
        return rows.detach().mT.contiguous().unsqueeze(0)
    n_blocks = -(-n // width)
    found = rows.new_zeros(n_blocks, features, width) if n % width else rows.new_empty(n_blocks, features, width)
    full = n // width
    found[:full] = rows.detach()[: full * width].reshape(full, width, features).mT
    if n % width:
        found[full, :, : n - full * width] = rows.detach()[full * width :].mT
    return found


def _rows(blocks: Tensor, n: int) -> Tensor:
    """Return blocks as rows again; one block is a view, so that the next layer has nothing to turn."""
    return blocks[0].mT if len(blocks) == 1 else blocks.mT.flatten(0, 1)[:n]


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
