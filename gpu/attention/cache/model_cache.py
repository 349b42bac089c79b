"""What pruning of keys and values does to a pretrained model, without a cache."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sparsetheory.constraints import FLAG
from sparsetheory.gpu.attention.cache.pruning import SPARSITY, prune_channels, prune_tokens
from sparsetheory.gpu.attention.model_attention import AttentionCall

__all__ = ["pruned_attention"]


def pruned_attention(
    k_sparsity: float = 0.0,
    v_sparsity: float = 0.0,
    *,
    structured: bool = False,
    official: bool = False,
    k_rotations: Sequence[Tensor] | None = None,
    v_rotations: Sequence[Tensor] | None = None,
) -> Callable[[AttentionCall], Tensor]:
    """Return an attention in which all keys and values are pruned, for a model to be run with.

    All tokens are pruned, also the most recent ones, so that the quality found is a lower bound of that of a cache.

    Parameters
    ----------
    k_sparsity, v_sparsity : float
        Share of each key and value to drop, at least 0 and below 1.
    structured : bool
        Whether the channels of the smallest norms are dropped from all tokens of a text.
    official : bool
        As in :func:`~sparsetheory.gpu.attention.cache.pruning.prune_tokens`.
    k_rotations, v_rotations : sequence of Tensor, optional
        One for each layer, as :func:`~sparsetheory.gpu.attention.cache.rotation.head_rotation` makes them: pruning
        takes place in these coordinates.

    Returns
    -------
    callable
        For :func:`~sparsetheory.gpu.attention.model_attention.replaced_attention`.

    Raises
    ------
    ValueError
        If a sparsity is out of range, or both `structured` and `official` are set.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.attention import AttentionCall
    >>> q, k, v = torch.randn(3, 1, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    >>> call = AttentionCall(0, q, k, v, torch.ones(1, 1, 5, 5, dtype=torch.bool), 8**-0.5)
    >>> bool(torch.equal(pruned_attention()(call), call.dense()))
    True
    >>> bool(torch.equal(pruned_attention(0.5)(call), call.dense()))
    False
    """
    for name, sparsity in (("k_sparsity", k_sparsity), ("v_sparsity", v_sparsity)):
        SPARSITY.check(name, sparsity)
    FLAG.require(structured=structured, official=official)
    if structured and official:
        raise ValueError("official must be False for whole channels; got True")

    def pruned(x: Tensor, sparsity: float, rotation: Tensor | None, call: AttentionCall) -> Tensor:
        if not sparsity:
            return x
        turned = x if rotation is None else x @ rotation
        if structured:
            kept = prune_channels(turned, sparsity, key_mask=call.key_mask[:, None])
        else:
            kept = prune_tokens(turned, sparsity, official)
        return kept if rotation is None else kept @ rotation.mT

    def attend(call: AttentionCall) -> Tensor:
        k_rotation = None if k_rotations is None else k_rotations[call.layer]
        v_rotation = None if v_rotations is None else v_rotations[call.layer]
        with torch.no_grad():
            k = pruned(call.k, k_sparsity, k_rotation, call)
            v = pruned(call.v, v_sparsity, v_rotation, call)
        return replace(call, k=k, v=v).dense()

    return attend
