"""Kept blocks are copied side by side, and attention runs on short sequences: work shrinks with the mask."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.gpu.attention.backends.calls import Call, plan_calls
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
    parts = [_attend(plan.geometry, q, keys, values, call, problem.scale) for call in plan.calls]
    blocks = torch.cat(parts) if len(parts) > 1 else parts[0]
    return untiled(blocks if plan.back is None else blocks[plan.back], problem)


@dataclass(frozen=True)
class _Plan:
    """All that does not depend on numbers: `back` puts the rows of all calls into order, where they are in another."""

    geometry: Geometry
    calls: list[Call]
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
    return _Plan(geometry, calls, max(len(call.columns) for call in calls), back)


class _Blocks:
    """Blocks of keys or values, and memory to copy some of them into; new memory for each copy where it is none."""

    def __init__(self, blocks: Tensor, memory: int) -> None:
        self.rows, self.head_dim = blocks.flatten(1), blocks.shape[-1]
        self.memory = self.rows.new_empty(memory, self.rows.shape[1]) if memory else None

    def take(self, call: Call) -> Tensor:
        """Return the blocks of each tile one after the other, of shape (tiles, 1, keys, head_dim)."""
        if call.first is not None:
            taken = self.rows[call.first : call.first + call.count]
        elif self.memory is None:
            taken = self.rows.index_select(0, call.columns)
        else:
            taken = torch.index_select(self.rows, 0, call.columns, out=self.memory[: len(call.columns)])
        return taken.view(call.n_tiles, 1, -1, self.head_dim)


def _attend(geometry: Geometry, q: Tensor, keys: _Blocks, values: _Blocks, call: Call, scale: float) -> Tensor:
    """Return outputs of one call, of shape (rows, queries, head_dim)."""
    tiles = q[call.where].reshape(call.n_tiles, 1, -1, q.shape[-1])
    seen = None
    if call.partial:
        position = geometry.position[call.columns].view(call.n_tiles, 1, 1, -1)
        seen = geometry.last[call.where].view(call.n_tiles, 1, -1, 1) >= position
    out = scaled_dot_product_attention(tiles, keys.take(call), values.take(call), attn_mask=seen, scale=scale)
    return out.reshape(-1, *q.shape[1:])
