"""Scores of every layer of models of characters, trained densely, with weight decay, with masks, and with controls."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.network_analysis.depth.character_models import ARMS, trained_report

if TYPE_CHECKING:
    from sparsetheory.gpu.analysis import DepthReport
    from sparsetheory.typing import Float64Array

    Tables = Mapping[str, Mapping[str, Float64Array]]

_SEEDS, _STEPS = (0, 1), 1500
_COLUMNS = (
    "training",
    "layer",
    "variance after it",
    "cosine",
    "|Delta| / |h|",
    "causal effect",
    "exchange with next",
    "rise without it",
    "rise if linear",
    "|J - I| / width",
)
# Numbers of the table span many orders of magnitude.
_DIGITS = 3


def _scores(report: "DepthReport") -> "Mapping[str, Float64Array]":
    """Return the scores of each layer of one network, by the names of the columns."""
    assert report.permutation is not None
    assert report.skip_increase is not None
    assert report.linear_increase is not None
    assert report.jacobian is not None
    values = (
        report.variance[1:],
        report.cosine,
        report.relative_contribution,
        [*report.causal_effect.tolist(), np.nan],
        [*report.permutation.diagonal(1).tolist(), np.nan],
        report.skip_increase,
        report.linear_increase,
        report.jacobian,
    )
    return dict(zip(_COLUMNS[2:], (np.asarray(one, dtype=float) for one in values), strict=True))


def _summary(title: str, reports: "list[DepthReport]", means: "Mapping[str, Float64Array]") -> str:
    """Return loss, usefulness and growth of the variance of a way to train, in words."""
    loss = np.mean([report.loss for report in reports])
    useful = np.mean([report.usefulness for report in reports])
    variance = means["variance after it"]
    return (
        f"{title}: loss {loss:.2f}, useful {useful:.2f}, variance after the last over that after the first layer "
        f"{variance[-1] / variance[0]:.1f}"
    )


def _plot(tables: "Tables") -> Callable[[Any], None]:
    shown = (_COLUMNS[2], _COLUMNS[4], _COLUMNS[5], _COLUMNS[8])

    def draw(figure: Any) -> None:
        figure.set_size_inches(10, 7)
        axes = figure.subplots(2, 2)
        for ax, column in zip(axes.flat, shown, strict=True):
            for title, means in tables.items():
                # A layer that weight decay has emptied adds zero, which no logarithm shows.
                values = means[column] if column == _COLUMNS[8] else np.where(means[column] > 0, means[column], np.nan)
                ax.plot(range(len(values)), values, ".-", label=title)
            ax.set_xlabel("layer")
            ax.set_title(column, fontsize=10)
            if column != _COLUMNS[8]:
                ax.set_yscale("log")
        axes[1, 1].axhline(0.1, color="grey", ls=":")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncol=4, fontsize=7)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    tables, rows, notes = {}, [], []
    for arm in ARMS:
        reports = [trained_report(arm, seed, _STEPS) for seed in _SEEDS]
        found = [_scores(report) for report in reports]
        means = {column: np.mean([one[column] for one in found], axis=0) for column in _COLUMNS[2:]}
        tables[arm.title] = means
        rows += [
            (arm.title, layer, *(float(f"{means[column][layer]:.{_DIGITS}g}") for column in _COLUMNS[2:]))
            for layer in range(len(means["cosine"]))
        ]
        notes.append(_summary(arm.title, reports, means))
    lead = (
        f"Means of {len(_SEEDS)} seeds after {_STEPS} steps, with raw rises of the loss: a layer counts as useful "
        "above 0.1, so that shares of useful layers jump by eighths. Small variances are no sign of use: layers that "
        "normalise first do not see the scale of the stream. Zeros are missing on logarithmic axes. "
    )
    return StudyResult(_COLUMNS, rows, lead + "; ".join(notes) + ".", _plot(tables))


depth_scores = Study(
    name="network_analysis.depth_scores",
    title="What smaller branches, weight decay and masks do to the use of depth",
    description="Decoders of eight layers for characters, trained densely, with weight decay, with random masks, and "
    "with the two controls that any effect of sparsity has to be compared with: scaled branches and scaled "
    "normalisations.",
    run=_run,
)
