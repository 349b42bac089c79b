"""Queries and keys of a block become one vector: means, largest and smallest values of each feature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import COUNT, FLAG, Choice
from sparsetheory.gpu.attention.block_geometry import query_mask
from sparsetheory.gpu.attention.gates.geometry import visible_blocks
from sparsetheory.gpu.attention.gates.rotary import Rotary

__all__ = ["Pool", "PooledBlocks", "check_pools", "pool_attention", "pool_blocks"]

Pool = Literal["avg", "max", "min"]


@dataclass(frozen=True, eq=False)
class PooledBlocks:
    """What a gate sees of the queries and keys of one call of attention.

    Parameters
    ----------
    q : Tensor of shape (batch, heads, query blocks, q pools * head_dim)
    k : Tensor of shape (batch, key heads, key blocks, k pools * head_dim)
    visible : Tensor of bool, broadcastable to (batch, heads, query blocks, key blocks)
        Pairs of blocks that causality and padding allow.
    rotary : tuple of Tensor of shape (batch or 1, key blocks, turned features), optional
        Cosines and sines at the first token of each block.
    n_queries, n_keys, block : int
        Tokens, and tokens of a block.
    causal : bool
        Whether no query sees a later key.
    """

    q: Tensor
    k: Tensor
    visible: Tensor
    rotary: Rotary | None
    n_queries: int
    n_keys: int
    block: int
    causal: bool


def pool_blocks(x: Tensor, block: int, pools: Sequence[Pool], key_mask: Tensor | None = None) -> Tensor:
    """Pool the tokens of each block.

    A short last block is pooled over the tokens that it has, and padding takes no part: a mean divides by the number of
    real tokens, and zeros of padding are no smallest value. A block without a real token gives zeros.

    Parameters
    ----------
    x : Tensor of shape (..., n, features)
        Of shape (batch, heads, n, features) with `key_mask`.
    block : int
        Tokens of a block.
    pools : sequence of {"avg", "max", "min"}
        What is joined along the features, in this order.
    key_mask : Tensor of bool of shape (batch, n), optional
        True where a token is real.

    Returns
    -------
    Tensor of shape (..., blocks, len(pools) * features)

    Examples
    --------
    >>> import torch
    >>> pool_blocks(torch.tensor([[1.0], [2.0], [3.0]]), 2, ("avg", "max")).tolist()
    [[1.5, 2.0], [3.0, 3.0]]
    """
    real = torch.ones(x.shape[-2], 1, dtype=torch.bool, device=x.device)
    if key_mask is not None:
        real = key_mask[:, None, :, None]
    missing = -x.shape[-2] % block
    # The axis of tokens is the last but one of values and mask alike.
    cut, kept = (functional.pad(part, (0, 0, 0, missing)).unflatten(-2, (-1, block)) for part in (x, real))
    some = kept.any(-2)
    parts = {
        "avg": lambda: cut.masked_fill(~kept, 0.0).sum(-2) / kept.sum(-2).clamp(min=1).to(x.dtype),
        "max": lambda: cut.masked_fill(~kept, -torch.inf).amax(-2).masked_fill(~some, 0.0),
        "min": lambda: cut.masked_fill(~kept, torch.inf).amin(-2).masked_fill(~some, 0.0),
    }
    return torch.cat([parts[pool]() for pool in pools], dim=-1)


def pool_attention(
    q: Tensor,
    k: Tensor,
    block: int = 64,
    *,
    causal: bool = True,
    q_pool: Sequence[Pool] = ("avg",),
    k_pool: Sequence[Pool] = ("max", "min", "avg"),
    rotary: Rotary | None = None,
    key_mask: Tensor | None = None,
) -> PooledBlocks:
    """Pool queries and keys into what a gate sees; nothing here has weights.

    Parameters
    ----------
    q : Tensor of shape (batch, heads, n_queries, head_dim)
        Before rotary positions.
    k : Tensor of shape (batch, key heads, n_keys, head_dim)
        Before rotary positions. The last query stands at the last key.
    block : int
        Tokens of a block.
    causal : bool
        Whether no query sees a later key.
    q_pool, k_pool : sequence of {"avg", "max", "min"}
        How a block is pooled.
    rotary : tuple of Tensor of shape (batch or 1, n_keys, turned features), optional
        Cosines and sines at all keys; those at the first token of each block are used.
    key_mask : Tensor of bool of shape (batch, n_keys), optional
        True where a token is real. Queries are the last tokens of these.

    Returns
    -------
    PooledBlocks

    Raises
    ------
    ValueError
        If shapes do not fit, or a way of pooling is unknown.

    Examples
    --------
    >>> import torch
    >>> pool_attention(torch.ones(1, 2, 5, 4), torch.ones(1, 1, 5, 4), 2).k.shape
    torch.Size([1, 1, 3, 12])
    """
    COUNT.require(block=block)
    FLAG.check("causal", causal)
    check_pools(q_pool=q_pool, k_pool=k_pool)
    n_queries, n_keys = q.shape[-2], k.shape[-2]
    if q.ndim != 4 or k.ndim != 4 or q.shape[0] != k.shape[0] or q.shape[-1] != k.shape[-1] or n_queries > n_keys:
        raise ValueError(
            f"q and k must have shapes (batch, heads, n_queries, head_dim) and (batch, key heads, n_keys, head_dim) "
            f"with n_queries <= n_keys; got {tuple(q.shape)} and {tuple(k.shape)}"
        )
    if rotary is not None and n_queries != n_keys:
        raise ValueError(f"rotary must be None unless there is a query at every key; got {n_queries} of {n_keys}")
    if key_mask is not None and (key_mask.dtype != torch.bool or key_mask.shape != (k.shape[0], n_keys)):
        raise ValueError(
            f"key_mask must be of bool and of shape {(k.shape[0], n_keys)}; "
            f"got {key_mask.dtype} and {tuple(key_mask.shape)}"
        )
    return PooledBlocks(
        pool_blocks(q, block, q_pool, None if key_mask is None else query_mask(key_mask, n_queries)),
        pool_blocks(k, block, k_pool, key_mask),
        visible_blocks(n_queries, n_keys, block, causal, key_mask).to(q.device),
        None if rotary is None else (rotary[0][..., ::block, :], rotary[1][..., ::block, :]),
        n_queries,
        n_keys,
        block,
        causal,
    )


def check_pools(**pools: Sequence[Pool]) -> None:
    """Raise ValueError for a way of pooling that does not exist, or for none at all."""
    for name, chosen in pools.items():
        if isinstance(chosen, str) or not len(chosen):
            raise ValueError(f"{name} must be a sequence of 'avg', 'max' and 'min'; got {chosen!r}")
        for pool in chosen:
            Choice("avg", "max", "min").check(name, pool)
