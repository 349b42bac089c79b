"""Start masks that consist of whole units."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import MISSING, Instance, Real
from sparsetheory.gpu.bayesian.layers.modes import variational_layers
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.core.patterns import MaskUnits, mask_units
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["structured_masks"]

_SHARE = Real(0.0, 1.0, closed="right")


def structured_masks(
    model: nn.Module,
    units: Any,
    *,
    density: float | None = None,
    generator: torch.Generator | int | None = None,
) -> nn.Module:
    """Give the layers with normal weights random masks of whole units, in place.

    Means and deviations on the old masks move to the new ones in random order, so that they keep their distribution;
    where more are needed some are used twice. Make the optimiser and the controller afterwards or before: parameters
    and masks stay the same tensors.

    Parameters
    ----------
    model : torch.nn.Module
        As :func:`bayesianise` returns it.
    units : str, tuple or pattern, or mapping of str to those
        See :func:`sparsetheory.gpu.core.mask_units`; a mapping has them by the names of layers, and layers that it does
        not name stay as they are.
    density : float, optional
        Share of the units that are active, in (0, 1], at least one in each layer. By default each layer keeps its
        density, rounded to whole units. Layers of which all weights are active stay as they are; units with n of every
        m active have the density n / m.
    generator : torch.Generator or int, optional
        On the CPU.

    Returns
    -------
    torch.nn.Module
        The model itself.

    Raises
    ------
    ValueError
        If units do not fill a layer, a name is not that of a layer, a mask keeps no weight, or the density is out of
        range. The model is then unchanged.

    Examples
    --------
    >>> from sparsetheory.gpu.bayesian import bayesianise
    >>> model = bayesianise(nn.Sequential(nn.Linear(8, 4)), 0.5, dense_first=False, generator=0)
    >>> structured_masks(model, "rows", generator=0)[0].mask.all(1).sum()
    tensor(2)
    """
    (MISSING | _SHARE).check("density", density)
    Instance(nn.Module, "a torch.nn.Module").check("model", model)
    source = cpu_generator(generator)
    layers = variational_layers(model)
    given = units if isinstance(units, Mapping) else dict.fromkeys(layers, units)
    unknown = [name for name in given if name not in layers]
    if unknown or not layers:
        raise ValueError(f"units must be given for layers with normal weights; got {', '.join(unknown) or 'none'}")
    chosen = {name: layer for name, layer in layers.items() if name in given and not bool(layer.mask.all())}
    empty = [name for name, layer in chosen.items() if not bool(layer.mask.any())]
    if empty:
        raise ValueError(f"masks must keep at least 1 weight, whose values the new ones take; {empty[0]} keeps none")
    parts = {name: mask_units(given[name], layer.mask.shape, name=name) for name, layer in chosen.items()}
    for name, layer in chosen.items():
        _move(layer, _draw(parts[name], given[name], layer, density, source), source)
    return model


def _draw(
    part: MaskUnits, units: Any, layer: VariationalLayer, density: float | None, source: torch.Generator
) -> Tensor:
    """Return a random mask of whole units, of the density of the layer or of the one given."""
    if part.n is not None and part.m is not None:
        share = part.n / part.m
    else:
        n_units = math.prod(part.grid_shape)
        wanted = float(layer.mask.double().mean()) if density is None else density
        share = max(1, round(wanted * n_units)) / n_units
    return random_masks({"layer": part.shape}, {"layer": share}, source, units=units)["layer"]


@torch.no_grad()
def _move(layer: VariationalLayer, mask: Tensor, source: torch.Generator) -> None:
    """Give a layer a mask, and the weights on it the values of those on the old one."""
    mask = mask.to(layer.mask.device)
    size, had = int(mask.sum()), int(layer.mask.sum())
    order = torch.cat([torch.randperm(had, generator=source) for _ in range(-(-size // had))])[:size]
    values = [tensor[layer.mask][order.to(tensor.device)] for tensor in (layer.weight, layer.rho)]
    layer.set_mask(mask)
    for tensor, kept in zip((layer.weight, layer.rho), values, strict=True):
        tensor[mask] = kept
