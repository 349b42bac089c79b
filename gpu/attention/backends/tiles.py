"""Queries and keys cut into blocks in the order of a mask: the form in which kept blocks are computed with."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsetheory.gpu.attention.backends.problem import Problem
from sparsetheory.gpu.attention.block_geometry import blockwise

__all__ = ["Geometry", "cut", "untiled"]


@dataclass(frozen=True)
class Geometry:
    """What is kept, for the blocks of all heads one after the other.

    Whether a query sees a key of a kept block is one comparison: causality, padding and the end of a short last block
    are all in `last` and `position`.

    Parameters
    ----------
    last : Tensor of int64 of shape (rows, queries)
        Latest position that each query of each block sees.
    position : Tensor of int64 of shape (columns, keys)
        Position of each key of each block; beyond every `last` where there is no key.
    kept : Tensor of bool of shape (rows, key blocks)
        Blocks of its head that a row of blocks computes with.
    """

    last: Tensor
    position: Tensor
    kept: Tensor

    @classmethod
    def of(cls, problem: Problem) -> "Geometry":
        """Return the geometry of a problem."""
        mask, lead = problem.mask, problem.q.shape[:-2]
        nowhere = mask.n_keys + mask.n_queries
        last = mask.last_seen if mask.causal else torch.full_like(mask.order_q, mask.n_keys - 1)
        position = mask.order_k
        if problem.key_mask is not None:
            shape = np.broadcast_shapes(position.shape, problem.key_mask.shape)
            exists = problem.key_mask.expand(shape).gather(-1, position.expand(shape))
            position = torch.where(exists, position, nowhere)
        last = blockwise(last, mask.block[0], mask.n_keys - 1)
        position = blockwise(position, mask.block[1], nowhere)
        return cls(
            last.expand(*lead, *last.shape[-2:]).reshape(-1, mask.block[0]),
            position.expand(*lead, *position.shape[-2:]).reshape(-1, mask.block[1]),
            mask.visible.expand(*lead, *mask.blocks.shape[-2:]).flatten(0, -2),
        )

    @property
    def rows_of_head(self) -> int:
        """Blocks of queries of one head."""
        return len(self.kept) * self.kept.shape[1] // len(self.position)

    @property
    def partial(self) -> Tensor:
        """Whether each row of blocks holds a pair that is not to be seen, of shape (rows,)."""
        latest = self.position.amax(-1).view(-1, 1, self.kept.shape[1])
        earliest = self.last.amin(-1).view(len(latest), -1, 1)
        return (self.kept & (latest > earliest).flatten(0, 1)).any(-1)


def cut(sequence: Tensor, order: Tensor | None, size: int) -> Tensor:
    """Return the blocks of sequences of all heads, of shape (blocks, size, head_dim)."""
    if order is not None:
        lead = sequence.shape[:-1]
        sequence = sequence.gather(-2, order.expand(lead)[..., None].expand_as(sequence))
    missing = -sequence.shape[-2] % size
    if missing:
        sequence = pad(sequence, (0, 0, 0, missing))
    return sequence.reshape(-1, size, sequence.shape[-1])


def untiled(blocks: Tensor, problem: Problem) -> Tensor:
    """Put values of blocks of queries, (rows, queries, ...), into the original order, (..., queries, ...)."""
    mask, lead = problem.mask, problem.q.shape[:-2]
    flat = blocks.reshape(*lead, -1, *blocks.shape[2:]).narrow(len(lead), 0, mask.n_queries)
    if mask.perm_q is None:
        return flat
    back = torch.argsort(mask.perm_q, dim=-1).expand(*lead, -1)
    return flat.gather(len(lead), back.reshape(*back.shape, *(1,) * (blocks.dim() - 2)).expand_as(flat))
