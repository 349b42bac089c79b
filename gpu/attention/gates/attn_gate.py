"""The learned gate of SeerAttention: pooled queries and keys, one linear map for each head, a product."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.attention.gates.block_scores import BlockScores
from sparsetheory.gpu.attention.gates.pooling import Pool, PooledBlocks, check_pools, pool_attention
from sparsetheory.gpu.attention.gates.rotary import Rotary, rotate
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["AttnGate"]


class AttnGate(nn.Module):
    """A gate that scores blocks of keys for blocks of queries.

    A block of queries becomes the mean of its queries; a block of keys becomes largest, smallest and mean values of its
    features side by side. A linear map without bias for each head brings keys to the width of the gate. Queries have a
    map only where their width differs from that of the gate, where they are pooled in several ways, or where it is
    asked for. Both are then turned by the rotary positions of the first tokens of their blocks, where there are
    positions, and multiplied.

    Without a map of queries the scores are linear in the weights, so fitting them to block masses is a convex problem:
    see :func:`fit_gate_convex`.

    Parameters
    ----------
    head_dim : int
        Features of a head.
    n_q_heads, n_kv_heads : int
        Heads of queries and of keys. Each head of keys serves ``n_q_heads // n_kv_heads`` neighbouring heads of
        queries.
    block : int
        Tokens of a block.
    gate_dim : int, optional
        Features of the product; `head_dim` by default.
    q_pool, k_pool : sequence of {"avg", "max", "min"}
        How a block is pooled.
    force_q_map : bool
        Whether queries have a map even where it is not needed.
    causal : bool
        Whether no query sees a later key.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU: Xavier uniform for each head.

    Attributes
    ----------
    k_map : Parameter of shape (heads, len(k_pool) * head_dim, gate_dim)
        One map for each head of queries; with a map of queries one for each head of keys.
    q_map : Parameter of shape (n_q_heads, len(q_pool) * head_dim, gate_dim), or None

    Raises
    ------
    ValueError
        If heads cannot be shared equally, or a way of pooling is unknown.

    Notes
    -----
    A score costs ``2 gate_dim`` operations, one for ``block ** 2`` pairs of tokens.

    Source: Y. Gao et al., "SeerAttention: Learning Intrinsic Sparse Attention in Your LLMs", arXiv 2410.13276, and the
    authors' code. Unlike it, padding takes no part in a pooled value of a block that is partly padding.

    Examples
    --------
    >>> import torch
    >>> gate = AttnGate(head_dim=8, n_q_heads=4, n_kv_heads=2, block=4)
    >>> gate.k_map.shape, gate.q_map is None
    (torch.Size([4, 24, 8]), True)
    >>> gate(torch.ones(1, 4, 10, 8), torch.ones(1, 2, 10, 8)).logits.shape
    torch.Size([1, 4, 3, 3])
    """

    def __init__(
        self,
        head_dim: int,
        n_q_heads: int,
        n_kv_heads: int,
        block: int = 64,
        gate_dim: int | None = None,
        q_pool: Sequence[Pool] = ("avg",),
        k_pool: Sequence[Pool] = ("max", "min", "avg"),
        *,
        force_q_map: bool = False,
        causal: bool = True,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        gate_dim = head_dim if gate_dim is None else gate_dim
        COUNT.require(head_dim=head_dim, n_q_heads=n_q_heads, n_kv_heads=n_kv_heads, block=block, gate_dim=gate_dim)
        FLAG.require(force_q_map=force_q_map, causal=causal)
        check_pools(q_pool=q_pool, k_pool=k_pool)
        if n_q_heads % n_kv_heads:
            raise ValueError(f"n_q_heads must be a multiple of n_kv_heads={n_kv_heads}; got {n_q_heads}")
        self.n_q_heads, self.n_kv_heads, self.gate_dim = n_q_heads, n_kv_heads, gate_dim
        self.block, self.causal = block, causal
        self.q_pool, self.k_pool = tuple(q_pool), tuple(k_pool)
        source = cpu_generator(generator)
        self.q_map: nn.Parameter | None = None
        if force_q_map or len(q_pool) > 1 or gate_dim != head_dim:
            self.q_map = _maps(n_q_heads, len(q_pool) * head_dim, gate_dim, source)
        n_maps = n_q_heads if self.q_map is None else n_kv_heads
        self.k_map = _maps(n_maps, len(k_pool) * head_dim, gate_dim, source)

    def forward(
        self, q: Tensor, k: Tensor, rotary: Rotary | None = None, key_mask: Tensor | None = None
    ) -> BlockScores:
        """Return the scores of blocks.

        Parameters
        ----------
        q : Tensor of shape (batch, n_q_heads, n_queries, head_dim)
            Before rotary positions.
        k : Tensor of shape (batch, n_kv_heads, n_keys, head_dim)
            Before rotary positions.
        rotary : tuple of Tensor of shape (batch or 1, n_keys, turned features), optional
            Cosines and sines at all tokens, at most `gate_dim` of them a token; see :func:`rotary_tables`.
        key_mask : Tensor of bool of shape (batch, n_keys), optional
            True where a token is real.
        """
        pooled = pool_attention(
            q,
            k,
            self.block,
            causal=self.causal,
            q_pool=self.q_pool,
            k_pool=self.k_pool,
            rotary=rotary,
            key_mask=key_mask,
        )
        return BlockScores(self.score(pooled), pooled.n_queries, pooled.n_keys, self.block, self.causal)

    def score(self, pooled: PooledBlocks, k_map: Tensor | None = None) -> Tensor:
        """Return scores of shape (batch, n_q_heads, query blocks, key blocks), minus infinity where nothing is seen.

        Another map of keys, of the shape of that of the gate, may take its place.
        """
        q, k = self._mapped(pooled, self.k_map if k_map is None else k_map)
        return (q @ k.mT / math.sqrt(self.gate_dim)).masked_fill(~pooled.visible, -torch.inf)

    def _mapped(self, pooled: PooledBlocks, k_map: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries and keys of the width of the gate, one head of keys for each head of queries."""
        q, k = pooled.q, pooled.k
        group = self.n_q_heads // self.n_kv_heads
        if self.q_map is None:
            k = k.repeat_interleave(group, dim=1) @ k_map
        else:
            q, k = q @ self.q_map, k @ k_map
        if pooled.rotary is not None:
            if pooled.rotary[0].shape[-1] > self.gate_dim:
                raise ValueError(
                    f"rotary must turn at most gate_dim={self.gate_dim} features; got {pooled.rotary[0].shape[-1]}"
                )
            q, k = rotate(q, pooled.rotary), rotate(k, pooled.rotary)
        return q, k if self.q_map is None else k.repeat_interleave(group, dim=1)

    def extra_repr(self) -> str:
        """Return what tells gates apart."""
        return (
            f"block={self.block}, n_q_heads={self.n_q_heads}, n_kv_heads={self.n_kv_heads}, gate_dim={self.gate_dim}, "
            f"q_pool={self.q_pool}, k_pool={self.k_pool}, causal={self.causal}"
        )


def _maps(n_maps: int, n_inputs: int, n_outputs: int, source: torch.Generator) -> nn.Parameter:
    bound = math.sqrt(6.0 / (n_inputs + n_outputs))
    return nn.Parameter(torch.empty(n_maps, n_inputs, n_outputs).uniform_(-bound, bound, generator=source))
