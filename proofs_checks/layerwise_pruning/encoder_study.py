"""The line on real data: layers of a sentence encoder, pruned by all methods and judged on fresh texts."""

from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.layerwise_pruning.language_model import INTERMEDIATE, QUERIES, encoder_layer, pruned

_LAYERS = {"quick": (QUERIES[0], INTERMEDIATE), "full": (*QUERIES, INTERMEDIATE)}
# Title, method, and whether least squares on the mask follows.
_METHODS = (
    ("magnitude", "magnitude", False),
    ("Wanda", "wanda", False),
    ("Wanda, refitted", "wanda", True),
    ("SparseSwaps", "sparseswaps", False),
    ("SparseGPT", "sparsegpt", False),
    ("SparseGPT, refitted", "sparsegpt", True),
    ("ADMM", "admm", False),
    ("OBC", "obs", False),
    ("ALPS", "alps", False),
    ("swap search", "swap", False),
)
_COLUMNS = ("layer", "method", "error, calibration", "error, held out", "held out / SparseGPT")
_NOTES = (
    "Squared output errors relative to the dense outputs, at 2:4. All methods but the last are published. The swap "
    "search has some 0.6 times the error of SparseGPT, and so has ALPS, which is faster. A refit of the mask is much "
    "of the difference. Errors on fresh texts are larger where coefficients were fitted."
)


def _rows(name: str) -> list[tuple[Any, ...]]:
    layer = encoder_layer(name)
    unseen = layer.held_out.sum(0)
    reference = layer.error(pruned(name, "sparsegpt"), unseen)
    rows = []
    for title, method, refit in _METHODS:
        found = pruned(name, method, refit=refit)
        seen, fresh = layer.error(found, layer.calibration), layer.error(found, unseen)
        numbers = (round(seen, 4), round(fresh, 4), round(fresh / reference, 3))
        rows.append((name.removeprefix("encoder.layer."), title, *numbers))
    return rows


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        titles = [title for title, _, _ in _METHODS]
        places = np.arange(len(titles))
        for shift, column, label in ((-0.2, 2, "texts of the calibration"), (0.2, 3, "held-out texts")):
            means = [np.exp(np.mean([np.log(row[column]) for row in rows if row[1] == title])) for title in titles]
            ax.barh(places + shift, means, 0.4, label=label)
        ax.set_yticks(places, titles)
        ax.invert_yaxis()
        ax.set_xlabel("relative output error, geometric mean over layers")
        ax.set_title("Layers of the MiniLM encoder at 2:4")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    rows = [row for name in _LAYERS[profile] for row in _rows(name)]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


encoder_layers = Study(
    name="layerwise_pruning.encoder_layers",
    title="Pruning layers of a sentence encoder",
    description="Linear layers of the 6-layer MiniLM encoder, 128 rows of each, are pruned at 2:4 on docstrings of "
    "Python's standard library and judged on other docstrings, by published methods and by the swap search.",
    run=_run,
)
