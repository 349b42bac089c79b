"""Methods whose masks change while the model is trained."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.snapshots import Score, Start
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.patterns import Pattern, PerTensor
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.schedules import Cosine
from sparsetheory.gpu.dynamic.scores import find_score
from sparsetheory.gpu.dynamic.starting_values import normal_start
from sparsetheory.gpu.methods.row import Apply, Method
from sparsetheory.gpu.methods.short_training import trained
from sparsetheory.gpu.weights.one_shot.pruned_copies import layer_weights

__all__ = ["DYNAMIC"]

_STEPS, _EVERY, _FRACTION = 100, 5, 0.3
_SWAP = "rounds of exchanges of best subset"


def _rewired(
    grow: Callable[[], Score],
    *,
    drop: str = "magnitude",
    cosine: bool = True,
    start: Start | None = None,
) -> Apply:
    """Return how a method is applied: random masks, then short training under them as they change."""

    def apply(model: nn.Module, batches: Sequence[Any], pattern: Pattern, random_state: int) -> Mapping[str, Tensor]:
        generator = torch.Generator().manual_seed(random_state)
        weights = layer_weights(model)
        masks = _random(weights, pattern, generator)

        def begin(model: nn.Module) -> Optimizer:
            optimizer = torch.optim.Adam(model.named_parameters(), lr=2e-3)
            # A full mask has nothing to exchange; its entries would leave and come back with new values.
            sparse = {weight: mask for weight, mask in masks.by_parameter(model).items() if not bool(mask.all())}
            if not sparse:
                return optimizer
            TopologyController(
                optimizer,
                sparse,
                drop=find_score(drop),
                grow=grow(),
                fraction=Cosine(_FRACTION, total=int(0.75 * _STEPS)) if cosine else _FRACTION,
                every=_EVERY,
                rounding=math.floor,
                regrown="keep" if cosine else "new",
                start=start,
                generator=generator,
            )
            return optimizer

        trained(model, batches, begin, _STEPS)
        return dict(masks)

    return apply


def _random(weights: Mapping[str, nn.Parameter], pattern: Pattern, generator: torch.Generator) -> MaskSet:
    """Return random masks with as many entries as the pattern keeps of each weight."""
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    densities = {name: pattern.count(shape) / math.prod(shape) for name, shape in shapes.items()}
    drawn = random_masks(shapes, densities, generator)
    return MaskSet({name: mask.to(weights[name].device) for name, mask in drawn.items()})


def _method(name: str, title: str, source: str, classical: str, claims: tuple[str, ...], apply: Apply) -> Method:
    return Method(
        name=f"dynamic.{name}",
        title=title,
        source=source,
        provenance="paper",
        needs=frozenset({"calibration", "optimiser", "hooks"}),
        patterns=(PerTensor,),
        classical=classical,
        claims=claims,
        apply=apply,
    )


def _whole(name: str, title: str, source: str, provenance: str, classical: str, *claims: str) -> Method:
    """Return the row of a method that accompanies a training loop, or a whole model, rather than give masks at once."""
    return Method(
        name=name,
        title=title,
        source=source,
        provenance=provenance,
        needs=frozenset({"optimiser", "hooks"}),
        patterns=(),
        classical=classical,
        claims=claims,
    )


_BUDGETS = "dynamic_sparsity.exact_budgets"

DYNAMIC: tuple[Method, ...] = (
    _method(
        "set",
        "the smallest of each sign leave, random ones enter",
        "Mocanu et al., 1707.04780",
        "none",
        (_BUDGETS, "dynamic_sparsity.rewire_counts"),
        _rewired(lambda: find_score("random"), drop="magnitude_by_sign", cosine=False, start=normal_start(0.1)),
    ),
    _method(
        "rigl",
        "the smallest leave, the largest gradients enter",
        "Evci et al., 1911.11134",
        _SWAP,
        (_BUDGETS, "dynamic_sparsity.gradient_growth", "dynamic_sparsity.rigl_against_prices"),
        _rewired(lambda: find_score("gradient")),
    ),
    _method(
        "itop",
        "the smallest leave, entries never active enter first",
        "Liu et al., 2102.02887",
        "none",
        (_BUDGETS,),
        _rewired(lambda: find_score("unfired"), cosine=False),
    ),
    _method(
        "momentum",
        "the smallest leave, the largest mean gradients enter",
        "Dettmers, Zettlemoyer, 1907.04840",
        _SWAP,
        (_BUDGETS,),
        _rewired(lambda: find_score("momentum")),
    ),
    _whole(
        "dynamic.task_isolation",
        "a mask for each task, whose weights no later task moves",
        "Yildirim et al., 2308.14831",
        "authors' code",
        "regression on the residual, shared coefficients as offset",
        "dynamic_sparsity.zero_forgetting",
        "dynamic_sparsity.capacity",
        "dynamic_sparsity.task_offsets",
        "dynamic_sparsity.isolated_*",
        "dynamic_sparsity.unisolated_loss",
    ),
    _whole(
        "dynamic.sparcl",
        "sparse weights, sparse gradients, fewer data, for continual learning",
        "Wang et al., 2209.09476",
        "authors' code",
        "second-order price of a weight",
        "dynamic_sparsity.sparcl_*",
        "dynamic_sparsity.gradient_mask_*",
        "dynamic_sparsity.forgetting_*",
        "dynamic_sparsity.data_removal",
        "dynamic_sparsity.importance_*",
    ),
    _whole(
        "dynamic.embeddings",
        "embedding tables of recommenders whose entries move",
        "Wang et al., 2402.02855",
        "reconstructed",
        "matching pursuit for all rows under one budget",
        "dynamic_sparsity.embedding_budget",
        "dynamic_sparsity.dynamic_embeddings",
        "dynamic_sparsity.accumulated_growth",
        "dynamic_sparsity.popularity",
        "dynamic_sparsity.greedy_merge",
    ),
    _whole(
        "dynamic.quick_selection",
        "features on which a sparse autoencoder puts weight",
        "Atashgahi et al., 2012.00560",
        "authors' code",
        "column subset selection",
        "dynamic_sparsity.evolution_counts",
        "dynamic_sparsity.sparse_gradient",
        "dynamic_sparsity.informative_features",
        "dynamic_sparsity.greedy_columns",
    ),
)
