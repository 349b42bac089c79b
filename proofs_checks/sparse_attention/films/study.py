"""Which modes heads of a panned film get, at several prices: planted patterns against a head that looks at content."""

from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.sparse_attention.films.panned import HEADS, PLANTED, draw_film

_CROPS = {"quick": 12, "full": 100}
_PRICES = (0.0, 0.125, 0.25, 0.5, 1.0)
_COLUMNS = ("price of all pairs", "head", "full", "skip", "diagonal", "multi-diagonal", "stripe")
_NOTES = (
    "Share of crops on which a head gets each mode; errors are relative to the layer. Heads driven by position get the "
    "planted mode on almost every crop, and the same one. The head that compares contents changes its mode with the "
    "crop, and so does the small one without a price, because then its errors alone decide. At the larger prices a "
    "window of tokens, which is sparser, wins over places in all frames where the picture is smooth."
)


def _rows(profile: str) -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    plans = [draw_film(rng, seed).plan(normalize="layer") for seed in range(_CROPS[profile])]
    rows = []
    for price in _PRICES:
        chosen = np.stack([attention.mode_rule(plan.mse, plan.sparsities, alpha=price) for plan in plans])
        for head, name in enumerate(HEADS):
            rates = [float(np.mean(chosen[:, head] == mode)) for mode in range(5)]
            rows.append((price, name, *(round(rate, 2) for rate in rates)))
    return rows


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for name, mode in zip(HEADS, PLANTED, strict=True):
            found = np.array([row[2:] for row in rows if row[1] == name])
            shares = found.max(1) if mode is None else found[:, _COLUMNS.index(mode) - 2]
            label = f"{name}: its most frequent mode" if mode is None else f"{name}: {mode}"
            ax.plot(_PRICES, shares, "o-", label=label)
        ax.set_xlabel("price of all pairs")
        ax.set_ylabel("share of crops")
        ax.set_ylim(0, 1.05)
        ax.set_title("Modes of heads on crops of a photograph")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    rows = _rows(profile)
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


film_modes = Study(
    name="sparse_attention.film_modes",
    title="Modes of heads on a panned photograph",
    description="Six frames of 7 x 7 patches of a photograph, panned by two pixels a frame, and five heads: three with "
    "planted patterns, one that compares contents, and one of almost no output. Each crop is searched by itself.",
    run=_run,
)
