"""Quality over sparsity on real data: a sentence encoder, pruned at once by several methods."""

from collections.abc import Mapping
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.weight_structure.encoder_retrieval import N_SETS, retrieval
from sparsetheory.proofs_checks.weight_structure.essential_curves import SUMMARY, draw_curves, summary

_TITLES = {
    "global": "magnitude, all layers together",
    "layer": "magnitude, layer by layer",
    "random": "random, equal densities",
    "random_erk": "random, Erdős-Rényi",
    "wanda": "Wanda, per row",
    "sparsegpt": "SparseGPT, per row",
}
_METHODS = {"quick": ("global", "random"), "full": tuple(_TITLES)}
_GRID = {"quick": (0.0, 0.3, 0.7), "full": tuple(step / 10 for step in range(10))}
# The last two sets are the calibration data of the full profile.
_SETS = {"quick": 2, "full": N_SETS - 2}
_TOL = 0.02
_COLUMNS = (
    "method",
    "sparsity",
    "mean reciprocal rank",
    "cosine to dense",
    *SUMMARY,
)
_NOTES = (
    "Mean reciprocal rank of the first docstring line of a function among 120, found from the words of its name; no "
    "training follows. It stays up to the essential sparsity (a loss of 2 %) and falls along a steeper line behind the "
    "kink. The mean cosine of the embeddings to the dense ones falls smoothly: how much is free depends on the margin "
    "of the task."
)


def _curve(method: str, profile: str) -> "weights.EssentialSparsity":
    def quality(sparsity: float) -> float:
        # Nothing is pruned at 0, by any method.
        found = retrieval(method if sparsity else "global", sparsity, _SETS[profile])
        return float(found.reciprocal_ranks.mean())

    return weights.essential_sparsity(quality, _GRID[profile], tol=_TOL)


def _rows(method: str, profile: str, curve: "weights.EssentialSparsity") -> list[tuple[Any, ...]]:
    return [
        (
            _TITLES[method],
            sparsity,
            round(quality, 4),
            round(retrieval(method if sparsity else "global", sparsity, _SETS[profile]).cosine, 4),
            *summary(curve),
        )
        for sparsity, quality in curve.curve.items()
    ]


def _plot(curves: "Mapping[str, weights.EssentialSparsity]", rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        draw_curves(ax, {_TITLES[method]: curve for method, curve in curves.items()})
        magnitude = [row for row in rows if row[0] == _TITLES["global"]]
        ax.plot(
            [row[1] for row in magnitude], [row[3] for row in magnitude], "k--", label="cosine to dense, first method"
        )
        ax.set_ylabel("mean reciprocal rank")
        ax.set_title("The MiniLM encoder, pruned at once; dotted: essential sparsity")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    curves = {method: _curve(method, profile) for method in _METHODS[profile]}
    rows = [row for method, curve in curves.items() for row in _rows(method, profile, curve)]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(curves, rows))


essential_encoder = Study(
    name="weight_structure.essential_encoder",
    title="How much of a sentence encoder is free",
    description="The linear layers of the 6-layer MiniLM encoder are pruned at once, by magnitude, at random and with "
    "calibration, and the encoder retrieves what functions of Python's standard library are for.",
    run=_run,
)
