"""Kept blocks are copied side by side, and attention runs on short sequences: work shrinks with the mask."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.gpu.attention.backends.calls import Calls, plan_calls
from sparsetheory.gpu.attention.backends.problem import Problem
from sparsetheory.gpu.attention.backends.tiles import Geometry, cut, untiled
from sparsetheory.gpu.attention.backends.workspace import workspace
from sparsetheory.gpu.attention.block_mask import BlockMask

__all__ = ["gather_attention"]

# Keys that are copied for one call. On a processor the copy shall still be in the cache when it is used; a CUDA device
# needs many blocks at once to be busy.
_KEYS_ON_CPU, _KEYS_ELSEWHERE = 1024, 2**18
# Scores of a call up to which two products are faster than torch's attention on a processor.
_SHORT = 2**17

Part = tuple[Tensor, Tensor, Tensor, Tensor | None]


def gather_attention(problem: Problem) -> Tensor:
    """Return the attention with kept blocks only.

    Tiles of equal size with equally many kept blocks share a call of torch's attention, so nothing is padded. Blocks
    that lie side by side already are not copied where a call serves one tile. A mask of pairs is made only for tiles
    that hold a pair which is not to be seen.
    """
    mask, plan = problem.mask, _plan(problem)
    q = cut(problem.q, mask.perm_q, mask.block[0])
    k, v = (cut(part, mask.perm_k, mask.block[1]) for part in (problem.k, problem.v))
    keys, values, scores = _memory(problem, plan, k)
    blocks_k, blocks_v = _Blocks(k, keys), _Blocks(v, values)
    parts = [_attend(plan.geometry, q, blocks_k, blocks_v, calls, problem.scale, scores) for calls in plan.calls]
    blocks = torch.cat(parts) if len(parts) > 1 else parts[0]
    return untiled(blocks if plan.back is None else blocks[plan.back], problem)


def _memory(problem: Problem, plan: "_Plan", k: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return memory for copies of keys and of values, and for scores; None where each call needs memory of its own.

    A gradient needs the copies of all calls later; otherwise each call may write over those of the one before.
    """
    if problem.wants_gradient:
        return None, None, None
    size = plan.largest * k[0].numel()
    if k.device.type != "cpu" or k.dtype not in (torch.float32, torch.float64):
        return k.new_empty(size), k.new_empty(size), None
    keys, values, scores = workspace(k, size, size, _SHORT)
    return keys, values, scores


@dataclass(frozen=True)
class _Plan:
    """All that does not depend on numbers: `back` puts the rows of all calls into order, where they are in another."""

    geometry: Geometry
    calls: list[Calls]
    largest: int
    back: Tensor | None


# Plans of masks that are still in use, for each shape of batch and heads.
_PLANS: WeakKeyDictionary[BlockMask, dict[tuple[int, ...], _Plan]] = WeakKeyDictionary()


def _plan(problem: Problem) -> _Plan:
    if problem.key_mask is not None:
        return _new_plan(problem)
    known, lead = _PLANS.setdefault(problem.mask, {}), tuple(problem.q.shape[:-2])
    if lead not in known:
        # A plan that is made for inference must serve a gradient later.
        with torch.inference_mode(mode=False):
            known[lead] = _new_plan(problem)
    return known[lead]


def _new_plan(problem: Problem) -> _Plan:
    geometry, device = Geometry.of(problem), problem.q.device
    keys = _KEYS_ON_CPU if device.type == "cpu" else _KEYS_ELSEWHERE
    calls = plan_calls(geometry, keys // problem.mask.block[1])
    order = [row for call in calls for row in call.rows]
    back = None if order == list(range(len(order))) else torch.tensor(order, device=device).argsort()
    return _Plan(geometry, calls, max(call.size * call.count for call in calls), back)


class _Blocks:
    """Blocks of keys or values, and memory to copy some of them into; new memory for each copy where it is none."""

    def __init__(self, blocks: Tensor, memory: Tensor | None) -> None:
        self.rows, self.head_dim = blocks.flatten(1), blocks.shape[-1]
        self.memory = None if memory is None else memory.view(-1, self.rows.shape[1])

    def take(self, calls: Calls) -> Iterator[Tensor]:
        """Yield for each call the blocks of its tiles one after the other, of shape (tiles, keys, head_dim)."""
        shape = (-1, calls.count * self.rows.shape[1] // self.head_dim, self.head_dim)
        # What calls have in common is done once: a call is so short that a view counts.
        memory = None if self.memory is None else self.memory[: calls.size * calls.count]
        copy = None if memory is None else memory.view(shape)
        for columns in calls.columns:
            if isinstance(columns, slice):
                yield self.rows[columns].view(shape)
            elif memory is None or copy is None:
                yield self.rows.index_select(0, columns).view(shape)
            else:
                missing = len(memory) - len(columns)
                if missing:
                    memory = memory[:-missing]
                    copy = memory.view(shape)
                torch.index_select(self.rows, 0, columns, out=memory)
                yield copy


def _attend(
    geometry: Geometry, q: Tensor, keys: _Blocks, values: _Blocks, calls: Calls, scale: float, scores: Tensor | None
) -> Tensor:
    """Return outputs of calls, of shape (rows, queries, head_dim)."""
    tiles = q[calls.where].reshape(calls.n_tiles, -1, q.shape[-1])
    parts = zip(tiles.split(calls.size), keys.take(calls), values.take(calls), _seen(geometry, calls), strict=True)
    shape = (calls.size, tiles.shape[1], calls.count * geometry.position.shape[-1])
    if scores is not None and math.prod(shape) <= _SHORT:
        return _by_hand(tiles, parts, scores[: math.prod(shape)].view(shape), scale).reshape(-1, *q.shape[1:])
    outs = [_by_torch(*part, scale) for part in parts]
    return (torch.cat(outs) if len(outs) > 1 else outs[0]).reshape(-1, *q.shape[1:])


def _by_torch(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, scale: float) -> Tensor:
    """Return the output of one call by torch's attention, which is fast with an axis of heads only."""
    mask = None if seen is None else seen.unsqueeze(1)
    return scaled_dot_product_attention(
        q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1), attn_mask=mask, scale=scale
    ).squeeze(1)


def _by_hand(tiles: Tensor, parts: Iterable[Part], memory: Tensor, scale: float) -> Tensor:
    """Return the outputs of short calls by two products each, with their scores in memory of shape (tiles, ., .).

    Torch's attention cuts short tiles of queries into pieces of 32, whose products are too small to be fast.
    """
    out = torch.empty_like(tiles)
    for into, (tile, k, v, seen) in zip(out.split(len(memory)), parts, strict=True):
        scores = memory if len(tile) == len(memory) else memory[: len(tile)]
        torch.baddbmm(scores, tile, k.mT, beta=0, alpha=scale, out=scores)
        if seen is not None:
            scores.masked_fill_(~seen, -torch.inf)
        torch.softmax(scores, -1, out=scores)
        torch.bmm(scores, v, out=into)
    return out


def _seen(geometry: Geometry, calls: Calls) -> Iterator[Tensor | None]:
    """Yield for each call which pairs are to be seen, of shape (tiles, queries, keys); None where all are."""
    if not calls.partial:
        yield from [None] * len(calls.columns)
        return
    last = geometry.last[calls.where].view(calls.n_tiles, -1, 1).split(calls.size)
    for latest, columns in zip(last, calls.columns, strict=True):
        yield latest >= geometry.position[columns].view(len(latest), 1, -1)
