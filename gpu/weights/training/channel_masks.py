"""Channels to prune, by the scales of their batch normalisations (MaskSparsity, network slimming)."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sparsetheory.constraints import COUNT, FRACTION, NONNEGATIVE
from sparsetheory.gpu.core.layers import weight_name
from sparsetheory.gpu.core.selection import check_scores, keep_largest

__all__ = ["energy_masks", "threshold_masks"]

Ties = Iterable[Sequence[str]]


def threshold_masks(
    model: nn.Module, threshold: float = 0.01, min_channels: int = 1, *, ties: Ties = ()
) -> dict[str, Tensor]:
    """Return the channels whose scales in batch normalisations are at most a threshold.

    Parameters
    ----------
    model : torch.nn.Module
        With batch normalisations that have scales.
    threshold : float
        Channels with ``|scale| <= threshold`` are pruned.
    min_channels : int
        Channels that every layer keeps at least: those of the largest scales, the first of equal ones.
    ties : iterable of sequence of str
        Names of normalisations whose channels are added to each other by residual connections. Each such group gets one
        mask: a channel counts with the largest of its scales in the group, so it is pruned where all are small.

    Returns
    -------
    dict of str to Tensor of bool of shape (channels,)
        By the name of the scale, such as ``"1.weight"``. True means: prune. :class:`MaskedPenalty` and
        :func:`remove_channels` take masks of this sense.

    Raises
    ------
    ValueError
        If the model has no such scales, they are not finite, or `ties` names others, one twice, or ones of different
        lengths.

    Notes
    -----
    Source: N. Jiang et al., "Pruning-aware Sparse Regularization for Network Pruning", 2022, method "th" of its code.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    >>> with torch.no_grad():
    ...     _ = model[1].weight.copy_(torch.tensor([0.5, -0.01, 0.0]))
    >>> threshold_masks(model)
    {'1.weight': tensor([False,  True,  True])}
    """
    NONNEGATIVE.check("threshold", threshold)
    return _masks(model, lambda scale: scale <= threshold, min_channels, ties)


def energy_masks(
    model: nn.Module, energy: float = 1e-4, negligible: float = 1e-3, min_channels: int = 1, *, ties: Ties = ()
) -> dict[str, Tensor]:
    """Return the channels of the smallest scales, as long as their squares sum up to less than a share of all.

    Of equal scales the first ones stay.

    Parameters
    ----------
    model : torch.nn.Module
        With batch normalisations that have scales.
    energy : float
        Share of the sum of the squared scales of a layer, in (0, 1): what is pruned stays below it.
    negligible : float
        A layer without a scale of at least this size is pruned but for `min_channels`.
    min_channels : int
        Channels that every layer keeps at least.
    ties : iterable of sequence of str
        Names of normalisations that have one mask, as in :func:`threshold_masks`.

    Returns
    -------
    dict of str to Tensor of bool of shape (channels,)
        By the name of the scale. True means: prune.

    Raises
    ------
    ValueError
        As :func:`threshold_masks` does.

    Notes
    -----
    Source: N. Jiang et al., "Pruning-aware Sparse Regularization for Network Pruning", 2022, method "OT" of its code.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    >>> with torch.no_grad():
    ...     _ = model[1].weight.copy_(torch.tensor([1.0, 0.02, 0.005]))
    >>> energy_masks(model)
    {'1.weight': tensor([False, False,  True])}
    """
    FRACTION.check("energy", energy)
    NONNEGATIVE.check("negligible", negligible)

    def small(scale: Tensor) -> Tensor:
        if bool(scale.max() < negligible):
            return torch.ones_like(scale, dtype=torch.bool)
        # From the smallest up; of equal ones the last goes first, so that the first ones stay.
        squares, order = (part.flip(0) for part in scale.cpu().double().square().sort(stable=True, descending=True))
        below = squares.cumsum(0) < energy * squares.sum()
        return torch.empty_like(below).scatter(0, order, below).to(scale.device)

    return _masks(model, small, min_channels, ties)


@torch.no_grad()
def _masks(model: nn.Module, small: Callable[[Tensor], Tensor], min_channels: int, ties: Ties) -> dict[str, Tensor]:
    COUNT.check("min_channels", min_channels)
    scales = _scales(model)
    found: dict[str, Tensor] = {}
    for names in _groups(scales, ties):
        sizes = torch.stack([scales[name].to(scales[names[0]].device) for name in names]).amax(0)
        kept = keep_largest(sizes, min(min_channels, len(sizes)))
        found |= {name: (small(sizes) & ~kept).to(scales[name].device) for name in names}
    return {name: found[name] for name in scales}


def _scales(model: nn.Module) -> dict[str, Tensor]:
    """Return the absolute scales of all batch normalisations, by name."""
    scales = {}
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.affine:
            own = weight_name(name)
            scales[own] = check_scores(module.weight, own).abs()
            if not bool(torch.isfinite(scales[own]).all()):
                raise ValueError(f"{own} must be finite; got infinity")
    if not scales:
        raise ValueError("model must have batch normalisations with scales; got none")
    return scales


def _groups(scales: dict[str, Tensor], ties: Ties) -> list[list[str]]:
    """Return the names of scales that share a mask: those of each tie, and every other one by itself."""
    groups = [[weight_name(name) for name in names] for names in ties]
    tied = [name for names in groups for name in names]
    for name in tied:
        if name not in scales:
            raise ValueError(
                f"ties must name batch normalisations with scales, one of {', '.join(scales)}; got "
                f"{name.removesuffix('.weight')!r}"
            )
    if len(set(tied)) < len(tied):
        raise ValueError(f"ties must name each normalisation once; got {', '.join(sorted(tied))}")
    for names in groups:
        if len({len(scales[name]) for name in names}) > 1:
            got = ", ".join(f"{len(scales[name])} of {name}" for name in names)
            raise ValueError(f"ties must name normalisations with equally many channels; got {got}")
    return [names for names in groups if names] + [[name] for name in scales if name not in tied]
