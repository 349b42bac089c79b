"""Lottery tickets: iterative magnitude pruning with rewinding."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from sparsetheory.constraints import Choice, Real, Several
from sparsetheory.gpu.core.layers import find_layers
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.weights.one_shot.magnitude_masks import one_shot_masks
from sparsetheory.gpu.weights.one_shot.pruned_copies import layer_weights

__all__ = ["Ticket", "lottery_tickets"]

_DENSITIES = Several(Real(0.0, 1.0, closed="right"), "a sequence of numbers above 0 and at most 1")


@dataclass(frozen=True, eq=False)
class Ticket:
    """A sparse network after its round of training.

    Parameters
    ----------
    density : float
        Share of the pruned layers' weights that was asked for.
    model : torch.nn.Module
        Trained; its weights are 0 off the masks.
    masks : MaskSet
        Of the weights of the pruned layers, exactly as many entries as the density says, halves to even.
    """

    density: float
    model: nn.Module
    masks: MaskSet


def lottery_tickets(
    model: nn.Module,
    fit: Callable[[nn.Module], object],
    densities: Sequence[float],
    *,
    layers: str | Sequence[str] = "*",
    scope: str = "global",
) -> list[Ticket]:
    """Train, prune the smallest weights, rewind the others to where they started, and train again, through densities.

    The model is not touched: each round trains a copy of it.

    Parameters
    ----------
    model : torch.nn.Module
        At the point to rewind to: just initialised, or after some steps. Buffers are rewound too.
    fit : callable
        Trains the copy that it is given, in place, with an optimiser that it makes. In each round it should do the
        same; whatever it returns is not looked at. Pruned weights start at 0 and their gradients are 0, which every
        optimiser of torch leaves as they are.
    densities : sequence of float
        Falling, above 0 and at most 1. A first round trains all weights, also where the first density is below 1.
    layers : str or sequence of str
        Layers to prune, as :func:`sparsetheory.gpu.core.find_layers` takes them; all linear and convolutional ones.
    scope : {"global", "layer"}
        Whether the weights of all layers compete, or each layer has the density.

    Returns
    -------
    list of Ticket
        One for each density. Their masks contain each other.

    Raises
    ------
    ValueError
        If densities are out of range or do not fall.

    Notes
    -----
    As many trainings as densities, and one more where the first is below 1. The operations are those of
    ``training_flops("imp", ...)``.

    References
    ----------
    .. [1] J. Frankle, M. Carbin. The lottery ticket hypothesis: finding sparse, trainable neural networks. ICLR 2019,
       arXiv:1803.03635.
    .. [2] J. Frankle, G. K. Dziugaite, D. Roy, M. Carbin. Linear mode connectivity and the lottery ticket hypothesis.
       ICML 2020, arXiv:1912.05671 (rewinding).

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import train
    >>> from sparsetheory.gpu.core.models import MLP
    >>> x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> def fit(model):
    ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    ...     train(model, x, y, optimizer=optimizer, n_steps=20)
    >>> tickets = lottery_tickets(MLP([8, 16, 2]), fit, [1.0, 0.5, 0.1])
    >>> [ticket.masks.n_nonzero for ticket in tickets]
    [160, 80, 16]
    """
    path = [float(density) for density in _DENSITIES.check("densities", densities)]
    if not path or any(later >= earlier for earlier, later in pairwise(path)):
        raise ValueError(f"densities must fall, at least one of them; got {path}")
    Choice("global", "layer").require(scope=scope)
    find_layers(model, layers)
    current = _trained(model, fit, None)
    masks = MaskSet({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in _weights(current, layers)})
    tickets = []
    for density in path:
        if density < 1.0:
            masks = _pruned(current, masks, density, scope)
            current = _trained(model, fit, masks)
        tickets.append(Ticket(density, current, masks))
    return tickets


def _weights(model: nn.Module, layers: str | Sequence[str]) -> list[tuple[str, nn.Parameter]]:
    return list(layer_weights(model, layers).items())


def _pruned(model: nn.Module, masks: MaskSet, density: float, scope: str) -> MaskSet:
    """Return smaller masks: of what was kept, the largest weights."""
    tiny = torch.finfo(torch.float64).tiny
    sizes = {
        # A kept weight that has become 0 must stay above those that were pruned before.
        name: torch.where(mask, model.get_parameter(name).detach().double().abs().clamp_min(tiny), 0.0)
        for name, mask in masks.items()
    }
    return one_shot_masks(sizes, 1.0 - density, scope)


def _trained(model: nn.Module, fit: Callable[[nn.Module], object], masks: MaskSet | None) -> nn.Module:
    """Train a copy from the point to rewind to; entries off the masks stay 0."""
    trained = copy.deepcopy(model)
    if masks is None:
        fit(trained)
        return trained
    masks.apply(trained)
    gated = {weight: mask for weight, mask in masks.by_parameter(trained).items() if weight.requires_grad}
    handles = [weight.register_hook(_gate(mask)) for weight, mask in gated.items()]
    try:
        fit(trained)
    finally:
        for handle in handles:
            handle.remove()
    masks.apply(trained)
    return trained


def _gate(mask: Tensor) -> Callable[[Tensor], Tensor]:
    # Not a product: 0 times an infinite gradient is no number.
    return lambda gradient: gradient.masked_fill(~mask, 0)
