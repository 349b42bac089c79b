"""Methods that prune layer after layer, for the inputs of each."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from sparsetheory.gpu.core.layers import as_weight, find_layers
from sparsetheory.gpu.core.patterns import NM, BlockNM, Pattern, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.methods.row import Apply, Method
from sparsetheory.gpu.weights.layerwise.model_pruning import prune_model_layerwise

__all__ = ["LAYERWISE"]

_ANY = (NM, PerRow, PerTensor, RowBlock, BlockNM)
_ROWS = (NM, PerRow, PerTensor)


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


LAYERWISE: tuple[Method, ...] = (
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
)
