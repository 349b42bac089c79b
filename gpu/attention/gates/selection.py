"""From scores of blocks to the blocks that are kept: a number a row, a share of the causal triangle, or a threshold."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, SIZE, Integer, Real
from sparsetheory.gpu.attention.block_mask import BlockMask
from sparsetheory.gpu.attention.gates.block_scores import BlockScores
from sparsetheory.gpu.attention.gates.geometry import own_blocks, visible_blocks
from sparsetheory.gpu.core.selection import keep_largest

__all__ = ["blocks_per_row", "ranked_scores", "select_blocks"]

# A product that would be whole but for rounding counts as whole.
_ROUNDING = 1e-9


def select_blocks(
    gate: BlockScores,
    density: float | None = None,
    threshold: float | None = None,
    keep_diagonal: bool = True,
    dense_last: int = 2,
    *,
    n_blocks: int | Sequence[int] | None = None,
) -> BlockMask:
    """Choose the blocks of keys that each block of queries sees.

    Exactly one of `density`, `threshold` and `n_blocks` says how many.

    Parameters
    ----------
    gate : BlockScores
        Of a gate, or of a rule without training.
    density : float, optional
        Share of the pairs of blocks to keep, at most 1, of those that causality allows. Each row keeps equally many,
        see :func:`blocks_per_row`.
    threshold : float, optional
        Blocks whose softmax over the row is above it are kept; from 0 to below 1.
    keep_diagonal : bool
        Whether a block of queries always sees the blocks of its own positions. They count among those of the row.
    dense_last : int
        Last block rows that see all they may.
    n_blocks : int or sequence of int, optional
        Blocks that each row keeps, where it may see so many: one number, or one for each head.

    Returns
    -------
    BlockMask
        Of scores that tie the blocks of lowest index are kept. Blocks with the score minus infinity never are, but
        for the diagonal and the last rows.

    Raises
    ------
    ValueError
        If not exactly one of the three is given, it is out of range, or a row keeps no block; the diagonal prevents
        the latter.

    Notes
    -----
    Source: Y. Gao et al., arXiv 2410.13276, and the authors' code, whose rule by density takes no care of the diagonal.

    Examples
    --------
    >>> import torch
    >>> scores = BlockScores(torch.zeros(4, 4), n_queries=8, n_keys=8, block=2, causal=True)
    >>> select_blocks(scores, n_blocks=2, dense_last=0).visible.long()
    tensor([[1, 0, 0, 0],
            [1, 1, 0, 0],
            [1, 0, 1, 0],
            [1, 0, 0, 1]])
    """
    given = {"density": density, "threshold": threshold, "n_blocks": n_blocks}
    if sum(value is not None for value in given.values()) != 1:
        raise ValueError(f"exactly one of density, threshold and n_blocks must be given; got {given!r}")
    FLAG.check("keep_diagonal", keep_diagonal)
    SIZE.check("dense_last", dense_last)
    logits = gate.logits.detach()
    seen = visible_blocks(gate.n_queries, gate.n_keys, gate.block, gate.causal).to(logits.device)
    if threshold is not None:
        kept = gate.probabilities().detach() > Real(0, 1, "left").check("threshold", threshold)
        if keep_diagonal:
            kept = kept | own_blocks(gate.n_queries, gate.n_keys, gate.block).to(logits.device)
    else:
        if density is not None:
            n_blocks = blocks_per_row(density, logits.shape[-1], gate.causal)
        ranked = ranked_scores(gate, keep_diagonal)
        kept = keep_largest(ranked, _counts(n_blocks, logits)) & (ranked > -torch.inf)
    rows = torch.arange(logits.shape[-2], device=logits.device)[:, None]
    kept = (kept | (rows >= logits.shape[-2] - dense_last)) & seen
    size = (gate.block, gate.block)
    return BlockMask(kept, n_queries=gate.n_queries, n_keys=gate.n_keys, block=size, causal=gate.causal)


def blocks_per_row(density: float, n_blocks: int, causal: bool) -> int:
    """Return how many blocks every row keeps, at least one, to keep a share of all pairs of blocks.

    Without causality this is ``floor(density n)`` of n blocks. With it, row i may see ``i + 1`` blocks, so keeping k a
    row keeps ``k (2 n - k + 1) / 2`` of ``n (n + 1) / 2`` pairs. With ``kappa = k / n`` that is the share
    ``2 kappa - kappa^2 - kappa (1 - kappa) / (n + 1)``. The authors' code solves ``2 kappa - kappa^2 = density`` and
    rounds down: ``k = floor((1 - sqrt(1 - density)) n)``. So at most the density is kept, unless the one block of each
    row is more.

    Parameters
    ----------
    density : float
        Share to keep, above 0 and at most 1.
    n_blocks : int
        Blocks of keys.
    causal : bool
        Whether no query sees a later key.

    Examples
    --------
    >>> blocks_per_row(0.75, 16, causal=True), blocks_per_row(0.75, 16, causal=False)
    (8, 12)
    """
    Real(0, 1, "right").check("density", density)
    COUNT.check("n_blocks", n_blocks)
    share = 1.0 - math.sqrt(1.0 - density) if causal else density
    return max(1, math.floor(share * n_blocks + _ROUNDING))


def ranked_scores(gate: BlockScores, keep_diagonal: bool) -> Tensor:
    """Return the scores by which blocks are taken, largest first: those of the diagonal, if kept, are infinite."""
    logits = gate.logits.detach()
    if not keep_diagonal:
        return logits
    return logits.masked_fill(own_blocks(gate.n_queries, gate.n_keys, gate.block).to(logits.device), torch.inf)


def _counts(n_blocks: int | Sequence[int] | None, logits: Tensor) -> int | Tensor:
    """Return the number for all rows, or one for each row of each head, none above the number of blocks."""
    most = logits.shape[-1]
    if not isinstance(n_blocks, Sequence):
        return min(COUNT.check("n_blocks", n_blocks), most)
    heads = logits.shape[-3] if logits.ndim > 2 else 0
    if len(n_blocks) != heads:
        raise ValueError(f"n_blocks must hold a number for each of {heads} heads; got {len(n_blocks)}")
    counts = torch.tensor([min(Integer(1).check("n_blocks", count), most) for count in n_blocks], device=logits.device)
    return counts[:, None].expand(logits.shape[:-1])
