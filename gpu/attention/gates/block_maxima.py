"""Largest attention and summed attention of every pair of blocks, without the matrix of all pairs of tokens.

For one query r with scores ``s_rc``, let ``E_rj = log sum_{c in j} exp(s_rc)`` over the keys of block j. The normaliser
of its softmax is ``l_r = log sum_j exp(E_rj)``, so the mass of block j is ``exp(E_rj - l_r)``. As ``exp(s - l_r)``
increases with s, the largest probability in block j is ``exp(max_c s_rc - l_r)``. So a strip of queries needs two
numbers a query and block of keys, and the scores of one chunk of keys at a time.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.attention.block_geometry import query_mask

__all__ = ["block_mass", "block_max_attention"]

# Queries and keys whose scores are held at a time, nearly.
_ROWS, _CHUNK = 256, 1024


def block_max_attention(
    q: Tensor,
    k: Tensor,
    block: int = 64,
    causal: bool = True,
    *,
    scale: float | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Return the largest attention probability of every pair of blocks, rows divided by their sums.

    Parameters
    ----------
    q : Tensor of shape (..., heads, n_queries, head_dim)
    k : Tensor of shape (..., key heads, n_keys, head_dim)
        Each head of keys serves ``heads // key heads`` neighbouring heads of queries.
    block : int
        Tokens of a block; the last one may be short.
    causal : bool
        Whether no query sees a later key. The last query stands at the last key.
    scale : float, optional
        Factor of the products; ``head_dim ** -0.5`` by default.
    key_mask : Tensor of bool of shape (..., n_keys), optional
        True where a token is real. Queries are the last tokens of these, and padded ones count nothing.

    Returns
    -------
    Tensor of shape (..., heads, query blocks, key blocks)
        Of the dtype of `q`, computed in single precision or wider; so rows of half precision sum to 1 only to its
        rounding. A row of padding alone is zero.

    Raises
    ------
    ValueError
        If shapes do not fit, or an entry is not finite.

    Notes
    -----
    O(n_queries n_keys head_dim) operations; memory for 256 by 1024 scores a head beside the output.

    Examples
    --------
    >>> import torch
    >>> q = torch.zeros(1, 4, 2)
    >>> block_max_attention(q, q, 2)  # queries see 1, 2, 3 and 4 keys
    tensor([[[1.0000, 0.0000],
             [0.5000, 0.5000]]])
    """
    rows = [part.amax(-2) for part, _ in _strips(q, k, block, causal, scale, key_mask)]
    largest = torch.cat(rows, dim=-2)
    return (largest / largest.sum(-1, keepdim=True).clamp(min=torch.finfo(largest.dtype).tiny)).to(q.dtype)


def block_mass(
    q: Tensor,
    k: Tensor,
    block: int = 64,
    causal: bool = True,
    *,
    scale: float | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Return the sum of attention probabilities of every pair of blocks.

    Parameters
    ----------
    q, k, block, causal, scale, key_mask
        As in :func:`block_max_attention`.

    Returns
    -------
    Tensor of shape (..., heads, query blocks, key blocks)
        Rows sum to the number of real queries of the block.

    Examples
    --------
    >>> import torch
    >>> q = torch.zeros(1, 4, 2)
    >>> block_mass(q, q, 2)
    tensor([[[2.0000, 0.0000],
             [1.1667, 0.8333]]])
    """
    return torch.cat([part.sum(-2) for _, part in _strips(q, k, block, causal, scale, key_mask)], dim=-2).to(q.dtype)


def _strips(
    q: Tensor, k: Tensor, block: int, causal: bool, scale: float | None, key_mask: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for some blocks of queries largest and summed probabilities, (..., blocks, block, key blocks)."""
    _check(q, k, block, causal)
    wide = torch.promote_types(q.dtype, torch.float32)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    keys = k.to(wide).repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3)
    n_queries, n_keys = q.shape[-2], k.shape[-2]
    for first in range(0, n_queries, step := block * max(1, _ROWS // block)):
        places = torch.arange(first, min(first + step, n_queries), device=q.device) + n_keys - n_queries
        rows = q[..., first : first + step, :].to(wide) * scale
        maxima, masses = [], []
        for start in range(0, n_keys, chunk := block * max(1, _CHUNK // block)):
            part = keys[..., start : start + chunk, :]
            scores = rows @ part.mT
            if causal:
                columns = torch.arange(start, start + part.shape[-2], device=q.device)
                scores = scores.masked_fill(places[:, None] < columns, -torch.inf)
            if key_mask is not None:
                scores = scores.masked_fill(~key_mask[..., None, None, start : start + chunk], -torch.inf)
            cut = functional.pad(scores, (0, -scores.shape[-1] % block), value=-torch.inf).unflatten(-1, (-1, block))
            maxima.append(cut.amax(-1))
            masses.append(cut.logsumexp(-1))
        counted = _counted(key_mask, n_queries, first, step)
        yield _probabilities(torch.cat(maxima, -1), torch.cat(masses, -1), block, counted)


def _counted(key_mask: Tensor | None, n_queries: int, first: int, step: int) -> Tensor | None:
    """Return which queries of a strip are real, of shape (..., 1, queries, 1)."""
    return None if key_mask is None else query_mask(key_mask, n_queries)[..., None, first : first + step, None]


def _probabilities(maxima: Tensor, masses: Tensor, block: int, counted: Tensor | None) -> tuple[Tensor, Tensor]:
    """Divide by the normalisers and cut queries into blocks; queries that see nothing, or are padding, give zeros."""
    normaliser = masses.logsumexp(-1, keepdim=True)
    normaliser = normaliser.masked_fill(normaliser == -torch.inf, 0.0)
    both = [(part - normaliser).exp() for part in (maxima, masses)]
    if counted is not None:
        both = [part * counted for part in both]
    missing = -maxima.shape[-2] % block
    largest, summed = (functional.pad(part, (0, 0, 0, missing)).unflatten(-2, (-1, block)) for part in both)
    return largest, summed


def _check(q: Tensor, k: Tensor, block: int, causal: bool) -> None:
    COUNT.require(block=block)
    FLAG.check("causal", causal)
    if q.ndim < 3 or k.ndim < 3 or q.shape[-1] != k.shape[-1] or q.shape[-3] % k.shape[-3]:
        raise ValueError(
            "q and k must have shapes (..., heads, n, head_dim), the heads of q a multiple of those of k; "
            f"got {tuple(q.shape)} and {tuple(k.shape)}"
        )
    if causal and q.shape[-2] > k.shape[-2]:
        raise ValueError(f"q must have at most as many tokens as k for causal=True; got {q.shape[-2]}, {k.shape[-2]}")
    for name, part in (("q", q), ("k", k)):
        if not bool(torch.isfinite(part).all()):
            raise ValueError(f"{name} must hold finite numbers")
