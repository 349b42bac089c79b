"""Low rank plus columns on matrices of two language models and on a Gaussian one."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.weight_structure.decoder_perplexity import decoder
from sparsetheory.proofs_checks.weight_structure.encoder_columns import LAYERS, Errors, errors_of, gaussian, trained

_DECODER_LAYERS = tuple(f"model.layers.15.{name}" for name in ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj"))
_DRAWS = 20
_METHODS = ("low rank alone", "random columns", "LOST", "alternating")
_COLUMNS = ("matrix", "outputs x inputs", *_METHODS, "random - LOST", "LOST - alternating")
_NOTES = (
    "Squared errors relative to the matrix, at a quarter of the smaller side as rank and 5 % of the columns; random "
    f"columns are the mean of {_DRAWS} draws. Alternation is never worse than LOST, by its construction. LOST chooses "
    "better than chance: clearly where a matrix has more inputs than outputs, on the others about as little as on the "
    "Gaussian one."
)


def _matrices() -> Iterator[tuple[str, Errors]]:
    yield "Gaussian", gaussian(np.random.default_rng(0))
    for name in LAYERS:
        yield f"MiniLM, {name.removeprefix('encoder.')}", trained(name)
    layers = core.find_layers(decoder().model, _DECODER_LAYERS)
    for name, layer in layers.items():
        yield f"SmolLM2, {name.removeprefix('model.')}", errors_of(array(layer.weight).astype(float))


def _row(title: str, errors: Errors) -> tuple[Any, ...]:
    drawn = errors.random_columns(np.random.default_rng(0), _DRAWS)
    found = (errors.low_rank, drawn, errors.lost, errors.alternating)
    gains = (drawn - errors.lost, errors.lost - errors.alternating)
    return title, " x ".join(map(str, errors.shape)), *(round(number, 4) for number in (*found, *gains))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places, height = np.arange(len(rows)), 0.8 / len(_METHODS)
        for i, method in enumerate(_METHODS):
            ax.barh(places + (i - (len(_METHODS) - 1) / 2) * height, [row[2 + i] for row in rows], height, label=method)
        ax.set_yticks(places, [row[0] for row in rows])
        ax.invert_yaxis()
        ax.set_xlabel("relative squared error")
        ax.set_title("Low rank plus 5 % of the columns")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = [_row(title, errors) for title, errors in _matrices()]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


language_model_columns = Study(
    name="weight_structure.language_model_columns",
    title="Low rank plus columns on matrices of language models",
    description="Three matrices each of the encoder MiniLM and of the decoder SmolLM2, and a Gaussian one, become low "
    "rank plus some of their columns: random ones, those that LOST chooses, and those of the alternation.",
    run=_run,
)
