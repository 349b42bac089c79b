"""Kept blocks are copied side by side, and attention runs on short sequences: work shrinks with the mask."""

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.gpu.attention.backends.calls import Calls, plan_calls
from sparsetheory.gpu.attention.backends.problem import Problem
from sparsetheory.gpu.attention.backends.tiles import Geometry, cut, untiled
from sparsetheory.gpu.attention.block_mask import BlockMask

__all__ = ["gather_attention"]

# Keys that are copied for one call. On a processor the copy shall still be in the cache when it is used; a CUDA device
# needs many blocks at once to be busy.
_KEYS_ON_CPU, _KEYS_ELSEWHERE = 1024, 2**18


def gather_attention(problem: Problem) -> Tensor:
    """Return the attention with kept blocks only.

    Tiles of equal size with equally many kept blocks share a call of torch's attention, so nothing is padded. Blocks
    that lie side by side already are not copied where a call serves one tile. A mask of pairs is made only for tiles
    that hold a pair which is not to be seen.
    """
    mask, plan = problem.mask, _plan(problem)
    q = cut(problem.q, mask.perm_q, mask.block[0])
    # A gradient needs the copies of all calls later; otherwise each call may write over those of the one before.
    memory = 0 if problem.wants_gradient else plan.largest
    keys = _Blocks(cut(problem.k, mask.perm_k, mask.block[1]), memory)
    values = _Blocks(cut(problem.v, mask.perm_k, mask.block[1]), memory)
    parts = [_attend(plan.geometry, q, keys, values, calls, problem.scale) for calls in plan.calls]
    blocks = torch.cat(parts) if len(parts) > 1 else parts[0]
    return untiled(blocks if plan.back is None else blocks[plan.back], problem)


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

    def __init__(self, blocks: Tensor, memory: int) -> None:
        self.rows, self.head_dim = blocks.flatten(1), blocks.shape[-1]
        self.memory = self.rows.new_empty(memory, self.rows.shape[1]) if memory else None

    def take(self, calls: Calls) -> Iterator[Tensor]:
        """Yield for each call the blocks of its tiles one after the other, of shape (tiles, 1, keys, head_dim)."""
        shape = (-1, 1, calls.count * self.rows.shape[1] // self.head_dim, self.head_dim)
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


def _attend(geometry: Geometry, q: Tensor, keys: _Blocks, values: _Blocks, calls: Calls, scale: float) -> Tensor:
    """Return outputs of calls, of shape (rows, queries, head_dim)."""
    tiles = q[calls.where].reshape(calls.n_tiles, 1, -1, q.shape[-1]).split(calls.size)
    outs = [
        scaled_dot_product_attention(tile, k, v, attn_mask=seen, scale=scale)
        for tile, k, v, seen in zip(tiles, keys.take(calls), values.take(calls), _seen(geometry, calls), strict=True)
    ]
    return (torch.cat(outs) if len(outs) > 1 else outs[0]).reshape(-1, *q.shape[1:])


def _seen(geometry: Geometry, calls: Calls) -> Iterator[Tensor | None]:
    """Yield for each call which pairs are to be seen, of shape (tiles, 1, queries, keys); None where all are."""
    if not calls.partial:
        yield from [None] * len(calls.columns)
        return
    last = geometry.last[calls.where].view(calls.n_tiles, 1, -1, 1).split(calls.size)
    for latest, columns in zip(last, calls.columns, strict=True):
        yield latest >= geometry.position[columns].view(len(latest), 1, 1, -1)
