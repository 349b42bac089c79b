"""Supports that network Turbo-VBI finds, drawn, and the path of the annealing."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.bayesian_networks.turbo.digits import Arm, Run, run_arm

_COLUMNS = (
    "prior",
    "accuracy",
    "accuracy, pruned",
    "accuracy, fine-tuned",
    "density",
    "density of the first layer",
    "mean run in it",
    "divergence in nats",
)
# Units that are drawn; hardly any other has weights that are on.
_SHOWN = 30
_ARMS = {
    "independent": Arm(0),
    "chains": Arm(0, "chain_rows"),
    "chains, published": Arm(0, "chain_rows", "meanfield"),
    "chains, shuffled pixels": Arm(0, "chain_rows", shuffled=True),
}


def _row(name: str, run: Run) -> tuple[Any, ...]:
    first = run.report.layers[0]
    accuracies = (round(accuracy, 3) for accuracy in (run.full, run.pruned, run.tuned))
    return (
        name,
        *accuracies,
        round(run.report.density, 3),
        round(first.density, 3),
        round(first.mean_run, 1),
        round(run.report.kl),
    )


def _plot(runs: dict[str, Run], arms: dict[str, Arm]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        figure.set_size_inches(11, 6.4)
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.15, 1))
        axes = top.subplots(1, len(runs), sharey=True)
        for ax, (name, run) in zip(axes, runs.items(), strict=True):
            # Units with the most weights first, so that one sees how many are used.
            order = np.argsort(-run.mask.sum(axis=1), kind="stable")
            ax.imshow(run.mask[order][:_SHOWN], cmap="Greys", interpolation="nearest", aspect="auto")
            ax.grid(False)
            ax.set_title(name, fontsize=9)
            ax.set_xlabel("input pixel, row by row", fontsize=8)
        axes[0].set_ylabel("unit of the first layer", fontsize=8)
        density, length, scale = bottom.subplots(1, 3)
        for index, (name, run) in enumerate(runs.items()):
            path, begin = run.path, arms[name].warmup_epochs
            epochs = np.arange(1, len(path) + 1)
            on = epochs > begin
            density.plot(epochs[on], path[on, 0], color=f"C{index}", label=name)
            length.plot(epochs[on], np.maximum(path[on, 1], 1), color=f"C{index}")
            scale.plot(epochs, path[:, 2], color=f"C{index}")
        scale.plot(epochs, np.sqrt(path[:, 3]), "k--", label="$\\sqrt{b_0}$, off")
        for ax, title in ((density, "weights on"), (length, "mean run"), (scale, "median deviation")):
            ax.set_title(f"{title}, first layer", fontsize=9)
            ax.set_xlabel("epoch", fontsize=8)
            ax.set_yscale("log")
        density.legend(fontsize=7)
        scale.legend(fontsize=7)

    return draw


def _run(profile: str) -> StudyResult:
    runs = {name: run_arm(arm) for name, arm in _ARMS.items()}
    notes = (
        "One network 64-100-50-10 for each prior, 40 epochs on 1400 digits of scikit-learn, judged on 397. Above: "
        f"weights of the first layer that are on, one unit a line, the {_SHOWN} fullest of 100. Below: the law of "
        "weights that are off moves from epoch 10 to 25, and the deviations have to follow it. Runs are as long on "
        "shuffled pixels: it is the prior that makes them, not the pictures."
    )
    return StudyResult(_COLUMNS, [_row(name, run) for name, run in runs.items()], notes, _plot(runs, _ARMS))


drawn_supports = Study(
    name="bayesian_networks.drawn_supports",
    title="Supports with and without a Markov prior",
    description="Masks of the first layer of a network on digits: independent states, chains along the inputs of each "
    "unit, chains in the published factorisation, and chains on shuffled pixels; and how the annealing makes them.",
    run=_run,
)
