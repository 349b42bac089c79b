"""Every method of this floor in one row: where it comes from, what it needs, and how it is applied.

The rows drive the generic tests, the table in ``docs/methods.md`` and ``sparsetheory methods``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from sparsetheory.gpu import method_training
from sparsetheory.gpu.core.layers import as_weight, find_layers
from sparsetheory.gpu.core.patterns import NM, BlockNM, Pattern, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.weights.layerwise.model_pruning import prune_model_layerwise

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
    apply : callable
        From model, batches, pattern and random state to the masks of the parameters; the model is changed in place.
    half_precision : bool
        Whether weights may be float16 or bfloat16. Otherwise they are refused, as small steps would be lost.
    """

    name: str
    title: str
    source: str
    provenance: str
    needs: frozenset[Need]
    patterns: tuple[type[Pattern], ...]
    classical: str
    claims: tuple[str, ...]
    apply: Apply
    half_precision: bool = True

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
        name="weights.cast",
        title="trained dense, decay off the masks by AdamS",
        source="Huang et al., 2509.25996",
        provenance="reconstructed",
        needs=frozenset({"calibration", "optimiser"}),
        patterns=_ANY,
        classical="lasso of growing strength off the mask",
        claims=("sparse_training.adam_s_*",),
        apply=method_training.cast,
        half_precision=False,
    ),
    Method(
        name="weights.pst",
        title="frozen weights, low-rank updates of values and scores",
        source="Li et al., 2205.11005",
        provenance="authors' code",
        needs=frozenset({"calibration", "optimiser", "hooks"}),
        patterns=(PerTensor,),
        classical="exact prices of best subset as scores",
        claims=("sparse_training.pst_*",),
        apply=method_training.pst,
    ),
    Method(
        name="weights.srste",
        title="straight-through masks, penalty on what they drop",
        source="Zhou et al., 2102.04010",
        provenance="authors' code",
        needs=frozenset({"calibration", "optimiser", "hooks"}),
        patterns=_ANY,
        classical="iterative hard thresholding, same fixed points",
        claims=(
            "sparse_training.srste_*",
            "sparse_training.ste_never_rests",
            "sparse_training.mask_changes",
            "sparse_training.sad_metric",
        ),
        apply=method_training.srste,
    ),
    Method(
        name="weights.progressive",
        title="masks that fade in during training",
        source="Bambhaniya et al., 2402.04744",
        provenance="authors' code",
        needs=frozenset({"calibration", "optimiser", "hooks"}),
        patterns=_ANY,
        classical="path to a start of iterative hard thresholding",
        claims=("sparse_training.fading_*", "sparse_training.pattern_frames"),
        apply=method_training.progressive,
    ),
)


def method_table() -> str:
    """Return the table of all methods as Markdown."""
    lines = [
        "| method | what it does | source | follows | needs | patterns | classical problem |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in METHODS:
        needs, patterns = ", ".join(sorted(row.needs)) or "nothing", ", ".join(kind.__name__ for kind in row.patterns)
        lines.append(
            f"| `{row.name}` | {row.title} | {row.source} | {row.provenance} | {needs} | {patterns} | {row.classical} |"
        )
    return "\n".join(lines)
