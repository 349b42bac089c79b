"""In which order a segment of queries visits the keys of its history."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, MISSING, POSITIVE, Choice
from sparsetheory.gpu.attention.backends.problem import check_tensors, each_head

__all__ = ["VisitOrder", "rank_history", "visit_order"]

Ranking = Literal["token", "block", "natural", "oracle"]
_RANKINGS = Choice("token", "block", "natural", "oracle")


@dataclass(frozen=True, eq=False)
class VisitOrder:
    """Orders of keys and queries for segments of a sequence.

    Segment s holds the queries from ``s segment`` on. Its history are the keys before the segment, or all keys where
    attention is not causal.

    Parameters
    ----------
    segment : int
        Queries of a segment; the last one may be short.
    keys : tuple of Tensor of int64 of shape (..., heads, history)
        For each segment a permutation of its history, the key that is visited first in front.
    queries : tuple of Tensor of int64 of shape (..., heads, queries of the segment), optional
        For each segment a permutation of its queries, counted from its first one. Neighbours in it share a tile, and
        a tile visits blocks until its last query may stop. The order of the sequence by default.
    """

    segment: int
    keys: tuple[Tensor, ...]
    queries: tuple[Tensor, ...] | None = None


def rank_history(q_seg: Tensor, k_hist: Tensor) -> Tensor:
    """Rank keys by their product with the mean query of a segment, the largest first.

    One ranking serves all queries of a segment: the mean query stands for them. It is a step of greedy selection by
    correlation, as in matching pursuit. Keys that tie keep their order. Cost: ``2 keys head_dim`` operations and a
    sort, for each head and segment.

    Parameters
    ----------
    q_seg : Tensor of shape (..., queries, head_dim)
        Queries of the segment, after rotary positions where there are any.
    k_hist : Tensor of shape (..., keys, head_dim)
        Keys before the segment, rotated likewise; there may be none.

    Returns
    -------
    Tensor of int64 of shape (..., keys)
        A permutation.

    References
    ----------
    Zhang et al., "S2O: Early Stopping for Sparse Attention via Online Permutation", 2026, arXiv:2602.22575. The
    abstract says that tokens are permuted; this score is our reconstruction.

    Examples
    --------
    >>> import torch
    >>> rank_history(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 9.0], [2.0, 0.0], [0.0, 1.0]]))
    tensor([1, 0, 2])
    """
    return _falling(_products(q_seg.mean(-2), k_hist))


def visit_order(
    q: Tensor,
    k: Tensor,
    segment: int = 256,
    *,
    by: Ranking = "token",
    block: tuple[int, int] = (64, 64),
    causal: bool = True,
    scale: float | None = None,
) -> VisitOrder:
    """Return the order in which each segment of queries visits its history.

    Parameters
    ----------
    q : Tensor of shape (..., heads, queries, head_dim)
        Queries.
    k : Tensor of shape (..., key heads, keys, head_dim)
        Keys.
    segment : int
        Queries that share an order.
    by : {"token", "block", "natural", "oracle"}
        What decides.

        - "token": :func:`rank_history`. Queries of a segment of more than one tile are ordered as well, by their
          product with the mean key of the history.
        - "block": neighbouring keys stay together in blocks, and blocks are ranked by their mean key.
        - "natural": the order of the sequence.
        - "oracle": the true mass of each key, summed over the queries of the segment. It needs all scores and shows
          what a ranking could reach.
    block : tuple of int
        Queries of a tile and keys of a block.
    causal : bool
        Whether the history ends before the segment. Otherwise all keys are the history of every segment.
    scale : float, optional
        What products are multiplied by for "oracle"; ``head_dim ** -0.5`` by default.

    Returns
    -------
    VisitOrder
        One permutation for each segment and head.

    Examples
    --------
    >>> import torch
    >>> q, k = torch.randn(2, 1, 8, 4, generator=torch.Generator().manual_seed(0))
    >>> [len(keys[0]) for keys in visit_order(q, k, segment=3, block=(3, 2)).keys]
    [0, 3, 6]
    """
    COUNT.check("segment", segment)
    _RANKINGS.check("by", by)
    FLAG.check("causal", causal)
    for size in block:
        COUNT.check("block", size)
    check_tensors(q, k, k)
    factor = (MISSING | POSITIVE).check("scale", scale) or q.shape[-1] ** -0.5
    k = each_head(k, q.shape[-3] // k.shape[-3])
    rank: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "token": rank_history,
        "block": lambda queries, history: _rank_blocks(queries, history, block[1]),
        "natural": lambda queries, history: _falling(torch.zeros_like(history[..., 0])),
        "oracle": lambda queries, history: _falling(_masses(queries, history, factor)),
    }
    keys, queries = [], []
    for start in range(0, q.shape[-2], segment):
        own, history = q[..., start : start + segment, :], k[..., :start, :] if causal else k
        keys.append(rank[by](own, history))
        queries.append(_falling(_products(history.mean(-2), own)) if history.shape[-2] else _falling(own[..., 0] * 0))
    ordered = by == "token" and segment > block[0]
    return VisitOrder(segment, tuple(keys), tuple(queries) if ordered else None)


def _products(vector: Tensor, rows: Tensor) -> Tensor:
    return (rows @ vector[..., None])[..., 0]


def _falling(values: Tensor) -> Tensor:
    return torch.argsort(values, dim=-1, descending=True, stable=True)


def _masses(queries: Tensor, history: Tensor, scale: float) -> Tensor:
    return torch.softmax(queries @ history.mT * scale, dim=-1).sum(-2)


def _rank_blocks(queries: Tensor, history: Tensor, size: int) -> Tensor:
    """Return keys block by block, the block whose mean key has the largest product with the mean query first."""
    n_keys = history.shape[-2]
    if not n_keys:
        return rank_history(queries, history)
    column = torch.arange(n_keys, device=history.device) // size
    sums = history.new_zeros(*history.shape[:-2], int(column[-1]) + 1, history.shape[-1])
    means = sums.index_add(-2, column, history) / torch.bincount(column)[:, None].to(history.dtype)
    chosen = rank_history(queries, means)[..., None] * size + torch.arange(size, device=history.device)
    return chosen.flatten(-2)[chosen.flatten(-2) < n_keys].unflatten(0, (*history.shape[:-2], n_keys))
