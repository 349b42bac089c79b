"""Weights of a trained Bayesian network that matter least, removed at once."""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import Choice, Real
from sparsetheory.gpu.bayesian.layers.modes import variational_layers
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.bayesian.subspace.removal_scores import removal_score
from sparsetheory.gpu.core.layers import weight_name
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.selection import keep_largest, kept_count

__all__ = ["posterior_masks"]

_DENSITY = Real(0.0, 1.0)
_SCOPE = Choice("global", "layer")


def posterior_masks(
    model: nn.Module,
    density: float,
    criterion: str = "snr",
    *,
    scope: str = "global",
    rate: float = 1.0,
    prior_std: float | None = None,
) -> MaskSet:
    """Keep the normal weights of a network that score best after training.

    Parameters
    ----------
    model : torch.nn.Module
        With normal weights, see :func:`bayesianise`; left as it is.
    density : float
        Share of all normal weights to keep, from 0 to 1. Weights off the masks of layers are removed first.
    criterion : str
        As :func:`removal_score` takes it: "snr" for means in standard deviations, "savage_dickey" for the loss of
        evidence if a weight is set to zero.
    scope : {"global", "layer"}
        Whether the share is one of all weights together, or of those of each layer.
    rate, prior_std : float
        As :func:`removal_score` takes them. Without `prior_std` that of each layer counts.

    Returns
    -------
    MaskSet
        By names of weights, with exactly ``n - round((1 - density) n)`` of n entries, halves to even, or all that are
        on the masks if these are fewer. Of entries that tie at the cut the first ones stay.

    Raises
    ------
    ValueError
        If an argument is out of range, or the model has no normal weights.

    Notes
    -----
    O(n). Ratios of mean and deviation as a rule for networks: A. Graves, "Practical variational inference for neural
    networks", NeurIPS 2011; C. Blundell, J. Cornebise, K. Kavukcuoglu, D. Wierstra, "Weight uncertainty in neural
    networks", ICML 2015, arXiv:1505.05424.

    Examples
    --------
    >>> from sparsetheory.gpu.bayesian import bayesianise
    >>> from sparsetheory.gpu.core.models import MLP
    >>> model = bayesianise(MLP([8, 16, 2]), 1.0, generator=0)
    >>> posterior_masks(model, 0.1)
    MaskSet(2 masks, 16 of 160 entries kept)
    """
    _DENSITY.check("density", density)
    _SCOPE.check("scope", scope)
    layers = variational_layers(model)
    if not layers:
        raise ValueError("model must have layers with normal weights, as bayesianise makes them; got none")
    scores = {name: _scores(layer, criterion, rate, prior_std) for name, layer in layers.items()}
    if scope == "layer":
        kept = {name: keep_largest(score, kept_count(density, score.numel())) for name, score in scores.items()}
    else:
        home = next(iter(scores.values())).device
        together = torch.cat([score.to(home) for score in scores.values()])
        best = keep_largest(together, kept_count(density, together.numel()))
        kept = dict(zip(scores, best.split([score.numel() for score in scores.values()]), strict=True))
    return MaskSet(
        {
            weight_name(name): kept[name].to(layer.mask.device).view_as(layer.mask) & layer.mask
            for name, layer in layers.items()
        }
    )


@torch.no_grad()
def _scores(layer: VariationalLayer, criterion: str, rate: float, prior_std: float | None) -> Tensor:
    """Return scores as a vector of doubles; off the mask they are below all others."""
    own = layer.prior_std if prior_std is None else prior_std
    sigma = torch.where(layer.mask, layer.sigma, 1.0)
    score = removal_score(layer.mean, sigma, criterion, rate=rate, prior_std=own)
    return score.double().masked_fill(~layer.mask, -torch.inf).flatten()
