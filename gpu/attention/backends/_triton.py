"""The kernel: a program is one block of queries of one head, and walks through its kept blocks of keys."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparsetheory.gpu.attention.backends.tiles import Geometry

__all__ = ["attend"]


@triton.jit
def _kernel(
    q_ptr: tl.tensor,
    k_ptr: tl.tensor,
    v_ptr: tl.tensor,
    last_ptr: tl.tensor,
    position_ptr: tl.tensor,
    first_ptr: tl.tensor,
    column_ptr: tl.tensor,
    out_ptr: tl.tensor,
    scale: tl.tensor,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    DIM: tl.constexpr,
    ROWS2: tl.constexpr,
    KEYS2: tl.constexpr,
    DIM2: tl.constexpr,
) -> None:
    row = tl.program_id(0)
    # Tiles have sizes that are powers of two; what is beyond a block is masked.
    i, j, c = tl.arange(0, ROWS2), tl.arange(0, KEYS2), tl.arange(0, DIM2)
    at_q = (row * ROWS + i)[:, None] * DIM + c[None, :]
    inside_q = (i < ROWS)[:, None] & (c < DIM)[None, :]
    inside_k = (j < KEYS)[:, None] & (c < DIM)[None, :]
    q = tl.load(q_ptr + at_q, mask=inside_q, other=0.0).to(tl.float32)
    last = tl.load(last_ptr + row * ROWS + i, mask=i < ROWS, other=0)
    largest = tl.full((ROWS2,), -1e30, tl.float32)
    mass = tl.zeros((ROWS2,), tl.float32)
    weighted = tl.zeros((ROWS2, DIM2), tl.float32)
    for step in range(tl.load(first_ptr + row), tl.load(first_ptr + row + 1)):
        column = tl.load(column_ptr + step)
        at_k = (column * KEYS + j)[:, None] * DIM + c[None, :]
        k = tl.load(k_ptr + at_k, mask=inside_k, other=0.0).to(tl.float32)
        v = tl.load(v_ptr + at_k, mask=inside_k, other=0.0).to(tl.float32)
        position = tl.load(position_ptr + column * KEYS + j, mask=j < KEYS, other=2**62)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        scores = tl.where(position[None, :] <= last[:, None], scores, float("-inf"))
        larger = tl.maximum(largest, tl.max(scores, 1))
        shrink = tl.exp(largest - larger)
        weight = tl.exp(scores - larger[:, None])
        mass = mass * shrink + tl.sum(weight, 1)
        weighted = weighted * shrink[:, None] + tl.dot(weight, v, input_precision="ieee")
        largest = larger
    out = weighted / tl.where(mass > 0, mass, 1.0)[:, None]
    tl.store(out_ptr + at_q, out.to(out_ptr.dtype.element_ty), mask=inside_q)


def attend(q: Tensor, k: Tensor, v: Tensor, geometry: Geometry, scale: float) -> Tensor:
    """Return the attention of blocks of queries, of the shape of `q`; double precision is computed in single.

    Parameters
    ----------
    q : Tensor of shape (rows, queries, head_dim)
        Blocks of queries, contiguous.
    k, v : Tensor of shape (columns, keys, head_dim)
        Blocks of keys and values, contiguous.
    geometry : Geometry
        What is kept.
    scale : float
        What products are multiplied by.
    """
    row, column = geometry.kept.nonzero(as_tuple=True)
    column = column + row // geometry.rows_of_head * geometry.kept.shape[1]
    counts = geometry.kept.sum(-1)
    first = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    sizes = (q.shape[1], k.shape[1], q.shape[2])
    out = torch.empty_like(q)
    tensors = (q, k, v, geometry.last.contiguous(), geometry.position.contiguous(), first, column, out)
    launch: Any = _kernel[(len(q),)]
    # A product of two tiles needs at least 16 of each of their axes.
    launch(*tensors, scale, *sizes, *(max(16, triton.next_power_of_2(size)) for size in sizes))
    return out
