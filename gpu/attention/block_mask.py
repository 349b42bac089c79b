"""Which blocks of keys each block of queries sees."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG

__all__ = ["BlockMask"]


@dataclass(frozen=True, eq=False)
class BlockMask:
    """A choice of blocks of an attention matrix.

    The sequences of queries and keys are cut into blocks, after their permutations where there are any. The last block
    may be short. A kept block keeps all its pairs that causality allows.

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

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, Tensor) or self.blocks.dtype != torch.bool:
            got = self.blocks.dtype if isinstance(self.blocks, Tensor) else type(self.blocks).__name__
            raise TypeError(f"blocks must be a tensor of bool; got {got}")
        COUNT.require(n_queries=self.n_queries, n_keys=self.n_keys)
        FLAG.check("causal", self.causal)
        for size in self.block:
            COUNT.check("block", size)
        wanted = (-(-self.n_queries // self.block[0]), -(-self.n_keys // self.block[1]))
        if tuple(self.blocks.shape[-2:]) != wanted:
            raise ValueError(f"blocks must have shape (..., {wanted[0]}, {wanted[1]}); got {tuple(self.blocks.shape)}")
        if self.causal and self.n_keys < self.n_queries:
            raise ValueError(f"n_keys must be at least n_queries={self.n_queries} for causal=True; got {self.n_keys}")
        _check_order("perm_q", self.perm_q, self.n_queries)
        _check_order("perm_k", self.perm_k, self.n_keys)
        self._check_rows()

    @property
    def causal_blocks(self) -> Tensor:
        """Blocks that hold a pair which causality allows, of shape (..., query blocks, key blocks)."""
        if not self.causal:
            return torch.ones(self.blocks.shape[-2:], dtype=torch.bool, device=self.blocks.device)
        return self._last_query[..., :, None] >= self._first_key[..., None, :]

    @cached_property
    def visible(self) -> Tensor:
        """Kept blocks that hold a pair which causality allows, of shape (..., query blocks, key blocks)."""
        return self.blocks & self.causal_blocks

    def element_mask(self) -> Tensor:
        """Return for every pair whether it is kept, in the original order, of shape (..., n_queries, n_keys)."""
        order_q, order_k = self._order(self.perm_q, self.n_queries), self._order(self.perm_k, self.n_keys)
        row_block = torch.argsort(order_q, dim=-1) // self.block[0]
        column_block = torch.argsort(order_k, dim=-1) // self.block[1]
        lead = torch.broadcast_shapes(self.blocks.shape[:-2], row_block.shape[:-1], column_block.shape[:-1])
        rows = row_block.expand(*lead, -1)[..., None].expand(*lead, -1, self.blocks.shape[-1])
        columns = column_block.expand(*lead, -1)[..., None, :].expand(*lead, self.n_queries, -1)
        kept = self.blocks.expand(*lead, -1, -1).gather(-2, rows).gather(-1, columns)
        return kept & self._allowed() if self.causal else kept

    def density(self) -> float:
        """Return the kept pairs over the pairs that causality allows, the mean over the leading axes."""
        kept = self.element_mask().double().mean(tuple(range(self.blocks.dim() - 2))) if self.blocks.dim() > 2 else None
        pairs = float((kept if kept is not None else self.element_mask().double()).sum())
        return pairs / (float(self._allowed().sum()) if self.causal else self.n_queries * self.n_keys)

    def to(self, device: torch.device | str) -> "BlockMask":
        """Return the mask on a device."""
        moved = [None if order is None else order.to(device) for order in (self.perm_q, self.perm_k)]
        return replace(self, blocks=self.blocks.to(device), perm_q=moved[0], perm_k=moved[1])

    def _order(self, order: Tensor | None, length: int) -> Tensor:
        return torch.arange(length, device=self.blocks.device) if order is None else order

    def _allowed(self) -> Tensor:
        queries = torch.arange(self.n_queries, device=self.blocks.device) + self.n_keys - self.n_queries
        return queries[:, None] >= torch.arange(self.n_keys, device=self.blocks.device)

    @property
    def _last_query(self) -> Tensor:
        """The latest key that a query of each block sees."""
        seen = self._order(self.perm_q, self.n_queries) + self.n_keys - self.n_queries
        return _blockwise(seen, self.block[0], -1).amax(-1)

    @property
    def _first_key(self) -> Tensor:
        """The earliest key of each block."""
        return _blockwise(self._order(self.perm_k, self.n_keys), self.block[1], self.n_keys).amin(-1)

    def _check_rows(self) -> None:
        """Refuse a query without keys: softmax over nothing is no distribution, and backends answer it with zeros."""
        if not self.causal:
            empty = ~self.blocks.any(-1)
        else:
            # Without its own positions a block is not enough: its first query may see none of the kept keys.
            seen = self._order(self.perm_q, self.n_queries) + self.n_keys - self.n_queries
            first = _blockwise(seen, self.block[0], self.n_keys).amin(-1)[..., :, None] >= self._first_key[..., None, :]
            empty = ~(self.blocks & first).any(-1)
        if bool(empty.any()):
            where = torch.nonzero(empty)[0].tolist()
            raise ValueError(f"blocks must keep a key for every query; query block {where[-1]} keeps no key block")


def _blockwise(values: Tensor, size: int, filler: int) -> Tensor:
    """Cut the last axis into blocks, of shape (..., blocks, size); the last one is filled up."""
    missing = -values.shape[-1] % size
    return torch.nn.functional.pad(values, (0, missing), value=filler).unflatten(-1, (-1, size))


def _check_order(name: str, order: Tensor | None, length: int) -> None:
    if order is None:
        return
    if not isinstance(order, Tensor) or order.dtype != torch.int64 or order.shape[-1:] != (length,):
        raise ValueError(f"{name} must be a tensor of int64 of shape (..., {length}); got {order!r:.200}")
    if not torch.equal(order.sort(dim=-1).values, torch.arange(length, device=order.device).expand_as(order)):
        raise ValueError(f"{name} must hold every position from 0 to {length - 1} once")
