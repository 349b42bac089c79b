"""Studies: accuracy and calibration against density and against the first deviations, and a second set of pictures."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.bayesian_networks.subspace.pictures import Arm, Found, run_arm

_DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.5)
_WAYS = {
    "static": "static masks",
    "snr_abs": "swaps",
    "pruned": "dense, then pruned",
    "retrained": "pruned, trained again",
}
_DEVIATIONS = (1e-4, 6e-4, 5e-3, 0.02, 0.05, 0.1, 0.2)
_N_DRAWS = 20
_DENSITY_COLUMNS = ("way", "density", "accuracy at means", "standard deviation", "accuracy over draws", "ECE")
_DEVIATION_COLUMNS = ("way", "first deviation", "accuracy at means", "standard deviation", "accuracy over draws", "ECE")
_MNIST_COLUMNS = ("way", "density", "accuracy at means", "standard deviation")


def _row(way: str, value: float, found: Sequence[Found]) -> tuple[Any, ...]:
    accuracies = [run.accuracy for run in found]
    return (
        way,
        value,
        round(float(np.mean(accuracies)), 4),
        round(float(np.std(accuracies, ddof=1)), 4),
        round(float(np.mean([run.drawn_accuracy for run in found])), 4),
        round(float(np.mean([run.ece for run in found])), 4),
    )


def _curves(rows: Sequence[tuple[Any, ...]], x_label: str) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        accuracy, calibration = figure.subplots(1, 2)
        for way in dict.fromkeys(row[0] for row in rows):
            own = [row for row in rows if row[0] == way]
            at = [row[1] for row in own]
            accuracy.errorbar(at, [row[2] for row in own], yerr=[row[3] for row in own], fmt="o-", label=way)
            calibration.plot(at, [row[5] for row in own], "o-", label=way)
        for ax, label in ((accuracy, "accuracy at the means"), (calibration, "calibration error over draws")):
            ax.set_xscale("log")
            ticks = sorted({row[1] for row in rows})
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=45)
            ax.minorticks_off()
            ax.set_xlabel(x_label)
            ax.set_ylabel(label)
        calibration.legend(loc="upper left")

    return draw


def _by_density(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_DENSITY_COLUMNS)
    rows = [
        _row(label, density, [_tempered(seed, density=density, criterion=way) for seed in range(3)])
        for way, label in _WAYS.items()
        for density in _DENSITIES
    ]
    notes = (
        f"Means of 3 seeds; {_N_DRAWS} draws of the weights. Pruned networks were trained dense, at the cost of dense "
        "variational training, then cut by the ratio of mean to deviation; the last rows train what is left for "
        "another 40 epochs. The calibration error is that of draws, of 15 bins."
    )
    return StudyResult(_DENSITY_COLUMNS, rows, notes, _curves(rows, "density"))


def _tempered(seed: int, **settings: Any) -> Found:
    return run_arm(Arm(seed, n_draws=_N_DRAWS, **settings))


def _by_deviation(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_DEVIATION_COLUMNS)
    rows = [
        _row(_WAYS[way], sigma, [_tempered(seed, criterion=way, sigma_init=(sigma, sigma / 10)) for seed in range(3)])
        for way in ("static", "snr_abs")
        for sigma in _DEVIATIONS
    ]
    notes = "Means of 3 seeds at 5 % density. First means have the deviation 1 / sqrt(fan_in * density), 0.56 to 0.28."
    return StudyResult(_DEVIATION_COLUMNS, rows, notes, _curves(rows, "first standard deviation"))


def _mnist(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_MNIST_COLUMNS)
    runs = {
        (way, density): [run_arm(Arm(seed, density, 12, criterion=way, pictures="load_mnist_5k")) for seed in range(3)]
        for density in (0.05, 0.02)
        for way in ("static", "snr_abs")
    }
    rows = [_row(_WAYS[way], density, found)[:4] for (way, density), found in runs.items()]

    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        names = [f"{row[0]}, {row[1]:.0%}" for row in rows]
        ax.barh(names, [row[2] for row in rows], xerr=[row[3] for row in rows])
        ax.set_xlabel("accuracy on other digits")

    notes = "Means of 3 seeds, 4000 pictures of MNIST to train with and 1000 others to test, 12 epochs."
    return StudyResult(_MNIST_COLUMNS, rows, notes, draw)


densities = Study(
    name="bayesian_networks.swap_densities",
    title="Accuracy and calibration of sparse Bayesian networks by density",
    description="Networks 64-256-128-10 for the digits of scikit-learn: static random masks, masks that swap, and "
    "dense variational training that is pruned by the ratio of mean to deviation at the end.",
    run=_by_density,
)

deviations = Study(
    name="bayesian_networks.first_deviations",
    title="How much the first deviations matter",
    description="The same networks at 5 % density, started from smaller and larger standard deviations of the weights.",
    run=_by_deviation,
)

mnist = Study(
    name="bayesian_networks.swaps_on_mnist",
    title="Swaps on another set of pictures",
    description="A network 784-100-10 for 5000 pictures of MNIST, under static masks and under masks that swap.",
    run=_mnist,
)
