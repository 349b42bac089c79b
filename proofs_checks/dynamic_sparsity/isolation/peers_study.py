"""Isolated tasks beside other ways to learn in turn, on two sets of pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.dynamic_sparsity.isolation.peers import learn_jointly, learn_packnet
from sparsetheory.proofs_checks.dynamic_sparsity.isolation.split_pictures import DIGITS, MNIST, Arm, Pictures, learn
from sparsetheory.proofs_checks.dynamic_sparsity.isolation.unisolated import accuracies_without_isolation
from sparsetheory.typing import Float64Array

_DENSITIES, _SEEDS = {DIGITS: 0.05, MNIST: 0.01}, (0, 1, 2)
_COLUMNS = (
    "pictures",
    "method",
    "density of a task",
    "accuracy when learned",
    "final accuracy",
    "standard deviation",
    "BWT after pairs 2 to 5",
)
_Learner = Callable[[float, Pictures, int], Float64Array]


def _isolated(grow: str, fresh: str = "init") -> _Learner:
    return lambda density, pictures, seed: learn(Arm(density, "erk", grow, seed, fresh), pictures).accuracies


def _not_isolated(grow: str) -> _Learner:
    return lambda density, pictures, seed: accuracies_without_isolation(
        Arm(density, "erk", grow, seed), "earlier", pictures
    )


_METHODS: dict[str, _Learner] = {
    "isolated, static masks": _isolated("static"),
    "isolated, growth by gradients": _isolated("gradient"),
    "isolated, gradients, from zeros": _isolated("gradient", "zero"),
    "PackNet": lambda density, pictures, seed: learn_packnet(density, pictures, seed).accuracies,
    "not isolated": _not_isolated("gradient"),
    "dense, fine-tuned": _not_isolated("static"),
}


def _row(pictures: Pictures, method: str) -> tuple[Any, ...]:
    density = 1.0 if method.startswith("dense") else _DENSITIES[pictures]
    found = np.array([_METHODS[method](density, pictures, seed) for seed in _SEEDS])
    final = found[:, -1].mean(1)
    bwt = np.mean([dynamic.continual_metrics(one).bwt[1:] for one in found], 0)
    return (
        pictures.title,
        method,
        density,
        round(float(np.diagonal(found, 0, 1, 2).mean()), 4),
        round(float(final.mean()), 4),
        round(float(final.std(ddof=1)), 4),
        ", ".join(f"{value:.3g}" for value in bwt),
    )


def _joint_row(pictures: Pictures) -> tuple[Any, ...]:
    final = np.array([learn_jointly(pictures, seed) for seed in _SEEDS])
    mean, deviation = round(float(final.mean()), 4), round(float(final.std(ddof=1)), 4)
    return (pictures.title, "dense, all pairs at once", 1.0, mean, mean, deviation, "")


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        methods = list(dict.fromkeys(row[1] for row in rows))
        for index, title in enumerate(dict.fromkeys(row[0] for row in rows)):
            chosen = [row for row in rows if row[0] == title]
            places = np.arange(len(methods)) + 0.2 * (2 * index - 1)
            ax.plot([row[3] for row in chosen], places, "o", color=f"C{index}", fillstyle="none")
            ax.errorbar(
                [row[4] for row in chosen],
                places,
                xerr=[row[5] for row in chosen],
                fmt="o",
                color=f"C{index}",
                label=title,
                capsize=2,
            )
        ax.set_yticks(range(len(methods)), methods)
        ax.invert_yaxis()
        ax.set_xlabel("mean accuracy:\nwhen learned (open), after the last pair (full)")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = []
    for pictures in (DIGITS, MNIST):
        rows += [*(_row(pictures, method) for method in _METHODS), _joint_row(pictures)]
    notes = (
        f"Means of {len(_SEEDS)} networks with two hidden layers of 64, as many steps on each pair for all. PackNet "
        "trains each pair on all free weights, prunes to the density after two thirds of the steps, and trains on. The "
        "pair of a picture is known. An isolated pair is answered at the end as when it was learned."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


isolation_peers = Study(
    name="dynamic_sparsity.isolation_peers",
    title="Isolated tasks beside other ways to learn in turn",
    description="Five pairs of digits, of scikit-learn and of MNIST, are learned one after the other: by isolated "
    "masks, by PackNet, without isolation, by fine-tuning, and all at once.",
    run=_run,
)
