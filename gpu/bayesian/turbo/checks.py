"""What network Turbo-VBI asks of models, optimisers and names of layers."""

import warnings
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from sparsetheory.constraints import Choice, Instance
from sparsetheory.gpu.bayesian.layers.modes import variational_layers
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.bayesian.turbo.layout import STRUCTURES
from sparsetheory.gpu.core.hooks.steps import parameters_of

__all__ = ["MODEL", "check_names", "layers_of", "structures_of", "warn_of_density"]

MODEL = Instance(nn.Module, "a torch.nn.Module")
# Above this density a weight without data can end on, whatever the annealing.
_DENSE = 0.4


def layers_of(model: nn.Module, optimizer: Optimizer) -> dict[str, VariationalLayer]:
    """Return the layers with normal weights, all of which the optimiser must have."""
    layers = variational_layers(MODEL.check("model", model))
    if not layers:
        raise ValueError("model must have layers with normal weights; make them with bayesianise")
    known = {id(parameter) for parameter in parameters_of(optimizer)}
    for name, layer in layers.items():
        if not bool(layer.mask.all()):
            raise ValueError(f"model must have normal weights everywhere, at density 1; layer {name!r} is masked")
        if id(layer.weight) not in known or id(layer.rho) not in known:
            raise ValueError(f"optimizer must have weight and rho of all layers; it lacks some of {name!r}")
    return layers


def structures_of(prior: str | Mapping[str, str], layers: Mapping[str, Any]) -> dict[str, str]:
    """Return the structure of every layer."""
    known = Choice(*STRUCTURES)
    if isinstance(prior, Mapping):
        check_names("prior", prior, layers)
        missing = [name for name in layers if name not in prior]
        if missing:
            raise ValueError(f"prior must name every layer; missing are {missing}")
        return {name: known.check(f"prior[{name!r}]", prior[name]) for name in layers}
    return dict.fromkeys(layers, known.check("prior", prior))


def check_names(argument: str, given: Mapping[str, Any], layers: Mapping[str, Any]) -> None:
    """Raise ValueError unless all names of an argument are those of layers."""
    unknown = [name for name in given if name not in layers]
    if unknown:
        raise ValueError(f"{argument} must have names of {list(layers)}; got {unknown}")


def warn_of_density(activation: float, deactivation: float, structures: set[str]) -> None:
    """Warn of priors under which supports do not get sparse or do not cluster."""
    density = activation / (activation + deactivation)
    if density > _DENSE:
        warnings.warn(
            f"activation / (activation + deactivation) = {density:.2g} is above {_DENSE}: weights that no data speak "
            "for may end on",
            RuntimeWarning,
            stacklevel=3,
        )
    if structures != {"iid"} and activation + deactivation > 1:
        warnings.warn(
            f"activation + deactivation = {activation + deactivation:g} > 1: neighbours avoid the state of each other, "
            "and supports do not cluster",
            RuntimeWarning,
            stacklevel=3,
        )
