"""Methods that choose the masks of all layers together, at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from sparsetheory.gpu.core.densities import er_densities, erk_densities, uniform_densities
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.patterns import Pattern, PerTensor
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.methods.row import Apply, Method
from sparsetheory.gpu.weights.one_shot.magnitude_masks import one_shot_masks
from sparsetheory.gpu.weights.one_shot.pruned_copies import layer_weights

__all__ = ["ONE_SHOT"]

_RANDOM_SUPPORT = "regression on a random support"


def _at_once(choose: Callable[[Mapping[str, nn.Parameter], float, int], MaskSet]) -> Apply:
    """Return how masks are applied that are chosen for all layers together, at the density of a pattern."""

    def apply(model: nn.Module, batches: Sequence[Any], pattern: Pattern, random_state: int) -> Mapping[str, Tensor]:
        weights = layer_weights(model)
        kept = sum(pattern.count(weight.shape) for weight in weights.values())
        total = sum(weight.numel() for weight in weights.values())
        masks = choose(weights, kept / total, random_state)
        masks.apply(model)
        return {name: mask.to(weights[name].device) for name, mask in masks.items()}

    return apply


def _random(rule: Callable[[Mapping[str, Sequence[int]], float], dict[str, float]]) -> Apply:
    def choose(weights: Mapping[str, nn.Parameter], density: float, random_state: int) -> MaskSet:
        shapes = {name: weight.shape for name, weight in weights.items()}
        return random_masks(shapes, rule(shapes, density), random_state)

    return _at_once(choose)


def _shared_method(
    method: str, title: str, source: str, provenance: str, classical: str, apply: Apply, *claims: str
) -> Method:
    return Method(
        name=f"weights.{method}",
        title=title,
        source=source,
        provenance=provenance,
        needs=frozenset(),
        patterns=(PerTensor,),
        classical=classical,
        claims=claims,
        apply=apply,
    )


ONE_SHOT: tuple[Method, ...] = (
    _shared_method(
        "random_uniform",
        "random weights, the same share of each layer",
        "Liu et al., 2202.02643",
        "authors' code",
        _RANDOM_SUPPORT,
        _random(uniform_densities),
        "weight_structure.known_support",
    ),
    _shared_method(
        "random_er",
        "random weights, shares of an Erdős-Rényi graph",
        "Mocanu et al., 1707.04780",
        "authors' code",
        _RANDOM_SUPPORT,
        _random(er_densities),
        "layerwise_pruning.er_budget",
        "weight_structure.er_above_uniform",
        "weight_structure.random_gap",
    ),
    _shared_method(
        "random_erk",
        "random weights, Erdős-Rényi shares with kernels",
        "Evci et al., 1911.11134",
        "authors' code",
        _RANDOM_SUPPORT,
        _random(erk_densities),
        "layerwise_pruning.erk_budget",
    ),
    _shared_method(
        "one_shot",
        "largest weights of all layers together",
        "Jaiswal et al., 2306.03805",
        "authors' code",
        "none",
        _at_once(lambda weights, density, _: one_shot_masks(weights, 1.0 - density)),
        "weight_structure.nested_masks",
        "weight_structure.essential_sparsity",
    ),
)
