"""Which blocks of keys a block of queries may see, and which hold its own positions."""

import torch
from torch import Tensor

from sparsetheory.gpu.attention.block_geometry import query_mask, real_blocks

__all__ = ["block_count", "own_blocks", "visible_blocks"]


def block_count(length: int, block: int) -> int:
    """Return the number of blocks of a sequence; the last one may be short."""
    return -(-length // block)


def visible_blocks(n_queries: int, n_keys: int, block: int, causal: bool, key_mask: Tensor | None = None) -> Tensor:
    """Return the pairs of blocks with a pair of tokens that causality and padding allow.

    Parameters
    ----------
    n_queries, n_keys, block : int
        The last query stands at the last key.
    causal : bool
        Whether no query sees a later key.
    key_mask : Tensor of bool of shape (batch, n_keys), optional
        True where a token is real.

    Returns
    -------
    Tensor of bool of shape (query blocks, key blocks), or (batch, 1, query blocks, key blocks) with a mask
    """
    device = None if key_mask is None else key_mask.device
    first_key, _, _, last_query = _ends(n_queries, n_keys, block, device)
    seen = (
        last_query[:, None] >= first_key if causal else torch.ones(len(last_query), len(first_key), device=device) > 0
    )
    if key_mask is None:
        return seen
    rows, columns = real_blocks(query_mask(key_mask, n_queries), block), real_blocks(key_mask, block)
    return (seen & rows[:, :, None] & columns[:, None, :]).unsqueeze(1)


def own_blocks(n_queries: int, n_keys: int, block: int, device: torch.device | None = None) -> Tensor:
    """Return which blocks of keys hold positions of a block of queries; the diagonal where both are equally many."""
    first_key, last_key, first_query, last_query = _ends(n_queries, n_keys, block, device)
    return (first_key <= last_query[:, None]) & (last_key >= first_query[:, None])


def _ends(
    n_queries: int, n_keys: int, block: int, device: torch.device | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the positions of the first and last key and of the first and last query of every block."""
    first_key = torch.arange(0, n_keys, block, device=device)
    first_query = torch.arange(0, n_queries, block, device=device)
    shift = n_keys - n_queries
    last_key = (first_key + block - 1).clamp(max=n_keys - 1)
    return first_key, last_key, first_query + shift, (first_query + block - 1).clamp(max=n_queries - 1) + shift
