"""Priors of network Turbo-VBI side by side, on digits of scikit-learn and of MNIST."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.bayesian_networks.turbo.digits import Arm, Run, mean_run_of, run_arm

_COLUMNS = (
    "pictures",
    "prior",
    "runs",
    "accuracy, fine-tuned",
    "standard deviation",
    "largest change by pruning",
    "density",
    "mean run in the first layer",
    "outputs used",
    "inputs used",
)
_BASE = Arm(0, epochs=60)
_DIGITS = {
    "independent": _BASE,
    "chains along inputs": replace(_BASE, prior="chain_rows"),
    "chains along outputs": replace(_BASE, prior="chain_columns"),
    "grid, sum-product": replace(_BASE, prior="grid_belief_propagation"),
    "grid, rows in the mean": replace(_BASE, prior="grid_mean_field"),
    "independent, published": replace(_BASE, factorisation="meanfield"),
    "chains along inputs, published": replace(_BASE, prior="chain_rows", factorisation="meanfield"),
    "chains along inputs, shuffled pixels": replace(_BASE, prior="chain_rows", shuffled=True),
    "independent, temperature 0.3": replace(_BASE, temperature=0.3),
    "chains along inputs, temperature 0.3": replace(_BASE, prior="chain_rows", temperature=0.3),
    "chains along inputs, updates each step": replace(_BASE, prior="chain_rows", updates_per_epoch=11),
    "the same, shuffled pixels": replace(_BASE, prior="chain_rows", updates_per_epoch=11, shuffled=True),
    "whole units, updates each step": replace(_BASE, prior="group_outputs", updates_per_epoch=11),
    "whole inputs, updates each step": replace(_BASE, prior="group_inputs", updates_per_epoch=11),
    "chains, ratio 1e-5, slow deviations": replace(_BASE, prior="chain_rows", off_rate_ratio=1e-5, rho_lr=0.01),
    "chains, ratio 1e-5": replace(_BASE, prior="chain_rows", off_rate_ratio=1e-5),
}
_MNIST_BASE = Arm(0, epochs=30, warmup_epochs=5, pictures="MNIST")
_MNIST = {
    "independent": _MNIST_BASE,
    "chains along inputs": replace(_MNIST_BASE, prior="chain_rows"),
    "chains along inputs, dead inputs off": replace(_MNIST_BASE, prior="chain_rows", dead_inputs="off"),
    "chains along inputs, published": replace(_MNIST_BASE, prior="chain_rows", factorisation="meanfield"),
    "chains along inputs, shuffled pixels": replace(_MNIST_BASE, prior="chain_rows", shuffled=True),
    "independent, 4 updates an epoch": replace(_MNIST_BASE, updates_per_epoch=4),
    "chains along inputs, 4 updates an epoch": replace(_MNIST_BASE, prior="chain_rows", updates_per_epoch=4),
    "the same, shuffled pixels": replace(_MNIST_BASE, prior="chain_rows", updates_per_epoch=4, shuffled=True),
}


def _row(pictures: str, name: str, runs: list[Run]) -> tuple[Any, ...]:
    tuned = np.array([run.tuned for run in runs])
    first = [run.report.layers[0] for run in runs]
    return (
        pictures,
        name,
        len(runs),
        round(float(tuned.mean()), 3),
        round(float(tuned.std(ddof=1)), 3),
        round(max(abs(run.full - run.pruned) for run in runs), 3),
        round(float(np.mean([run.report.density for run in runs])), 3),
        round(float(np.mean([mean_run_of(run.mask) for run in runs])), 1),
        round(float(np.mean([layer.output_density for layer in first])), 2),
        round(float(np.mean([layer.input_density for layer in first])), 2),
    )


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        figure.set_size_inches(9, 6)
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        for ax, pictures in zip(axes, dict.fromkeys(row[0] for row in rows), strict=False):
            for index, row in enumerate(row for row in rows if row[0] == pictures):
                ax.errorbar(row[6], row[3], yerr=row[4], fmt="osD"[index // 10], color=f"C{index % 10}", label=row[1])
            ax.set_xscale("log")
            ax.set_title(pictures, fontsize=9)
            ax.set_xlabel("density")
            ax.legend(fontsize=6, loc="lower right")
        axes[0].set_ylabel("accuracy after fine-tuning")

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = []
    for pictures, arms, seeds in (("digits", _DIGITS, range(5)), ("MNIST", _MNIST, range(3))):
        for name, arm in arms.items():
            rows.append(_row(pictures, name, [run_arm(replace(arm, seed=seed)) for seed in seeds]))
    notes = (
        "Networks 64-100-50-10 on 1400 digits, and 784-50-10 on 4000 pictures of MNIST; judged on the others. A "
        "temperature below 1 is no bound any more, and buys accuracy with density. On the small digits, and with one "
        "update an epoch, runs are as long on shuffled pixels: the prior makes them. On MNIST with more updates they "
        "are not, and tell of the pictures."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


structured_priors = Study(
    name="bayesian_networks.structured_priors",
    title="Priors of supports side by side",
    description="Accuracy, density and structure of networks under independent, Markov and grouped states, in both "
    "factorisations, with other temperatures, and on shuffled pixels.",
    run=_run,
)
