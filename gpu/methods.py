"""Every method of this floor in one row: where it comes from, what it needs, and how it is applied.

The rows drive the generic tests, the table in ``docs/methods.md`` and ``sparsetheory methods``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from sparsetheory.gpu.core.densities import er_densities, erk_densities, uniform_densities
from sparsetheory.gpu.core.layers import as_weight, find_layers
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.patterns import NM, BlockNM, Pattern, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.weights.layerwise.model_pruning import prune_model_layerwise
from sparsetheory.gpu.weights.one_shot.magnitude_masks import one_shot_masks
from sparsetheory.gpu.weights.one_shot.pruned_copies import layer_weights

__all__ = ["METHODS", "Method", "method_table"]

Apply = Callable[[nn.Module, Sequence[Any], Pattern, int], Mapping[str, Tensor]]
Need = Literal["calibration", "optimiser", "hooks"]


@dataclass(frozen=True)
class Method:
    """One method.

    Parameters
    ----------
    name : str
        As users pass it, after the name of its family and a dot.
    title : str
        What it is, in a few words.
    source : str
        Paper, with its number on arXiv, or "ours".
    provenance : str
        "authors' code", "paper", "reconstructed" or "ours": what this implementation follows.
    needs : frozenset of str
        Some of "calibration", "optimiser" and "hooks".
    patterns : tuple of type
        Patterns that it can produce.
    classical : str
        The problem of the classical side that it solves, or "none".
    claims : tuple of str
        Names of claims about it, or shell patterns of names.
    apply : callable, optional
        From model, batches, pattern and random state to the masks of the parameters; the model is changed in place.
        A method that makes layers of another kind, rather than masks for given ones, has none, and no patterns.
    """

    name: str
    title: str
    source: str
    provenance: str
    needs: frozenset[Need]
    patterns: tuple[type[Pattern], ...]
    classical: str
    claims: tuple[str, ...]
    apply: Apply | None = None

    @property
    def family(self) -> str:
        """The room that the method lives in."""
        return self.name.partition(".")[0]


def _layerwise(method: str) -> Apply:
    def apply(model: nn.Module, batches: Sequence[Any], pattern: Pattern, random_state: int) -> Mapping[str, Tensor]:
        results = prune_model_layerwise(model, batches, pattern, method)
        layers = find_layers(model)
        return {f"{name}.weight": as_weight(layers[name], found.mask) for name, found in results.items()}

    return apply


def _layer_method(
    method: str, title: str, source: str, provenance: str, patterns: tuple[type[Pattern], ...], *claims: str
) -> Method:
    return Method(
        name=f"weights.{method}",
        title=title,
        source=source,
        provenance=provenance,
        needs=frozenset() if method == "magnitude" else frozenset({"calibration"}),
        patterns=patterns,
        classical="sparse regression on a Gram matrix",
        claims=claims,
        apply=_layerwise(method),
    )


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


_RANDOM_SUPPORT = "regression on a random support"

_ANY = (NM, PerRow, PerTensor, RowBlock, BlockNM)
_ROWS = (NM, PerRow, PerTensor)

METHODS: tuple[Method, ...] = (
    _layer_method("magnitude", "largest weights", "classic", "ours", _ANY),
    _layer_method(
        "wanda",
        "largest weights times the norms of their inputs",
        "Sun et al., 2306.11695",
        "authors' code",
        _ANY,
        "layerwise_pruning.wanda_diagonal",
    ),
    _layer_method(
        "sparsegpt",
        "column by column, errors compensated to the right",
        "Frantar and Alistarh, 2301.00774",
        "authors' code",
        _ROWS,
    ),
    _layer_method("admm", "gradual masks by ADMM", "Boža, 2401.02938", "authors' code", _ROWS),
    _layer_method("alps", "ADMM with growing penalty", "Meng et al., 2406.07831", "authors' code", _ROWS),
    _layer_method(
        "sparseswaps",
        "mask swaps without refit",
        "Zimmer et al., 2512.10922",
        "reconstructed",
        (NM, PerRow),
    ),
    _layer_method(
        "obs",
        "exact greedy backward elimination",
        "Frantar et al., 2208.11580",
        "paper",
        _ROWS,
        "layerwise_pruning.drop_price",
    ),
    _layer_method("forward", "exact greedy forward selection", "classic", "ours", _ROWS, "layerwise_pruning.add_price"),
    _layer_method(
        "swap",
        "best subset by swaps priced with exact refit",
        "ours",
        "ours",
        _ANY,
        "layerwise_pruning.swap_price",
        "layerwise_pruning.one_swap_optimal",
        "layerwise_pruning.order",
        "layerwise_pruning.eigenvalue_bounds",
    ),
    Method(
        name="weights.sparse_ift",
        title="wider, parallel or factorised sparse layers at the cost of dense ones",
        source="Thangarasa et al., 2303.11525",
        provenance="authors' code",
        needs=frozenset(),
        patterns=(),
        classical="none",
        claims=(
            "weight_structure.iso_flop_cost",
            "weight_structure.widened_cost",
            "weight_structure.merged_factors",
        ),
    ),
    Method(
        name="weights.lost",
        title="low-rank factors plus whole columns",
        source="Li et al., 2508.02668",
        provenance="reconstructed",
        needs=frozenset(),
        patterns=(),
        classical="truncated singular value decomposition",
        claims=(
            "weight_structure.lost_columns",
            "weight_structure.error_order",
            "weight_structure.monotone_trace",
            "weight_structure.best_for_columns",
            "weight_structure.first_round",
            "weight_structure.encoder_columns",
            "weight_structure.trained_gap",
        ),
    ),
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


def method_table() -> str:
    """Return the table of all methods as Markdown."""
    lines = [
        "| method | what it does | source | follows | needs | patterns | classical problem |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in METHODS:
        needs = ", ".join(sorted(row.needs)) or "nothing"
        patterns = ", ".join(kind.__name__ for kind in row.patterns) or "none"
        lines.append(
            f"| `{row.name}` | {row.title} | {row.source} | {row.provenance} | {needs} | {patterns} | {row.classical} |"
        )
    return "\n".join(lines)
