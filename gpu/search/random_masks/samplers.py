"""How candidates are drawn: nodes or weights at random, in exact numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, Real
from sparsetheory.gpu.core.densities import uniform_densities
from sparsetheory.gpu.core.layers import weight_name
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.weights.one_shot.pruned_copies import layer_weights

__all__ = ["MaskSampler", "NodeSampler", "WeightSampler", "linear_chain"]

_DENSITY = Real(0.0, 1.0, closed="right")


class MaskSampler(Protocol):
    """Draws one candidate."""

    def __call__(self, model: nn.Module, generator: torch.Generator | int | None = None) -> MaskSet:
        """Return random masks of weights of a model, drawn on the CPU."""
        ...


@dataclass(frozen=True)
class NodeSampler:
    """Draw which hidden nodes of a multilayer perceptron stay, a share of each layer, in exact numbers.

    A hidden layer of h nodes keeps ``max(min_nodes, round(density h))`` of them, each set with the same probability.
    Without a node, its row of the weight before it and its column of the weight behind it are masked. Inputs and
    outputs stay. The masked network computes what :func:`remove_nodes` makes of it.

    Parameters
    ----------
    density : float
        Share of the nodes of each hidden layer to keep, above 0 and at most 1.
    min_nodes : int
        Nodes that a hidden layer keeps at least, as far as it has them.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import MLP
    >>> masks = NodeSampler(0.25)(MLP([8, 16, 16, 4]), 0)
    >>> {name: int(mask.sum()) for name, mask in masks.items()}  # 8 x 4, 4 x 4, 4 x 4
    {'0.weight': 32, '2.weight': 16, '4.weight': 16}
    """

    density: float
    min_nodes: int = field(default=2, kw_only=True)

    def __post_init__(self) -> None:
        _DENSITY.check("density", self.density)
        COUNT.check("min_nodes", self.min_nodes)

    def __call__(self, model: nn.Module, generator: torch.Generator | int | None = None) -> MaskSet:
        """Return random masks of the linear layers of a model, which follow each other.

        Parameters
        ----------
        model : torch.nn.Module
            Its linear layers, in their order, are a chain: each has as many inputs as the one before it has outputs.
        generator : torch.Generator or int, optional
            On the CPU, or a seed; by default torch's global generator.

        Returns
        -------
        MaskSet
            On the CPU, under the names of the weights.

        Raises
        ------
        ValueError
            If the model has fewer than two linear layers, another module with values for each node such as a
            normalisation, or widths that do not fit.
        """
        layers, source = linear_chain(model), cpu_generator(generator)
        first, *_, last = layers.values()
        kept = [torch.ones(first.in_features, dtype=torch.bool)]
        kept += [self._nodes(layer.out_features, source) for layer in list(layers.values())[:-1]]
        kept.append(torch.ones(last.out_features, dtype=torch.bool))
        return MaskSet(
            {
                weight_name(name): outputs[:, None] & inputs[None, :]
                for name, (inputs, outputs) in zip(layers, pairwise(kept), strict=True)
            }
        )

    def _nodes(self, width: int, generator: torch.Generator) -> Tensor:
        kept = torch.zeros(width, dtype=torch.bool)
        n_kept = min(width, max(self.min_nodes, round(self.density * width)))
        kept[torch.randperm(width, generator=generator)[:n_kept]] = True
        return kept


@dataclass(frozen=True)
class WeightSampler:
    """Draw which weights stay, in exact numbers.

    Parameters
    ----------
    densities : float or mapping of str to float
        Share of the weights of each layer to keep, above 0 and at most 1: one for all linear and convolutional layers,
        or one for each named weight, such as :func:`sparsetheory.gpu.core.erk_densities` returns. A weight that
        several layers share counts once.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import MLP
    >>> WeightSampler(0.25)(MLP([8, 16, 4]), 0)
    MaskSet(2 masks, 48 of 192 entries kept)
    """

    densities: float | Mapping[str, float]

    def __post_init__(self) -> None:
        if isinstance(self.densities, Mapping):
            for name, density in self.densities.items():
                _DENSITY.check(f"densities[{name!r}]", density)
        else:
            _DENSITY.check("densities", self.densities)

    def __call__(self, model: nn.Module, generator: torch.Generator | int | None = None) -> MaskSet:
        """Return random masks, see :func:`sparsetheory.gpu.core.random_masks`.

        Parameters
        ----------
        model : torch.nn.Module
        generator : torch.Generator or int, optional
            On the CPU, or a seed; by default torch's global generator.

        Returns
        -------
        MaskSet
            On the CPU, under the names of the weights.

        Raises
        ------
        ValueError
            If a name is not one of a weight, two names are those of one weight, a weight is computed from other
            tensors, or a layer would keep nothing.
        """
        own = {name: weight.shape for name, weight in model.named_parameters()}
        if isinstance(self.densities, Mapping):
            densities = _by_weight(self.densities, list(own))
        else:
            shapes = {name: weight.shape for name, weight in layer_weights(model).items()}
            densities = uniform_densities(shapes, self.densities)
        masks = random_masks({name: own[name] for name in densities}, densities, generator)
        empty = [name for name, mask in masks.items() if not bool(mask.any())]
        if empty:
            raise ValueError(f"densities must keep at least 1 weight of each layer; got none of {', '.join(empty)}")
        return masks


def linear_chain(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers of a model under their names, in the order in which they follow each other.

    Raises
    ------
    ValueError
        If there are fewer than two, another module has values for each node, or widths do not fit.
    """
    chain = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    others = [name for name, module in model.named_modules() if name not in chain and _is_wide(module)]
    if len(chain) < 2 or others:
        raise ValueError(
            "model must have linear layers alone, at least 2; "
            f"got {', '.join(chain) or 'none'}" + (f", and besides {', '.join(others)}" if others else "")
        )
    for (before, first), (after, second) in pairwise(chain.items()):
        if first.out_features != second.in_features:
            raise ValueError(
                f"model must have linear layers that follow each other; got {first.out_features} outputs of {before} "
                f"before {second.in_features} inputs of {after}"
            )
    return chain


def _is_wide(module: nn.Module) -> bool:
    """Return whether a module has values for each of several nodes; such as one slope for all of them are none."""
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return isinstance(module, nn.LayerNorm) or any(values.numel() > 1 for values in own)


def _by_weight(densities: Mapping[str, float], own: Sequence[str]) -> dict[str, float]:
    """Return densities under the names of weights, where layers may be named too."""
    found: dict[str, float] = {}
    for name, density in densities.items():
        known = next((known for known in (name, weight_name(name)) if known in own), None)
        if known is None or known in found:
            raise ValueError(f"densities must name weights of the model, {', '.join(own)}, each once; got {name!r}")
        found[known] = density
    return found
