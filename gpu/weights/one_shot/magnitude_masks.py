"""Masks that remove the smallest weights of a model at once."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sparsetheory.constraints import Choice, Instance, Real
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.selection import check_scores, keep_largest

__all__ = ["MAPPING", "SPARSITY", "one_shot_masks"]

SPARSITY = Real(0.0, 1.0)
MAPPING = Instance(Mapping, "a mapping of names to tensors")


def one_shot_masks(params: Mapping[str, Tensor], sparsity: float, scope: str = "global") -> MaskSet:
    """Keep all weights but the smallest ones, of all tensors together or of each by itself.

    Exactly ``round(sparsity * n)`` of n entries are removed, halves to even. Of entries that tie at the cut the first
    ones stay, tensor after tensor. So masks of growing sparsity contain each other, and they equal those of
    ``torch.nn.utils.prune.global_unstructured`` with ``L1Unstructured`` wherever no entries tie at the cut.

    Parameters
    ----------
    params : mapping of str to Tensor
        Weights under their names, such as ``dict(model.named_parameters())``. Real floating-point numbers.
    sparsity : float
        Share of the entries to remove, from 0 to 1.
    scope : {"global", "layer"}
        Whether the share is one of all entries together, or of those of each tensor.

    Returns
    -------
    MaskSet
        Each mask on the device of its tensor.

    Raises
    ------
    TypeError
        If a tensor does not hold real floating-point numbers.
    ValueError
        If `params` is no mapping, or a tensor holds NaN.

    Notes
    -----
    O(n) time, without a sort, and one copy of the magnitudes.

    References
    ----------
    Jaiswal, Liu, Chen, Wang, "The Emergence of Essential Sparsity in Large Pre-trained Models: The Weights that
    Matter", NeurIPS 2023, arXiv:2306.03805.

    Examples
    --------
    >>> import torch
    >>> params = {"a": torch.tensor([4.0, -0.1]), "b": torch.tensor([[0.2, -3.0]])}
    >>> masks = one_shot_masks(params, 0.5)
    >>> masks["a"], masks["b"]
    (tensor([ True, False]), tensor([[False,  True]]))
    """
    sparsity = SPARSITY.check("sparsity", sparsity)
    Choice("global", "layer").require(scope=scope)
    MAPPING.check("params", params)
    sizes = {name: check_scores(weight, name).abs().reshape(-1) for name, weight in params.items()}
    if scope == "layer":
        kept = {name: _kept(size, sparsity) for name, size in sizes.items()}
    else:
        kept = _kept_together(sizes, sparsity)
    return MaskSet({name: mask.reshape(params[name].shape) for name, mask in kept.items()})


def _kept(size: Tensor, sparsity: float) -> Tensor:
    # Removed entries are counted from the sparsity itself: from 1 - (1 - sparsity) a half could round the other way.
    return keep_largest(size, size.numel() - round(sparsity * size.numel()))


def _kept_together(sizes: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    if not sizes:
        return {}
    home = next(iter(sizes.values())).device
    together = torch.cat([size.to(home) for size in sizes.values()])
    parts = _kept(together, sparsity).split([size.numel() for size in sizes.values()])
    return {name: part.to(size.device) for (name, size), part in zip(sizes.items(), parts, strict=True)}
