"""What the loss of an untrained network says about the trained one: rank correlations at budgets of training."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import search
from sparsetheory.proofs_checks.sparse_search.random_masks.digits_pairs import DIGITS, MNIST, Pictures, parent, split
from sparsetheory.proofs_checks.sparse_search.random_masks.together import Together
from sparsetheory.typing import Float64Array

_DENSITY = 0.1
_BUDGETS = (30, 60, 300, 1000)
_PARENTS = {"quick": 2, "full": 8}
_CANDIDATES = {"quick": 12, "full": 40}
_COLUMNS = ("pictures", "parent", "steps", "initial loss", "loss after 30 steps", "spread of accuracies")
_NOTES = (
    "Spearman's rank correlations, over random masks that keep a tenth of the nodes, of the loss after some steps with "
    "the loss before training and with that after 30 steps; and the standard deviation of accuracies on other pictures "
    "at that budget. Before training the loss ranks candidates a little for the first steps, not for every parent. "
    "After some hundred steps nothing is left of that, nor of the order after 30 steps: trained networks hardly "
    "differ. Correlations of two unrelated rankings of {n} candidates are within {chance:.2f} of 0 in 19 of 20 cases: "
    "the grey area."
)
_SETS = {"quick": {"digits": DIGITS}, "full": {"digits": DIGITS, "MNIST": MNIST}}


def _correlation(a: Float64Array, b: Float64Array) -> float:
    from scipy import stats

    return float(stats.spearmanr(a, b).statistic)


def _rows(title: str, pictures: Pictures, seed: int, profile: str) -> Iterator[tuple[Any, ...]]:
    import torch

    data, model = split(pictures), parent(pictures, seed)
    sampler, source = search.NodeSampler(_DENSITY), torch.Generator().manual_seed(seed)
    drawn = [search.remove_nodes(model, sampler(model, source)) for _ in range(_CANDIDATES[profile])]
    together = Together(drawn, data.train)
    initial, early, done = together.losses(data.train), None, 0
    for steps in _BUDGETS[: 3 if profile == "quick" else None]:
        losses = together.go(steps - done).losses(data.train)
        done = steps
        early = losses if early is None else early
        spread = float(np.std(together.accuracies(data.held_out)))
        found = (_correlation(initial, losses), _correlation(early, losses), spread)
        yield title, seed, steps, *(round(number, 3) for number in found)


def _chance(n_candidates: int) -> float:
    """Return twice the standard deviation of rank correlations of unrelated rankings."""
    return float(2 / np.sqrt(n_candidates - 1))


def _plot(rows: list[tuple[Any, ...]], chance: float) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for title, marker in (("digits", "o"), ("MNIST", "s")):
            chosen = [row for row in rows if row[0] == title]
            for column, color in ((3, "C0"), (4, "C1")):
                if chosen:
                    label = f"{title}: {_COLUMNS[column]}"
                    ax.plot(
                        [row[2] for row in chosen], [row[column] for row in chosen], marker, color=color, label=label
                    )
        ax.axhspan(-chance, chance, color="0.93", zorder=0)
        ax.set_xscale("log")
        ax.set_xlabel("steps of training")
        ax.set_ylabel("rank correlation with the loss then")
        ax.set_title("Early losses against later ones; one mark a parent")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    rows = [
        row
        for title, pictures in _SETS[profile].items()
        for seed in range(_PARENTS[profile])
        for row in _rows(title, pictures, seed, profile)
    ]
    n, chance = _CANDIDATES[profile], _chance(_CANDIDATES[profile])
    return StudyResult(_COLUMNS, rows, _NOTES.format(n=n, chance=chance), _plot(rows, chance))


initial_loss_ranks = Study(
    name="sparse_search.initial_loss_ranks",
    title="What the loss of an untrained network says",
    description="Random masks of nodes of one network are ranked by the loss before training, and again after some "
    "steps of training. Both rankings are compared, for several networks.",
    run=_run,
)
