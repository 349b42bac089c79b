"""Which entries of cached keys and values stay: the largest of each token, or whole channels.

Source: D. Joo, H. Hosseini, R. Hadidi, B. Asgari, "MUSTAFAR: Promoting Unstructured Sparsity for KV Cache Pruning in
LLM Inference", NeurIPS 2025, arXiv 2505.22913, and its published code. Whole channels are the rule of Y. Xu et al.,
"ThinK: Thinner Key Cache by Query-Driven Pruning", ICLR 2025, arXiv 2407.21018.
"""

import math

import torch
from torch import Tensor

from sparsetheory.constraints import FLAG, Real
from sparsetheory.gpu.core.patterns import PerRow
from sparsetheory.gpu.core.selection import check_scores

__all__ = ["SPARSITY", "prune_channels", "prune_tokens", "survivors"]

SPARSITY = Real(0.0, 1.0, closed="left")


def survivors(sparsity: float, width: int) -> int:
    """Return how many of `width` entries a sparsity leaves: all but ``floor(sparsity * width)``."""
    return width - math.floor(SPARSITY.check("sparsity", sparsity) * width)


def prune_tokens(x: Tensor, sparsity: float, official: bool = False, *, weight: Tensor | None = None) -> Tensor:
    """Set the smallest entries of every token to zero.

    For values this is the best choice whatever the attention will be: in the output, a sum of tokens times their
    attention, dropping an entry of a token costs its magnitude times a factor that all entries of the token share. For
    keys an entry counts as much as the query is large there; `weight` can say so.

    Parameters
    ----------
    x : Tensor of shape (..., width)
        Keys after rotary positions, or values.
    sparsity : float
        Share of each token to drop, at least 0 and below 1.
    official : bool
        As the published code has it: everything stays that is not smaller than the ``floor(sparsity * width)``-th
        smallest magnitude, or than the smallest if that is none. This is one entry more, and all that tie there.
        Otherwise exactly ``width - floor(sparsity * width)`` entries stay, of equal ones those in front.
    weight : Tensor, optional
        Broadcasts against `x`, not negative: magnitudes are compared after multiplication with it. The sum of the
        magnitudes of recent queries makes the rule for keys aware of the output.

    Returns
    -------
    Tensor
        Of the shape, dtype and device of `x`.

    Raises
    ------
    TypeError
        If `x` is not a tensor of floating-point numbers.
    ValueError
        If `sparsity` is not in [0, 1), or `x` or `weight` holds NaN.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[4.0, -1.0, 3.0, 2.0]])
    >>> prune_tokens(x, 0.5)
    tensor([[4., 0., 3., 0.]])
    >>> prune_tokens(x, 0.5, official=True)
    tensor([[4., 0., 3., 2.]])
    >>> prune_tokens(x, 0.5, weight=torch.tensor([1.0, 9.0, 1.0, 1.0]))
    tensor([[ 4., -1.,  0.,  0.]])
    """
    FLAG.check("official", official)
    score = _scores(x, weight)
    kept = survivors(sparsity, x.shape[-1])
    if official:
        threshold = score.kthvalue(max(1, x.shape[-1] - kept), dim=-1, keepdim=True).values
        keep = score >= threshold
    else:
        keep = PerRow(kept).mask(score, name="x")
    return torch.where(keep, x, torch.zeros_like(x))


def prune_channels(
    x: Tensor, sparsity: float, *, weight: Tensor | None = None, key_mask: Tensor | None = None
) -> Tensor:
    """Set the same channels of all tokens to zero, those of the smallest norms.

    Parameters
    ----------
    x : Tensor of shape (..., tokens, width)
        Keys or values; channels are chosen for each leading index by itself.
    sparsity : float
        Share of the channels to drop, at least 0 and below 1.
    weight : Tensor of shape (..., width), optional
        Multiplies the norms of the channels. With the norms of the channels of recent queries, this is the rule of
        ThinK.
    key_mask : Tensor of bool of shape (..., tokens), optional
        True for tokens that count in the norms; padding should not.

    Returns
    -------
    Tensor
        Of the shape, dtype and device of `x`.

    Raises
    ------
    TypeError, ValueError
        As in :func:`prune_tokens`.

    Examples
    --------
    >>> import torch
    >>> prune_channels(torch.tensor([[3.0, 1.0], [0.0, 2.0]]), 0.5)
    tensor([[3., 0.],
            [0., 0.]])
    """
    counted = x if key_mask is None else x * key_mask.unsqueeze(-1)
    norms = torch.linalg.vector_norm(check_scores(counted, "x").to(torch.float64), dim=-2)
    keep = PerRow(survivors(sparsity, x.shape[-1])).mask(_scores(norms, weight), name="x")
    return torch.where(keep.unsqueeze(-2), x, torch.zeros_like(x))


def _scores(x: Tensor, weight: Tensor | None) -> Tensor:
    score = check_scores(x, "x").abs()
    return score if weight is None else check_scores(score * weight.to(score.device), "x times weight")
