"""The mask that a task starts with: where it may lie, whether there is room, and a random choice."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsetheory.constraints import Integer
from sparsetheory.gpu.core.densities import er_densities, erk_densities, uniform_densities
from sparsetheory.gpu.core.effective_weights import effective_weights
from sparsetheory.gpu.core.layers import find_layers, is_transposed, weight_name
from sparsetheory.gpu.core.random_topology import random_masks

__all__ = ["DENSITIES", "Places", "draw_masks", "require_room"]

DENSITIES = {"er": er_densities, "erk": erk_densities, "uniform": uniform_densities}
# Share of a layer below which what is free is little.
_LITTLE = 0.05


@dataclass(frozen=True, eq=False)
class Places:
    """Where masks of tasks may lie: everywhere, but of the head only at the task's own outputs.

    Parameters
    ----------
    weights : dict of str to Tensor
    head : str or None
        Name of the weight of the last layer.
    axis : int
        Axis of its outputs.
    """

    weights: dict[str, Tensor]
    head: str | None
    axis: int

    @classmethod
    def of(cls, model: nn.Module, weights: dict[str, Tensor], head: str | None) -> "Places":
        """Find the weight of the layer that is called the head.

        Raises
        ------
        ValueError
            If it is not one of the weights.
        """
        if head is None:
            return cls(weights, None, 0)
        layer = find_layers(model).get(head)
        name = None if layer is None else effective_weights(model).resolve(weight_name(head), "head")
        if layer is None or name not in weights:
            raise ValueError(f"head must be a layer whose weight gets masks, one of {', '.join(weights)}; got {head!r}")
        return cls(weights, name, 1 if is_transposed(layer) else 0)

    def for_outputs(self, outputs: Sequence[int] | None) -> dict[str, Tensor]:
        """Return the places for a task with these outputs, or with all.

        Raises
        ------
        ValueError
            If there are outputs but no head, none of them, one that the head does not have, or one twice.
        """
        places = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in self.weights.items()}
        if outputs is None:
            return places
        if self.head is None:
            raise ValueError("outputs need the argument head: the name of the layer that gives them")
        weight = self.weights[self.head]
        n_outputs = weight.shape[self.axis]
        chosen = [Integer(0, n_outputs - 1).check("outputs", output) for output in outputs]
        if not chosen or len(set(chosen)) < len(chosen):
            raise ValueError(f"outputs must be at least one output of {self.head}, each once; got {list(outputs)}")
        places[self.head] = torch.zeros_like(weight, dtype=torch.bool).index_fill_(
            self.axis, torch.tensor(chosen, device=weight.device), True
        )
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
    """Return random masks among the places, which may lie on what earlier tasks use.

    A layer has its density of all entries, or all places where they are fewer. Counts are exact.
    """
    n_places = {name: int(place.sum()) for name, place in places.items()}
    shares = {name: min(1.0, densities[name] * place.numel() / n_places[name]) for name, place in places.items()}
    chosen = random_masks({name: (n_places[name],) for name in places}, shares, generator)
    masks = {}
    for name, place in places.items():
        masks[name] = torch.zeros_like(place)
        masks[name][place] = chosen[name].to(place.device)
    return masks
