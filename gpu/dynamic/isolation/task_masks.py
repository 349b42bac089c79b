"""The mask that a task starts with: where it may lie, whether there is room, and a random choice."""

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparsetheory.constraints import Integer
from sparsetheory.gpu.core.densities import er_densities, erk_densities, uniform_densities
from sparsetheory.gpu.core.random_topology import random_masks

__all__ = ["DENSITIES", "draw_masks", "open_places", "require_room"]

DENSITIES = {"er": er_densities, "erk": erk_densities, "uniform": uniform_densities}
# Share of a layer below which what is free is little.
_LITTLE = 0.05


def open_places(
    weights: Mapping[str, Tensor], head: str | None, axis: int, outputs: Sequence[int] | None
) -> dict[str, Tensor]:
    """Return where the mask of a task may lie: everywhere, but of the head only in the rows of its own outputs.

    Parameters
    ----------
    weights : mapping of str to Tensor
    head : str or None
        Name of the weight of the last layer.
    axis : int
        Axis of its outputs.
    outputs : sequence of int or None
        Outputs of the task; None for all.

    Raises
    ------
    ValueError
        If there are outputs but no head, none of them, one that the head does not have, or one twice.
    """
    places = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    if outputs is None:
        return places
    if head is None:
        raise ValueError("outputs must be left out where no head is named: give the isolation the name of its layer")
    n_outputs = weights[head].shape[axis]
    chosen = [Integer(0, n_outputs - 1).check("outputs", output) for output in outputs]
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"outputs must be at least one output of {head}, each once; got {list(outputs)}")
    own = torch.zeros(n_outputs, dtype=torch.bool, device=weights[head].device)
    own[chosen] = True
    shape = [1] * weights[head].ndim
    shape[axis] = n_outputs
    places[head] &= own.reshape(shape)
    return places


def require_room(places: Mapping[str, Tensor], used: Mapping[str, Tensor]) -> None:
    """Raise RuntimeError for a layer in which a task would have nothing of its own; warn where little is free."""
    for name, place in places.items():
        n_free, n_places = int((place & ~used[name]).sum()), int(place.sum())
        if n_free == 0:
            raise RuntimeError(
                f"{name} has {n_free} free weights of {n_places} for a new task: earlier tasks use all of them; lower "
                "the density, or widen the network"
            )
        if n_free < _LITTLE * n_places:
            warnings.warn(
                f"{name} has {n_free} free weights of {n_places} for a new task", RuntimeWarning, stacklevel=3
            )


def draw_masks(
    places: Mapping[str, Tensor], densities: Mapping[str, float], generator: torch.Generator
) -> dict[str, Tensor]:
    """Return random masks of exactly the densities among the places, which may lie on what earlier tasks use."""
    chosen = random_masks({name: (int(place.sum()),) for name, place in places.items()}, densities, generator)
    masks = {}
    for name, place in places.items():
        masks[name] = torch.zeros_like(place)
        masks[name][place] = chosen[name].to(place.device)
    return masks
