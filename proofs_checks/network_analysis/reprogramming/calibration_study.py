"""Calibration of heads and prompts on tickets, in several measures, one of which is a published mistake."""

from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.network_analysis.reprogramming import digits
from sparsetheory.typing import Float64Array

_SEEDS, _DENSITIES, _BATCH = range(8), (1.0, 0.1, 0.01), 128
_KINDS = ("head", "head, features scaled", "prompt")
_MEASURED = (
    "accuracy",
    "ECE, equal width",
    "ECE, equal mass",
    "negative log-likelihood",
    "temperature",
    "ECE at the temperature",
    "sum over batches / samples, of logits",
)
_COLUMNS = ("classifier", "density", *_MEASURED)


def _batch_sums(logits: Any, labels: Any) -> float:
    """Return what a published code reports: errors of batches, of the largest logits, summed, divided by the samples.

    The largest logit is no probability, and the sum over batches must be divided by batches.
    """
    total = 0.0
    for scores, classes in zip(logits.split(_BATCH), labels.split(_BATCH), strict=True):
        confidence, right = scores.amax(1).double().numpy(), (scores.argmax(1) == classes).numpy()
        # Bins on [0, 1]: what lies beyond them counts nowhere.
        inside = (confidence > 0) & (confidence <= 1)
        bins = np.ceil(confidence[inside] * 15)
        excess = (confidence - right)[inside]
        total += sum(abs(excess[bins == b].sum()) for b in np.unique(bins)) / len(classes)
    return float(total / len(labels))


def _measured(found: digits.Found) -> list[float]:
    import torch

    order = torch.randperm(len(found.labels), generator=torch.Generator().manual_seed(0))
    # One half for the temperature, which the other half judges.
    fit, judge = order.tensor_split(2)
    temperature = analysis.fit_temperature(found.logits[fit], found.labels[fit])
    probs, labels = found.logits.softmax(1), found.labels
    return [
        found.accuracy,
        found.ece,
        analysis.ece(probs, labels, strategy="mass"),
        found.nll,
        temperature,
        analysis.ece((found.logits[judge] / temperature).softmax(1), labels[judge]),
        _batch_sums(found.logits[order], labels[order]),
    ]


def _table() -> Float64Array:
    """Return measured numbers by seed, kind of classifier, density and measure."""
    found = []
    for seed in _SEEDS:
        tickets = {ticket.density: ticket for ticket in digits.Source(seed).tickets()}
        tasks = [digits.Target(seed, tickets[density].model, digits.SHOTS[-1]) for density in _DENSITIES]
        kinds = [[getattr(task, kind) for task in tasks] for kind in ("probe", "scaled_probe", "prompt")]
        found.append([[_measured(classifier) for classifier in kind] for kind in kinds])
    return np.array(found)


def _plot(table: Float64Array) -> Any:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, 2)
        for ax, measure in zip(axes, ("ECE, equal width", _MEASURED[-1]), strict=True):
            for index, (name, color) in enumerate(zip(_KINDS, ("C0", "C1", "C2"), strict=True)):
                values = table[:, index, :, _MEASURED.index(measure)]
                ax.plot(_DENSITIES, values.T, "o", color=color, alpha=0.3)
                ax.plot(_DENSITIES, values.mean(axis=0), "-", color=color, label=name)
            ax.set_xscale("log")
            ax.set_xlabel("density of the network")
            ax.set_ylabel(measure)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=3)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    table = _table()
    means = table.mean(axis=0)
    rows = [
        (name, density, *(round(float(value), 4) for value in means[i, j]))
        for i, name in enumerate(_KINDS)
        for j, density in enumerate(_DENSITIES)
    ]
    right, wrong = (table[..., _MEASURED.index(name)] for name in ("ECE, equal width", _MEASURED[-1]))
    worse = [int((right[:, i, -1] > right[:, i, 0]).sum()) for i in range(len(_KINDS))]
    notes = (
        f"Means of {len(_SEEDS)} networks, {digits.SHOTS[-1]} samples of a class. The error of the sparsest ticket is "
        f"above that of the dense network for {worse[0]} of them with a head, {worse[1]} with a head on features of "
        f"unit standard deviation, and {worse[2]} with a prompt: small features, and logits of a source that is less "
        "sure, make it, and a temperature below 1 repairs most of it. The last column, as a published code computes "
        f"it, is {right.mean() / wrong.mean():.0f} times smaller on the mean and depends on the sizes of batches and "
        "of the data. Temperatures are fitted on one half of the test samples and "
        "judged on the other."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(table))


calibration_measures = Study(
    name="network_analysis.calibration_measures",
    title="Calibration of reprogrammed tickets in several measures",
    description="Heads and prompts for the digits 6 to 9 on networks for the digits 0 to 5: calibration errors in bins "
    "of equal width and of equal mass, likelihood, temperature scaling, and a sum over batches of logits that has been "
    "published as calibration error.",
    run=_run,
)
