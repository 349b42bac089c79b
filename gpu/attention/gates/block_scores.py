"""Scores of pairs of blocks: what every rule of selection makes, and what selection takes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.attention.gates.geometry import block_count, visible_blocks
from sparsetheory.gpu.core.selection import check_scores

__all__ = ["BlockScores"]


@dataclass(frozen=True, eq=False)
class BlockScores:
    """How much each block of keys matters to each block of queries.

    Parameters
    ----------
    logits : Tensor of shape (..., query blocks, key blocks)
        The larger, the more it matters; minus infinity where nothing may be seen. Leading axes are those of batch and
        heads.
    n_queries, n_keys : int
        Tokens. The last query stands at the last key.
    block : int
        Tokens of a block.
    causal : bool
        Whether no query sees a later key.

    Raises
    ------
    TypeError
        If the scores are no floating-point numbers.
    ValueError
        If the shape does not fit, or a score is not a number.

    Examples
    --------
    >>> import torch
    >>> BlockScores(torch.tensor([[0.0, 5.0], [0.0, 0.0]]), 4, 4, 2, causal=True).probabilities().tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """

    logits: Tensor
    n_queries: int
    n_keys: int
    block: int
    causal: bool

    def __post_init__(self) -> None:
        COUNT.require(n_queries=self.n_queries, n_keys=self.n_keys, block=self.block)
        FLAG.check("causal", self.causal)
        check_scores(self.logits, "logits")
        wanted = (block_count(self.n_queries, self.block), block_count(self.n_keys, self.block))
        if tuple(self.logits.shape[-2:]) != wanted:
            raise ValueError(f"logits must have shape (..., {wanted[0]}, {wanted[1]}); got {tuple(self.logits.shape)}")
        seen = visible_blocks(self.n_queries, self.n_keys, self.block, self.causal).to(self.logits.device)
        object.__setattr__(self, "logits", self.logits.masked_fill(~seen, -torch.inf))

    def probabilities(self) -> Tensor:
        """Return the softmax over key blocks in single precision or wider; zeros for rows that may see nothing."""
        wide = self.logits.to(torch.promote_types(self.logits.dtype, torch.float32))
        return torch.softmax(wide, dim=-1).nan_to_num(0.0)
