"""Which blocks of keys each block of queries sees."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.attention.block_geometry import blockwise, check_order, pairs_of_blocks

__all__ = ["BlockMask"]


@dataclass(frozen=True, eq=False)
class BlockMask:
    """A choice of blocks of an attention matrix.

    The sequences of queries and keys are cut into blocks, after their permutations where there are any. The last block
    may be short. A kept block keeps all its pairs that causality allows. The tensors are copied, and the copies are not
    to be written into: :func:`dataclasses.replace` makes another mask.

    Parameters
    ----------
    blocks : Tensor of bool of shape (..., query blocks, key blocks)
        True where a block of queries sees a block of keys. Leading axes broadcast against batch and heads.
    n_queries, n_keys : int
        Lengths of the sequences.
    block : tuple of int
        Queries and keys of a block.
    causal : bool
        Whether a query sees no later key. Positions are those before any permutation, and the last query stands at the
        last key: query i sees keys up to ``i + n_keys - n_queries``.
    perm_q, perm_k : Tensor of int64 of shape (..., n_queries) and (..., n_keys), optional
        ``perm_q[i]`` is the original position of the i-th query in the order that is cut into blocks. The order of the
        sequences themselves by default.
    keep_diagonal : bool
        Whether blocks that hold a query and the key of the same position are kept in any case. Then no query of a
        causal mask is without a key.

    Raises
    ------
    TypeError
        If `blocks` is not a tensor of bool.
    ValueError
        If shapes disagree, an order is no permutation, or a query sees no key at all.

    Examples
    --------
    >>> import torch
    >>> mask = BlockMask(torch.eye(3, dtype=torch.bool), n_queries=6, n_keys=6, block=(2, 2), causal=True)
    >>> mask.element_mask().long().sum(-1)
    tensor([1, 2, 1, 2, 1, 2])
    >>> round(mask.density(), 3)
    0.429
    """

    blocks: Tensor
    n_queries: int
    n_keys: int
    block: tuple[int, int] = (64, 64)
    causal: bool = False
    perm_q: Tensor | None = None
    perm_k: Tensor | None = None
    keep_diagonal: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, Tensor) or self.blocks.dtype != torch.bool:
            got = self.blocks.dtype if isinstance(self.blocks, Tensor) else type(self.blocks).__name__
            raise TypeError(f"blocks must be a tensor of bool; got {got}")
        COUNT.require(n_queries=self.n_queries, n_keys=self.n_keys)
        FLAG.require(causal=self.causal, keep_diagonal=self.keep_diagonal)
        if not isinstance(self.block, tuple) or len(self.block) != 2:
            raise ValueError(f"block must be two numbers, of queries and of keys; got {self.block!r}")
        for size in self.block:
            COUNT.check("block", size)
        wanted = (-(-self.n_queries // self.block[0]), -(-self.n_keys // self.block[1]))
        if tuple(self.blocks.shape[-2:]) != wanted:
            raise ValueError(f"blocks must have shape (..., {wanted[0]}, {wanted[1]}); got {tuple(self.blocks.shape)}")
        if self.causal and self.n_keys < self.n_queries:
            raise ValueError(f"n_keys must be at least n_queries={self.n_queries} for causal=True; got {self.n_keys}")
        check_order("perm_q", self.perm_q, self.n_queries, self.blocks)
        check_order("perm_k", self.perm_k, self.n_keys, self.blocks)
        # What is derived from these tensors is remembered, so nobody else may hold them.
        for name in ("blocks", "perm_q", "perm_k"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, given.clone())
        if self.keep_diagonal:
            object.__setattr__(self, "blocks", self.blocks | self._diagonal())
        self.require_keys()

    @cached_property
    def lead(self) -> tuple[int, ...]:
        """Axes before those of blocks and positions, those of the orders included."""
        orders = [order.shape[:-1] for order in (self.perm_q, self.perm_k) if order is not None]
        return tuple(np.broadcast_shapes(self.blocks.shape[:-2], *orders))

    @cached_property
    def order_q(self) -> Tensor:
        """Original position of each query in the order that is cut, of shape (..., n_queries)."""
        return self._order(self.perm_q, self.n_queries)

    @cached_property
    def order_k(self) -> Tensor:
        """Original position of each key in the order that is cut, of shape (..., n_keys)."""
        return self._order(self.perm_k, self.n_keys)

    @property
    def last_seen(self) -> Tensor:
        """Latest key that causality lets each query see, in the order that is cut, of shape (..., n_queries)."""
        return self.order_q + (self.n_keys - self.n_queries)

    @property
    def causal_blocks(self) -> Tensor:
        """Blocks that hold a pair which causality allows, of shape (..., query blocks, key blocks)."""
        if not self.causal:
            return torch.ones(self.blocks.shape[-2:], dtype=torch.bool, device=self.blocks.device)
        last = blockwise(self.last_seen, self.block[0], -1).amax(-1)
        return last[..., :, None] >= self._first_key(None)[..., None, :]

    @cached_property
    def visible(self) -> Tensor:
        """Kept blocks that hold a pair which causality allows, of shape (..., query blocks, key blocks)."""
        return self.blocks & self.causal_blocks

    def element_mask(self) -> Tensor:
        """Return for every pair whether it is kept, in the original order, of shape (..., n_queries, n_keys)."""
        row_block = torch.argsort(self.order_q, dim=-1) // self.block[0]
        column_block = torch.argsort(self.order_k, dim=-1) // self.block[1]
        lead, (n, m) = self.lead, (self.n_queries, self.n_keys)
        rows = row_block[..., None].expand(*lead, n, self.blocks.shape[-1])
        columns = column_block[..., None, :].expand(*lead, n, m)
        kept = self.blocks.expand(*lead, -1, -1).gather(-2, rows).gather(-1, columns)
        if not self.causal:
            return kept
        positions = torch.arange(m, device=kept.device)
        return kept & (positions[m - n :, None] >= positions)

    def density(self) -> float:
        """Return the kept pairs over the pairs that causality allows, the mean over the leading axes."""
        pairs = pairs_of_blocks(self.order_k, self.last_seen if self.causal else None, self.n_queries, self.block)
        kept = (self.blocks * pairs).sum((-2, -1)).double() / pairs.sum((-2, -1))
        return float(kept.mean())

    def to(self, device: torch.device | str) -> "BlockMask":
        """Return the mask on a device."""
        perm_q, perm_k = (None if order is None else order.to(device) for order in (self.perm_q, self.perm_k))
        return replace(self, blocks=self.blocks.to(device), perm_q=perm_q, perm_k=perm_k)

    def require_keys(self, key_mask: Tensor | None = None) -> None:
        """Refuse a query without keys: softmax over nothing is no distribution, and torch answers it with zeros.

        Parameters
        ----------
        key_mask : Tensor of bool of shape (..., n_keys), optional
            True where a key exists; leading axes are those of `blocks`.
        """
        first = self._first_key(key_mask)
        if self.causal:
            # Without its own positions a block is not enough: its earliest query may see none of the kept keys.
            earliest = blockwise(self.last_seen, self.block[0], self.n_keys).amin(-1)
            seen = self.blocks & (first[..., None, :] <= earliest[..., :, None])
        else:
            seen = self.blocks & (first[..., None, :] < self.n_keys)
        empty = ~seen.any(-1)
        if bool(empty.any()):
            where = torch.nonzero(empty)[0].tolist()[-1]
            raise ValueError(f"blocks must keep a key for every query; query block {where} keeps no key block")

    def _order(self, order: Tensor | None, length: int) -> Tensor:
        return torch.arange(length, device=self.blocks.device) if order is None else order

    def _first_key(self, key_mask: Tensor | None) -> Tensor:
        """Return the earliest key of each block; `n_keys` for a block without keys."""
        order = self.order_k
        if key_mask is not None:
            lead = np.broadcast_shapes(order.shape, key_mask.shape)
            exists = key_mask.expand(lead).gather(-1, order.expand(lead))
            order = torch.where(exists, order, self.n_keys)
        return blockwise(order, self.block[1], self.n_keys).amin(-1)

    def _diagonal(self) -> Tensor:
        """Return the blocks that hold a query and the key of its position."""
        lead = np.broadcast_shapes(self.order_q.shape[:-1], self.order_k.shape[:-1])
        column = torch.argsort(self.order_k, dim=-1) // self.block[1]
        own = column.expand(*lead, -1).gather(-1, self.last_seen.clamp(min=0).expand(*lead, -1))
        rows = torch.arange(self.n_queries, device=own.device) // self.block[0]
        diagonal = torch.zeros(
            *lead, self.blocks.shape[-2] * self.blocks.shape[-1], dtype=torch.bool, device=own.device
        )
        diagonal.scatter_(-1, rows * self.blocks.shape[-1] + own, True)
        return diagonal.unflatten(-1, self.blocks.shape[-2:])
