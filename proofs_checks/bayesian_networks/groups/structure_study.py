"""Study of structures and budgets on digits, at one density."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.bayesian_networks.groups.digit_arms import ARMS, DENSITY, train_arm

_COLUMNS = (
    "what moves",
    "accuracy",
    "s.d.",
    "density 1",
    "density 2",
    "density 3",
    "weights on paths",
    "matrices left",
)
_NOTES = (
    f"Digits of 8 x 8 pixels, a network 64-256-128-10 without biases, {DENSITY:.2%} of the weights active. Structure "
    "costs accuracy at this density: less where one of every 16 weights is kept, more for rows and blocks, and most "
    "for columns, which leave four pixels. What it buys: once neurons are gone that read or feed nothing, rows are "
    "small dense matrices, and single weights large sparse ones. One budget gives the last layer a larger share. In "
    "nats it does about as well as equal budgets in nats. Exchanges by the ratio of mean and deviation and by "
    "gradients find more in the end, also under one budget, although these scores have no common unit: the curvatures "
    "that gains are made of are estimates here."
)
# Epochs, seeds, and the arms of a quick look.
_PROFILES = {"quick": (8, 1), "full": (40, 5)}
_QUICK = ("weights, fixed masks", "weights", "weights, one budget by nats", "1 of 16 weights", "rows")


def _run(profile: str) -> StudyResult:
    n_epochs, n_seeds = _PROFILES[profile]
    rows: list[tuple[Any, ...]] = []
    for name in _QUICK if profile == "quick" else ARMS:
        found = [train_arm(ARMS[name], seed, n_epochs) for seed in range(n_seeds)]
        accuracies = np.array([one.accuracy for one in found])
        spread = round(float(accuracies.std(ddof=1)), 3) if n_seeds > 1 else ""
        densities = np.mean([one.densities for one in found], axis=0).round(3).tolist()
        left = np.mean([(one.on_paths, one.dense_size) for one in found], axis=0).round(3).tolist()
        rows.append((name, round(float(accuracies.mean()), 3), spread, *densities, *left))
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


def _plot(rows: Sequence[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        places = np.arange(len(rows))
        left.barh(places, [row[1] for row in rows], xerr=[row[2] or 0.0 for row in rows], color="tab:blue")
        left.set_yticks(places, [row[0] for row in rows], fontsize=8)
        left.invert_yaxis()
        left.set_xlabel("accuracy")
        for layer in range(3):
            right.barh(places + 0.25 * (layer - 1), [row[3 + layer] for row in rows], 0.25, label=f"layer {layer + 1}")
        right.set_xlabel("density")
        figure.legend(loc="outside lower right", ncols=3, fontsize=8)
        figure.suptitle("Digits: structures and budgets at one density", fontsize=10)

    return draw


structure_digits = Study(
    name="bayesian_networks.structure_digits",
    title="What moves: weights, rows, blocks, N:M, and one budget over all layers",
    description="Networks with normal weights are trained on digits at one density; subspaces move by single weights "
    "or in whole units, with a budget for each layer or for all together.",
    run=_run,
)
