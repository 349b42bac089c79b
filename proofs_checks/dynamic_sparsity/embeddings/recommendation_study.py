"""Studies of sparse embedding tables for recommendation, on synthetic feedback and on films."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.arms import ARMS, Outcome, outcomes, references
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.feedback import Feedback, draw_feedback, film_feedback
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.recommenders import DIM, Recipe

_COLUMNS = (
    "density",
    "method",
    "recall@20",
    "NDCG@20",
    "entries ~ users of items",
    "empty rows",
    "multiplications of a score",
    "training, share of dense",
    "kind",
    "explored",
)
_NOTES = (
    f"Pairwise ranking by Adam, rows of {DIM}; the same number of entries at each density but for the dense tables. "
    "Entries that move go to the items with many users, and find more than a fixed random mask does. Small dense "
    "tables of as many entries are the peer to beat, and mostly find more. A greedy mask comes from least "
    "squares on a truncated decomposition, whose cost is not counted. Its values start at random, but for the greedy "
    "rows. At low density it beats a search during training on synthetic feedback; on films the mask alone does not."
)
# Densities and seeds.
_SYNTHETIC = {"quick": ((0.2,), (0,)), "full": ((0.5, 0.2, 0.1), (0, 1, 2))}
_FILMS = ((0.5, 0.25), (0, 1))
_FILM_RECIPE = Recipe(n_steps=1000, batch_size=2048, lr=0.01)

_Table = list[tuple[Any, ...]]


def _table(feedbacks: Sequence[Feedback], densities: Sequence[float], seeds: Sequence[int], recipe: Recipe) -> _Table:
    """Return the means over feedbacks and seeds, row by row."""
    rows: _Table = []
    for name in references(feedbacks[0]):
        found = [references(feedback)[name] for feedback in feedbacks]
        rows.append(("", name, *np.mean(found, axis=0).round(4).tolist(), *[""] * (len(_COLUMNS) - 4)))
    for density in densities:
        runs = [
            dict(outcomes(feedback, density, seed, recipe)) for feedback, seed in zip(feedbacks, seeds, strict=True)
        ]
        rows += [(density, name, *_means([run[name] for run in runs])) for name in ARMS]
    return rows


def _means(found: Sequence[Outcome]) -> tuple[Any, ...]:
    def mean(field: str, digits: int) -> float:
        return round(float(np.mean([getattr(one, field) for one in found])), digits)

    correlation = mean("correlation", 2)
    return (
        mean("recall", 4),
        mean("ndcg", 4),
        "" if np.isnan(correlation) else correlation,
        mean("n_empty_rows", 1),
        mean("macs", 2),
        mean("training", 2),
        found[0].kind,
        mean("explored", 2),
    )


def _plot(rows: _Table, title: str) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        densities = list(dict.fromkeys(row[0] for row in rows if row[0] != ""))
        height = 0.8 / len(densities)
        for k, density in enumerate(densities):
            recalls = [row[2] for row in rows if row[0] == density]
            places = np.arange(len(ARMS)) + (k - (len(densities) - 1) / 2) * height
            ax.barh(places, recalls, height, label=f"density {density:g}")
        for (_, name, recall, *_), style in zip(rows, (":", "--", "-."), strict=False):
            ax.axvline(recall, color="black", linestyle=style, linewidth=1, label=name)
        ax.set_yticks(np.arange(len(ARMS)), ARMS)
        ax.invert_yaxis()
        ax.set_xlabel("recall at 20")
        # Over the whole figure: names of arms leave the axes too little room for it.
        figure.suptitle(title, fontsize=10)
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)

    return draw


def _synthetic(profile: str) -> StudyResult:
    densities, seeds = _SYNTHETIC[profile]
    feedbacks = [draw_feedback(np.random.default_rng(seed)) for seed in seeds]
    rows = _table(feedbacks, densities, seeds, Recipe())
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows, "Synthetic feedback of 400 users on 300 items"))


def _films(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    densities, seeds = _FILMS
    rows = _table([film_feedback()] * len(seeds), densities, seeds, _FILM_RECIPE)
    notes = (
        f"{_NOTES} Of each person the last film with four stars or more is to be found; of several with the same time "
        "one is drawn."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows, "MovieLens-100K, films with four stars or five"))


recommendation_synthetic = Study(
    name="dynamic_sparsity.recommendation_synthetic",
    title="Ways to spend a budget of embedding entries",
    description="Two embedding tables are trained on synthetic feedback with tastes of rank 8: dense, small and dense, "
    "under masks that stay and masks that move, pruned, and from greedy least-squares rows.",
    run=_synthetic,
)

recommendation_films = Study(
    name="dynamic_sparsity.recommendation_films",
    title="A budget of embedding entries on MovieLens-100K",
    description="The same recommenders on the films that 943 people liked, beside popularity and truncated "
    "decompositions of the matrix.",
    run=_films,
)
