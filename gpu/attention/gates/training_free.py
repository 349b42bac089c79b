"""Scores of blocks without training: means of queries and keys, sinks with nearest blocks, the true mass, chance."""

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, SIZE
from sparsetheory.gpu.attention.gates.block_maxima import block_mass
from sparsetheory.gpu.attention.gates.block_scores import BlockScores
from sparsetheory.gpu.attention.gates.geometry import block_count
from sparsetheory.gpu.attention.gates.pooling import pool_attention
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["mean_pooled_scores", "oracle_scores", "random_scores", "sink_window_scores"]


def mean_pooled_scores(
    q: Tensor,
    k: Tensor,
    block: int = 64,
    causal: bool = True,
    *,
    scale: float | None = None,
    key_mask: Tensor | None = None,
) -> BlockScores:
    """Score blocks by the product of mean query and mean key: the mean score of their pairs of tokens.

    Parameters
    ----------
    q : Tensor of shape (batch, heads, n_queries, head_dim)
        After rotary positions, where there are any.
    k : Tensor of shape (batch, key heads, n_keys, head_dim)
    block, causal, scale, key_mask
        As in :func:`block_max_attention`.

    Returns
    -------
    BlockScores
    """
    pooled = pool_attention(q, k, block, causal=causal, k_pool=("avg",), key_mask=key_mask)
    keys = pooled.k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    logits = pooled.q @ keys.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    return BlockScores(logits.masked_fill(~pooled.visible, -torch.inf), q.shape[-2], k.shape[-2], block, causal)


def oracle_scores(
    q: Tensor,
    k: Tensor,
    block: int = 64,
    causal: bool = True,
    *,
    scale: float | None = None,
    key_mask: Tensor | None = None,
) -> BlockScores:
    """Score blocks by the logarithm of their true mass: no other choice of as many blocks of a row keeps more.

    It costs what dense attention costs, so it is a limit to compare with and no method.

    Parameters
    ----------
    q, k, block, causal, scale, key_mask
        As in :func:`block_max_attention`.

    Returns
    -------
    BlockScores
        Its softmax is the mass divided by the number of queries.
    """
    mass = block_mass(q, k, block, causal, scale=scale, key_mask=key_mask)
    return BlockScores(mass.log(), q.shape[-2], k.shape[-2], block, causal)


def sink_window_scores(
    n_queries: int, n_keys: int, block: int = 64, causal: bool = True, n_sinks: int = 1
) -> BlockScores:
    """Score the first blocks highest, and the others by how near they are.

    With k blocks a row this keeps the sinks and the nearest ``k - n_sinks`` blocks. The content plays no part.

    Parameters
    ----------
    n_queries, n_keys : int
        Tokens. The last query stands at the last key.
    block : int
        Tokens of a block.
    causal : bool
        Whether no query sees a later key.
    n_sinks : int
        First blocks of keys that come first.

    Returns
    -------
    BlockScores
        Without leading axes: the same for all heads.

    Examples
    --------
    >>> sink_window_scores(6, 6, 2).logits.tolist()
    [[inf, -inf, -inf], [inf, 0.0, -inf], [inf, -2.0, 0.0]]
    """
    COUNT.require(n_queries=n_queries, n_keys=n_keys, block=block)
    SIZE.check("n_sinks", n_sinks)
    starts = [torch.arange(block_count(n, block), dtype=torch.float32) * block for n in (n_queries, n_keys)]
    logits = 0.0 - (starts[0][:, None] + n_keys - n_queries - starts[1]).abs()
    logits[:, :n_sinks] = torch.inf
    return BlockScores(logits, n_queries, n_keys, block, causal)


def random_scores(like: BlockScores, generator: torch.Generator | int | None = 0) -> BlockScores:
    """Score the blocks that other scores see by chance: every choice of as many blocks is equally likely.

    Parameters
    ----------
    like : BlockScores
        Whose shape, device and visible blocks are taken.
    generator : torch.Generator, int or None
        Source of the numbers, drawn on the CPU.

    Returns
    -------
    BlockScores
    """
    drawn = torch.rand(like.logits.shape, generator=cpu_generator(generator), dtype=torch.float64)
    logits = drawn.to(like.logits.device).masked_fill(like.logits == -torch.inf, -torch.inf)
    return BlockScores(logits, like.n_queries, like.n_keys, like.block, like.causal)
