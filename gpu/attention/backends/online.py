"""Our own loop over kept blocks with an online softmax: scores of one block at a time, and the mass for free."""

import torch
from torch import Tensor

from sparsetheory.gpu.attention.backends.problem import Problem
from sparsetheory.gpu.attention.backends.softmax_state import SoftmaxState
from sparsetheory.gpu.attention.backends.tiles import Geometry, cut, untiled

__all__ = ["online_attention", "online_attention_and_lse"]


def online_attention(problem: Problem) -> Tensor:
    """Return the attention of a loop over kept blocks."""
    return online_attention_and_lse(problem)[0]


def online_attention_and_lse(problem: Problem) -> tuple[Tensor, Tensor]:
    """Return the attention and the logarithm of the sum of exponentials of the scores of kept keys.

    Half precision is widened to float32; the logarithm stays so.
    """
    mask, geometry = problem.mask, Geometry.of(problem)
    wide = torch.promote_types(problem.q.dtype, torch.float32)
    q = cut(problem.q, mask.perm_q, mask.block[0]).to(wide) * problem.scale
    k, v = (cut(part, mask.perm_k, mask.block[1]) for part in (problem.k, problem.v))
    state = _loop(q, k, v, geometry)
    return untiled(state.out, problem).to(problem.q.dtype), untiled(state.lse, problem)


def _loop(q: Tensor, k: Tensor, v: Tensor, geometry: Geometry) -> SoftmaxState:
    """Visit the b-th kept block of every row at once, for b = 0, 1, ...

    Rows with most blocks come first, so those that have a b-th block are the first ones, and the others are finished.
    """
    row, column = geometry.kept.nonzero(as_tuple=True)
    column = column + row // geometry.rows_of_head * geometry.kept.shape[1]
    counts = geometry.kept.sum(-1)
    first = counts.cumsum(0) - counts
    order = torch.argsort(counts, descending=True, stable=True)
    counts, first, last, q = counts[order], first[order], geometry.last[order], q[order]
    state, finished = SoftmaxState.empty(q), []
    for step in range(int(counts[0])):
        active = int((counts > step).sum())
        finished.append(state[active:])
        state, chosen = state[:active], column[first[:active] + step]
        hidden = geometry.position[chosen][:, None, :] > last[:active, :, None]
        scores = (q[:active] @ k[chosen].to(q.dtype).mT).masked_fill(hidden, -torch.inf)
        state, _ = state.updated(scores, v[chosen].to(q.dtype))
    return _joined([state, *reversed(finished)], torch.argsort(order))


def _joined(parts: list[SoftmaxState], order: Tensor) -> SoftmaxState:
    fields = ([getattr(part, name) for part in parts] for name in ("largest", "mass", "weighted"))
    return SoftmaxState(*(torch.cat(field)[order] for field in fields))
