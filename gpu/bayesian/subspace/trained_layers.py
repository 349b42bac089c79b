"""The layers of a model that a scheduler of swaps is for, and what must be true of them."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from sparsetheory.constraints import COUNT, MISSING, Real
from sparsetheory.gpu.bayesian.layers.modes import variational_layers
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.core.hooks.steps import parameters_of

__all__ = ["check_density", "check_steps", "trained_layers", "units_by_weight"]

_SHARE = Real(0.0, 1.0, closed="right")


def check_steps(period: int, grad_accumulation: int, t_end: int) -> tuple[int, int, int]:
    """Return three numbers of steps if they fit each other."""
    COUNT.require(period=period, grad_accumulation=grad_accumulation, t_end=t_end)
    if period <= grad_accumulation:
        raise ValueError(f"period must be above grad_accumulation, {grad_accumulation}; got {period}")
    if t_end <= period:
        raise ValueError(f"t_end must be above period, {period}, or there is no swap; got {t_end}")
    return int(period), int(grad_accumulation), int(t_end)


def trained_layers(model: nn.Module, optimizer: Optimizer) -> dict[str, VariationalLayer]:
    """Return the layers whose means and deviations an optimiser trains, by name."""
    known = {id(parameter) for parameter in parameters_of(optimizer) if parameter.requires_grad}
    found: dict[str, VariationalLayer] = {}
    owners: dict[int, str] = {}
    for name, layer in variational_layers(model).items():
        trained = [id(parameter) in known for parameter in (layer.weight, layer.rho)]
        if trained[0] != trained[1]:
            raise ValueError(
                f"optimizer must train both weight and rho of {name or 'the model'}; it has only "
                f"{'weight' if trained[0] else 'rho'}: make it after bayesianise"
            )
        if id(layer.weight) in owners:
            raise ValueError(f"layers must have weights of their own; {owners[id(layer.weight)]} and {name} share one")
        owners[id(layer.weight)] = name
        if trained[0]:
            found[name] = layer
    if not found:
        raise ValueError(
            "model must have layers with normal weights that the optimiser trains; got none: call bayesianise, then "
            "make the optimiser"
        )
    return found


def check_density(layers: Mapping[str, VariationalLayer], density: float | None) -> None:
    """Raise unless each mask keeps a weight, and those that are not full have the density, if one is given."""
    (MISSING | _SHARE).check("density", density)
    for name, layer in layers.items():
        kept, size = int(layer.mask.sum()), layer.mask.numel()
        if kept == 0:
            raise ValueError(f"masks must keep at least 1 weight; that of {name or 'the model'} keeps none of {size}")
        if density is not None and kept < size and kept != round(density * size):
            raise ValueError(
                f"density must be that of the masks; got {density:g} where {name or 'the model'} keeps {kept} of "
                f"{size}: give it to bayesianise"
            )


def units_by_weight(layers: Mapping[str, VariationalLayer], units: Any) -> Any:
    """Return units by the means that they are for, where they are given by names of layers; others as they are."""
    if not isinstance(units, Mapping):
        return units
    unknown = sorted(set(units) - set(layers))
    if unknown:
        raise ValueError(f"units must be given by names of layers, {', '.join(layers)}; got {', '.join(unknown)}")
    return {layers[name].weight: one for name, one in units.items()}
