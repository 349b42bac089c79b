"""Torch's flexible attention: one compiled kernel on CUDA that skips blocks; on a processor it computes all scores."""

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor

from sparsetheory.gpu.attention.backends.problem import Problem
from sparsetheory.gpu.attention.backends.tiles import Geometry, cut, untiled

__all__ = ["flex_attention_of"]


def flex_attention_of(problem: Problem) -> Tensor:
    """Return the attention by ``torch.nn.attention.flex_attention``.

    Blocks whose pairs are all seen are passed as full ones, so that the kernel tests no pair of them.

    Raises
    ------
    RuntimeError
        If a gradient is wanted on a processor: torch has none there.
    """
    if problem.wants_gradient and problem.q.device.type == "cpu":
        raise RuntimeError('backend "flex" has no gradient on a processor; use backend="gather" or "online"')
    from torch.nn.attention.flex_attention import BlockMask as FlexMask

    mask, lead, geometry = problem.mask, problem.q.shape[:-2], Geometry.of(problem)
    heads, (n_rows, n_columns) = lead.numel(), mask.blocks.shape[-2:]
    q = cut(problem.q, mask.perm_q, mask.block[0]).view(1, heads, -1, problem.q.shape[-1])
    k, v = (cut(part, mask.perm_k, mask.block[1]).view(1, heads, -1, q.shape[-1]) for part in (problem.k, problem.v))
    last, position = geometry.last.view(heads, -1), geometry.position.view(heads, -1)
    kept = geometry.kept.view(heads, n_rows, n_columns)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        in_block = kept[head, query // mask.block[0], key // mask.block[1]]
        return in_block & (position[head, key] <= last[head, query])

    earliest, latest = last.view(heads, n_rows, -1).amin(-1), position.view(heads, n_columns, -1).amax(-1)
    full = kept & (latest[:, None, :] <= earliest[:, :, None])
    flex_mask = FlexMask.from_kv_blocks(
        *_lists(kept & ~full),
        *_lists(full),
        BLOCK_SIZE=mask.block,
        mask_mod=sees,
        seq_lengths=(q.shape[-2], k.shape[-2]),
    )
    with warnings.catch_warnings():
        # Said in the docstring: on a processor all scores are made.
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile", UserWarning)
        out = _function(q.device.type)(q, k, v, block_mask=flex_mask, scale=problem.scale)
    return untiled(out.view(-1, mask.block[0], q.shape[-1]), problem)


def _lists(kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return counts of blocks of each row, and their numbers before the others, with an axis of batch."""
    order = torch.argsort(kept.to(torch.int8), dim=-1, descending=True, stable=True)
    return kept.sum(-1, dtype=torch.int32)[None], order.to(torch.int32)[None]


@cache
def _function(kind: str) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    # Without a compiler the processor is served by the eager form; on CUDA that one would make all scores.
    return torch.compile(flex_attention) if kind == "cuda" else flex_attention
