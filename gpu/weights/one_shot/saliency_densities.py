"""Densities of layers by what single weights mean for the loss at the start: the ratios of SNIP and GraSP.

Both methods choose weights. Here only the share of each layer is taken from them; which of its weights stay is drawn
at random, by :func:`sparsetheory.gpu.core.random_masks`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sparsetheory.constraints import Real
from sparsetheory.gpu.core.patterns import GlobalPattern
from sparsetheory.gpu.weights.one_shot.connection_scores import Loss, grasp_scores, snip_scores

__all__ = ["grasp_densities", "snip_densities"]

_DENSITY = Real(0.0, 1.0, closed="right")


def snip_densities(
    model: nn.Module,
    batch: tuple[Any, Tensor],
    loss_fn: Loss,
    density: float,
    *,
    initialisation: str | None = "glorot_normal",
    random_state: int = 0,
) -> dict[str, float]:
    """Give each layer the share of its weights that SNIP keeps.

    The largest scores of all layers together are kept, see :func:`snip_scores`.

    Parameters
    ----------
    model, batch, loss_fn, random_state
        As for :func:`snip_scores`.
    density : float
        Share of all weights to keep, above 0 and at most 1.
    initialisation : str, optional
        As for :func:`snip_scores`; by default normal, with the variance of Glorot, as published.

    Returns
    -------
    dict of str to float
        Under the names of the parameters, for :func:`sparsetheory.gpu.core.random_masks`. The budget is met to the
        entry. A layer may get nothing.

    References
    ----------
    Liu et al., "The Unreasonable Effectiveness of Random Pruning", ICLR 2022, arXiv:2202.02643.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import class_loss, random_masks
    >>> from sparsetheory.gpu.core.models import MLP
    >>> model, x = MLP([8, 16, 2]), torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    >>> densities = snip_densities(model, (x, (x[:, 0] > 0).long()), class_loss, 0.25)
    >>> random_masks({name: model.get_parameter(name).shape for name in densities}, densities, 0)
    MaskSet(2 masks, 40 of 160 entries kept)
    """
    _DENSITY.check("density", density)
    scores = snip_scores(model, batch, loss_fn, initialisation=initialisation, random_state=random_state)
    return _shares(scores, density)


def grasp_densities(
    model: nn.Module,
    batch: tuple[Any, Tensor],
    loss_fn: Loss,
    density: float,
    *,
    n_per_class: int | None = 25,
    temperature: float = 200.0,
    initialisation: str | None = "glorot_normal",
    random_state: int = 0,
) -> dict[str, float]:
    """Give each layer the share of its weights that GraSP keeps.

    The largest scores of all layers together are kept, see :func:`grasp_scores`.

    Parameters
    ----------
    model, batch, loss_fn, n_per_class, temperature, random_state
        As for :func:`grasp_scores`.
    density, initialisation
        As for :func:`snip_densities`.

    Returns
    -------
    dict of str to float
        As :func:`snip_densities` returns them.

    References
    ----------
    Liu et al., "The Unreasonable Effectiveness of Random Pruning", ICLR 2022, arXiv:2202.02643.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import class_loss
    >>> from sparsetheory.gpu.core.models import MLP
    >>> model, x = MLP([8, 16, 2]), torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    >>> densities = grasp_densities(model, (x, (x[:, 0] > 0).long()), class_loss, 0.25)
    >>> round(128 * densities["0.weight"] + 32 * densities["2.weight"], 9)
    40.0
    """
    _DENSITY.check("density", density)
    scores = grasp_scores(
        model,
        batch,
        loss_fn,
        n_per_class=n_per_class,
        temperature=temperature,
        initialisation=initialisation,
        random_state=random_state,
    )
    return _shares(scores, density)


def _shares(scores: Mapping[str, Tensor], density: float) -> dict[str, float]:
    masks = GlobalPattern(density).mask(scores)
    return {name: int(mask.count_nonzero()) / mask.numel() for name, mask in masks.items()}
