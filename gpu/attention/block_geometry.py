"""Positions that are cut into blocks, and the pairs that causality allows between blocks."""

import torch
from torch import Tensor

__all__ = ["blockwise", "check_order", "pairs_of_blocks", "query_mask", "real_blocks"]


def blockwise(values: Tensor, size: int, filler: int) -> Tensor:
    """Cut the last axis into blocks, of shape (..., blocks, size); the last one is filled up."""
    missing = -values.shape[-1] % size
    return torch.nn.functional.pad(values, (0, missing), value=filler).unflatten(-1, (-1, size))


def pairs_of_blocks(order_k: Tensor, last_seen: Tensor | None, n_queries: int, block: tuple[int, int]) -> Tensor:
    """Count the pairs of each block that causality allows.

    The mask of all pairs is never made: for each block of keys a table says how many of its keys stand at or before
    each position, and each query looks itself up. O((n_queries + n_keys) key blocks) time and memory.

    Parameters
    ----------
    order_k : Tensor of int64 of shape (..., keys)
        Positions of the keys in the order that is cut into blocks.
    last_seen : Tensor of int64 of shape (..., queries), or None
        Latest key that each query sees, in the order that is cut into blocks; None where each sees all keys.
    n_queries : int
        Number of queries.
    block : tuple of int
        Queries and keys of a block.

    Returns
    -------
    Tensor of int64 of shape (..., query blocks, key blocks)
        Number of pairs.
    """
    size_k = blockwise(torch.ones_like(order_k), block[1], 0).sum(-1)
    if last_seen is None:
        ones = torch.ones(n_queries, dtype=torch.int64, device=order_k.device)
        return blockwise(ones, block[0], 0).sum(-1)[:, None] * size_k[..., None, :]
    column = torch.arange(order_k.shape[-1], device=order_k.device) // block[1]
    owner = torch.empty_like(order_k).scatter_(-1, order_k, column.expand_as(order_k))
    table = torch.nn.functional.one_hot(owner, size_k.shape[-1]).cumsum(-2)
    lead = torch.broadcast_shapes(order_k.shape[:-1], last_seen.shape[:-1])
    index = last_seen[..., None].expand(*lead, -1, table.shape[-1])
    seen = table.expand(*lead, -1, -1).gather(-2, index).transpose(-1, -2)
    return blockwise(seen, block[0], 0).sum(-1).transpose(-1, -2)


def check_order(name: str, order: Tensor | None, length: int, blocks: Tensor) -> None:
    """Refuse an order that is no permutation of the positions below `length`, or does not fit the blocks."""
    if order is None:
        return
    if not isinstance(order, Tensor) or order.dtype != torch.int64 or order.shape[-1:] != (length,):
        raise ValueError(f"{name} must be a tensor of int64 of shape (..., {length}); got {order!r:.200}")
    if order.device != blocks.device:
        raise ValueError(f"{name} must be on {blocks.device} like blocks; got {order.device}")
    if not torch.equal(order.sort(dim=-1).values, torch.arange(length, device=order.device).expand_as(order)):
        raise ValueError(f"{name} must hold every position from 0 to {length - 1} once")


def query_mask(key_mask: Tensor, n_queries: int) -> Tensor:
    """Return which queries are real: they are the last tokens of those that the keys come from."""
    return key_mask[..., key_mask.shape[-1] - n_queries :]


def real_blocks(mask: Tensor, block: int) -> Tensor:
    """Return which blocks of the last axis hold a real token."""
    return torch.nn.functional.pad(mask, (0, -mask.shape[-1] % block)).unflatten(-1, (-1, block)).any(-1)
