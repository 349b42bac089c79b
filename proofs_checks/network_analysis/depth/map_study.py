"""What simple maps replace a layer: dense, sparse or of low rank, and what they cost."""

from collections.abc import Callable
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.network_analysis.depth.character_models import (
    DENSE,
    judged_and_fitted,
    trained_model,
)

_SEED, _STEPS = 0, 1500
_STRENGTHS, _RANKS = (0.3, 0.1, 0.03), (2, 8)
_COLUMNS = ("layer", "map", "nonzeros of the change", "relative error", "lower bound", "rise of the loss")


def _maps(gram: Any) -> dict[str, "analysis.AffineMap"]:
    found = {"least squares": analysis.linear_map(gram)}
    found |= {f"lasso, alpha {alpha:g}": analysis.sparse_map(gram, alpha) for alpha in _STRENGTHS}
    return found | {f"rank {rank}": analysis.low_rank_map(gram, rank) for rank in _RANKS}


def _loss(model: Any, tokens: Any) -> float:
    import torch

    with torch.no_grad():
        return float(analysis.next_token_loss(model(tokens), tokens))


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    model, (judged, fitted) = trained_model(DENSE, _SEED, _STEPS), judged_and_fitted()
    rows: list[tuple[Any, ...]] = []
    with one_thread():
        whole = _loss(model, judged)
        for layer, (name, gram) in enumerate(analysis.layer_grams(model, [fitted]).items()):
            for title, one in _maps(gram).items():
                with analysis.linearised(model, name, one.W, one.b):
                    rise = _loss(model, judged) / whole - 1
                errors = (round(value, 3) for value in (one.relative_error, one.lower_bound))
                rows.append((layer, title, one.n_nonzero, *errors, round(rise, 4)))
    notes = (
        "Decoder of eight layers for characters. Maps estimate what a layer adds, and change the identity. Errors are "
        "relative to the squares of what the layer adds, on the texts of the fit; the loss is on others. No map has a "
        "smaller error than least squares, and none of its rank a smaller one than a map of low rank."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for title in dict.fromkeys(row[1] for row in rows):
            own = [row for row in rows if row[1] == title]
            for ax, column in ((left, 3), (right, 5)):
                ax.plot([row[0] for row in own], [row[column] for row in own], ".-", label=title)
                ax.set_xlabel("layer")
                ax.set_title(_COLUMNS[column], fontsize=10)
        right.axhline(0.1, color="grey", ls=":")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncol=3, fontsize=7)

    return draw


depth_maps = Study(
    name="network_analysis.depth_maps",
    title="How simple a map replaces a layer",
    description="Layers of a decoder for characters, each replaced by the affine map of least squares, by maps that a "
    "lasso makes sparse, and by the best ones of low rank.",
    run=_run,
)
