"""Attention that stops visiting keys: an online softmax over a ranked history, with two rules to stop."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, MISSING, POSITIVE, Real
from sparsetheory.gpu.attention.backends.problem import all_finite, check_tensors, each_head
from sparsetheory.gpu.attention.early_stop.orders import VisitOrder
from sparsetheory.gpu.attention.early_stop.segments import Rules, Segment, Visited, visit

__all__ = ["EarlyStop", "early_stop_attention"]

_GAIN, _DROPPED = MISSING | Real(high=1.0, closed="left"), MISSING | Real(0.0, 1.0, closed="neither")


@dataclass(frozen=True, eq=False)
class EarlyStop:
    """Attention that stopped early, and where it stopped.

    Parameters
    ----------
    out : Tensor of shape (..., heads, queries, head_dim)
        Attention over the visited keys, in the order of the sequence.
    density : float
        Visited blocks over the blocks that causality allows, over all tiles and heads.
    blocks_visited, blocks_left : Tensor of int64 of shape (..., heads, tiles)
        Blocks of its history that each tile of queries visited, and those it did not.
    dropped_bound : Tensor of shape (..., heads, queries), or None
        Certified bound of the mass that each query dropped; None where `max_dropped` was not given.
    gain : Tensor of shape (..., heads, queries)
        Mass of the last visited block over that of all visited keys. With `blocks_left` it is what
        :func:`monotone_gain_bound` takes.
    """

    out: Tensor
    density: float
    blocks_visited: Tensor
    blocks_left: Tensor
    dropped_bound: Tensor | None
    gain: Tensor


@torch.no_grad()
def early_stop_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    order: VisitOrder,
    gain_tol: float | None = None,
    max_dropped: float | None = None,
    block: tuple[int, int] = (64, 64),
    causal: bool = True,
    scale: float | None = None,
) -> EarlyStop:
    """Return attention in which tiles of queries stop visiting keys when little mass seems, or surely is, left.

    A causal segment first attends to its own keys, all of them. Then each of its tiles walks through the history in
    blocks of the given order, with an online softmax, until a rule says stop for each query of the tile. Only the
    history is permuted, and it is the same for all queries of a segment, so no query sees its future. Without a rule
    the answer is dense attention, whatever the order.

    Parameters
    ----------
    q : Tensor of shape (..., heads, queries, head_dim)
        Queries.
    k, v : Tensor of shape (..., key heads, keys, head_dim)
        Keys and values; as many as queries where attention is causal.
    order : VisitOrder
        How each segment visits its history, from :func:`visit_order`.
    gain_tol : float below 1, optional
        Stop after a block that brought less than this share of the mass of all visited keys. A heuristic: it bounds
        nothing unless masses of blocks fall, see :func:`monotone_gain_bound`. A tolerance of 0 or less never stops.
    max_dropped : float in (0, 1), optional
        Stop once the mass of all blocks not visited is certified to be at most this share of the whole, by the
        statistics of these blocks. Certain for every query, rounding included.
    block : tuple of int
        Queries of a tile and keys of a block.
    causal : bool
        Whether a query sees no later key.
    scale : float, optional
        What products of queries and keys are multiplied by; ``head_dim ** -0.5`` by default.

    Returns
    -------
    EarlyStop
        In the dtype of `q`; half precision is computed in float32. Without gradients.

    Raises
    ------
    ValueError
        If an argument is out of its range, shapes disagree, an entry is not finite, or an order is no permutation of
        the history.

    References
    ----------
    Zhang et al., "S2O: Early Stopping for Sparse Attention via Online Permutation", 2026, arXiv:2602.22575: early
    stopping by gain. The certified rule is ours.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.attention import visit_order
    >>> q, k, v = torch.randn(3, 2, 128, 16, generator=torch.Generator().manual_seed(0))
    >>> order = visit_order(4 * q, k, segment=32, block=(16, 16))
    >>> exact = early_stop_attention(4 * q, k, v, order, block=(16, 16))
    >>> early = early_stop_attention(4 * q, k, v, order, gain_tol=0.3, block=(16, 16))
    >>> exact.density, early.density < 1.0
    (1.0, True)
    """
    rules = Rules(_GAIN.check("gain_tol", gain_tol), _DROPPED.check("max_dropped", max_dropped))
    factor = (MISSING | POSITIVE).check("scale", scale) or q.shape[-1] ** -0.5
    _check(q, k, v, order, block, causal)
    wide = torch.promote_types(q.dtype, torch.float32)
    group = q.shape[-3] // k.shape[-3]
    q_wide, k_wide, v_wide = (part.to(wide) for part in (q, each_head(k, group), each_head(v, group)))
    segments = [
        Segment(q_wide, k_wide, v_wide, order, number, block, causal, factor) for number in range(len(order.keys))
    ]
    visited = [visit(segment, rules) for segment in segments]
    own = sum(segment.own_blocks for segment in segments)
    return _summary(visited, own * q.shape[:-2].numel(), q.dtype)


def _summary(visited: list[Visited], own_blocks: int, dtype: torch.dtype) -> EarlyStop:
    out = torch.cat([part.out for part in visited], dim=-2).to(dtype)
    if not all_finite(out):
        raise ValueError("q and k must have products that their dtype can hold; got scores that overflow")
    blocks = torch.cat([part.blocks_visited for part in visited], dim=-1)
    left = torch.cat([part.blocks_left for part in visited], dim=-1)
    seen = own_blocks + int(blocks.sum())
    bounds = [part.dropped_bound for part in visited if part.dropped_bound is not None]
    return EarlyStop(
        out=out,
        density=seen / (seen + int(left.sum())),
        blocks_visited=blocks,
        blocks_left=left,
        dropped_bound=torch.cat(bounds, dim=-1) if bounds else None,
        gain=torch.cat([part.gain for part in visited], dim=-1),
    )


def _check(q: Tensor, k: Tensor, v: Tensor, order: VisitOrder, block: tuple[int, int], causal: bool) -> None:
    check_tensors(q, k, v)
    FLAG.check("causal", causal)
    for size in block:
        COUNT.check("block", size)
    n, m = q.shape[-2], k.shape[-2]
    if causal and n != m:
        raise ValueError(f"k must hold as many keys as there are queries, {n}, for causal=True; got {m}")
    if q.shape[:-3] != k.shape[:-3]:
        raise ValueError(
            f"k must have the axes of q before the heads, {tuple(q.shape[:-3])}; got {tuple(k.shape[:-3])}"
        )
    if not isinstance(order, VisitOrder):
        raise TypeError(f"order must be a VisitOrder; got {type(order).__name__}")
    starts = range(0, n, order.segment)
    _check_orders("keys", order.keys, [start if causal else m for start in starts])
    if order.queries is not None:
        _check_orders("queries", order.queries, [min(order.segment, n - start) for start in starts])


def _check_orders(name: str, orders: tuple[Tensor, ...], lengths: list[int]) -> None:
    if [part.shape[-1] for part in orders] != lengths:
        raise ValueError(f"order must hold {name} of lengths {lengths}; got {[part.shape[-1] for part in orders]}")
    for part, length in zip(orders, lengths, strict=True):
        if not torch.equal(part.sort(-1).values, torch.arange(length, device=part.device).expand_as(part)):
            raise ValueError(f"order must hold permutations of the {length} {name} of a segment; got repeated ones")
