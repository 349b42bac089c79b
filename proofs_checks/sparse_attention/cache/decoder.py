"""Pruned keys and values of a language model: entries of each token against whole channels."""

from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.sparse_attention.cache.pruned_models import decoder_perplexity

_CASES = (
    ("keys, 50 %", 0.5, 0.0),
    ("values, 50 %", 0.0, 0.5),
    ("both, 50 %", 0.5, 0.5),
    ("values, 70 %", 0.0, 0.7),
    ("both, 70 %", 0.7, 0.7),
)
_COLUMNS = ("pruned", "entries of each token", "whole channels", "dense")
_NOTES = (
    "Perplexity on the first 512 tokens of two Wikipedia articles. All tokens are pruned, after rotary positions. "
    "Entries of each token cost much less than whole channels, and keys more than values."
)


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places = np.arange(len(rows))
        for shift, column in ((-0.2, 1), (0.2, 2)):
            ax.bar(places + shift, [row[column] for row in rows], 0.4, label=_COLUMNS[column])
        ax.axhline(rows[0][3], color="black", linestyle=":", label="dense")
        ax.set_yscale("log")
        ax.set_xticks(places, [row[0] for row in rows], rotation=20, ha="right")
        ax.set_ylabel("perplexity")
        ax.set_title("SmolLM2 with pruned keys and values")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    dense = round(decoder_perplexity(), 2)
    rows = [
        (
            name,
            round(decoder_perplexity(k_sparsity, v_sparsity), 2),
            round(decoder_perplexity(k_sparsity, v_sparsity, structured=True), 2),
            dense,
        )
        for name, k_sparsity, v_sparsity in _CASES
    ]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


cache_decoder = Study(
    name="sparse_attention.cache_decoder",
    title="Pruned keys and values of a language model",
    description="The keys and values of all layers of SmolLM2 are pruned, in each token by itself or by channels of a "
    "text, and the perplexity on Wikipedia is measured.",
    run=_run,
)
