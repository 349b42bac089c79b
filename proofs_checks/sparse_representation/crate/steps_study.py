"""How often each form of the step lowers the compressed rate: counts over random tokens."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.crate.instances import BASES, KINDS, draw_tokens

_TITLES = {
    "exact": "exact gradient",
    "paper_unscaled": "published approximation, without its factor a",
    "paper_step": "published approximation, to the letter",
    "code": "tokens plus attention, the layer",
    "negative": "tokens minus attention",
}
_EPS, _DRAWS = (0.3, 1.0), 20
_COLUMNS = ("step", "bases", "distortion", "lowered", "raised", "mean change in nats")


def _run(profile: str) -> StudyResult:
    draws = _DRAWS if profile == "quick" else 10 * _DRAWS
    rng = np.random.default_rng(0)
    counts: Counter[tuple[str, str, float, bool]] = Counter()
    changes: dict[tuple[str, str, float], list[float]] = {}
    with one_thread():
        for bases in BASES[:2]:
            for eps in _EPS:
                for kind in KINDS[:3]:
                    for draw in range(draws):
                        case = draw_tokens(rng, kind, bases, eps, kappa_a=(0.01, 0.1, 0.5, 1.0)[draw % 4])
                        before = case.rate()
                        for mode in _TITLES:
                            # The exact step has its proved size; the others, sizes in units of 1 / a.
                            change = case.rate(case.stepped(mode, None if mode == "exact" else case.kappa_a)) - before
                            counts[mode, bases, eps, change < 0] += 1
                            changes.setdefault((mode, bases, eps), []).append(change)
    rows = [
        (_TITLES[mode], bases, eps, counts[mode, bases, eps, True], counts[mode, bases, eps, False], _mean(found))
        for (mode, bases, eps), found in changes.items()
    ]
    notes = (
        "Synthetic tokens, random, of unit norm and in the subspaces; step sizes of 0.01, 0.1, 0.5 and 1 times 1 / a. "
        "Only the exact step is a theorem. The layer that networks use raises the rate; what its derivation arrives at "
        "before the last simplification lowers it or not, depending on bases and distortion."
    )
    return StudyResult(_COLUMNS, sorted(rows, key=lambda row: list(_TITLES.values()).index(row[0])), notes, _plot(rows))


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 3)


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.subplots()
        titles = list(_TITLES.values())
        settings = sorted({(row[1], row[2]) for row in rows}, reverse=True)
        for i, (bases, eps) in enumerate(settings):
            shares = {row[0]: row[3] / (row[3] + row[4]) for row in rows if (row[1], row[2]) == (bases, eps)}
            places = np.arange(len(titles)) + 0.2 * (i - 1.5)
            ax.barh(places, [shares[title] for title in titles], 0.18, label=f"{bases} bases, distortion {eps:g}")
        ax.set_yticks(range(len(titles)), titles, fontsize=8)
        ax.invert_yaxis()
        ax.set_xlabel("share of draws in which the rate falls")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncol=2, fontsize=7)

    return draw


attention_steps = Study(
    name="sparse_representation.attention_steps",
    title="Which step lowers the compressed rate",
    description="The gradient step on the compressed rate, and the forms that attention takes on its way to the layer "
    "of CRATE, counted over random tokens and subspaces.",
    run=_run,
)
