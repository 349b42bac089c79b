"""QuickSelection beside other ways to select features, on digits among noise and on tables of genes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.dynamic_sparsity.feature_selection.noisy_features import (
    Split,
    noisy_digits,
    noisy_mnist,
    table,
)
from sparsetheory.proofs_checks.dynamic_sparsity.feature_selection.selectors import SELECTORS, Settings

_COLUMNS = (
    "data", "columns by", "accuracy", "standard error", "error", "bound of the error", "real columns", "seconds",
)  # fmt: skip
_TREES = 50
# The last batch of an epoch is one of few samples where there are few, so a batch must be a part of them.
_GENES: Settings = {"n_hidden": 1000, "max_iter": 100, "batch_size": 10}


@dataclass(frozen=True)
class Data:
    """What is split, how many columns are selected, how QuickSelection trains, and for how many seeds.

    Parameters
    ----------
    split : callable
        Of a seed.
    n_selected, n_seeds : int
    settings : mapping
    """

    split: Callable[[int], Split]
    n_selected: int
    n_seeds: int
    settings: Settings


_DIGITS: Settings = {"n_hidden": 100, "epsilon": 5.0, "max_iter": 20}
_QUICK = {"digits": Data(noisy_digits, 50, 2, _DIGITS)}
_FULL = {
    "digits": Data(noisy_digits, 50, 10, _DIGITS),
    "MNIST": Data(noisy_mnist, 50, 3, {"n_hidden": 1000, "max_iter": 20}),
    "Khan": Data(partial(table, "khan"), 20, 10, _GENES),
    "NCI60": Data(partial(table, "nci60"), 20, 5, _GENES),
}
_PROFILES: Mapping[str, Mapping[str, Data]] = {"quick": _QUICK, "full": _FULL}


def _measured(split: Split, data: Data, name: str) -> tuple[float, float, float, float]:
    """Return accuracy, error of the first part, share of real columns, and processor time of the selection."""
    started = time.process_time()
    columns = SELECTORS[name](split, data.n_selected, data.settings)
    seconds = time.process_time() - started
    error = dynamic.column_subset_error(split.X[: split.n_train], columns)
    return split.accuracy(columns, _TREES), error, float((columns < split.n_real).mean()), seconds


def _rows(title: str, data: Data) -> list[tuple[Any, ...]]:
    splits = [data.split(seed) for seed in range(data.n_seeds)]
    # No choice of columns has a smaller error; the greedy one computes it anyway.
    bounds = [dynamic.greedy_column_subset(s.X[: s.n_train], data.n_selected).bounds[-1] for s in splits]
    rows = []
    for name in SELECTORS:
        found = np.array([_measured(split, data, name) for split in splits])
        spread = found[:, 0].std(ddof=1) / len(found) ** 0.5
        accuracy, error, real, seconds = found.mean(axis=0)
        numbers = (accuracy, spread, error, np.mean(bounds), real, seconds)
        rows.append((title, name, *(round(float(number), 3) for number in numbers)))
    return rows


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        titles = list(dict.fromkeys(row[0] for row in rows))
        for k, title in enumerate(titles):
            ax = figure.add_subplot(-(-len(titles) // 2), min(len(titles), 2), k + 1)
            for row in (row for row in rows if row[0] == title):
                ax.scatter(row[4], row[2], label=row[1])
            ax.axvline(next(row[5] for row in rows if row[0] == title), color="0.6", linestyle=":", label="bound")
            ax.set_title(title)
            ax.set_xlabel("error")
            ax.set_ylabel("accuracy")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7)

    return draw


def _notes(rows: list[tuple[Any, ...]]) -> str:
    found = {(row[0], row[1]): row for row in rows}
    titles = dict.fromkeys(row[0] for row in rows)
    greedy, random = (
        ", ".join(f"{title} {found[title, 'QuickSelection'][2] - found[title, other][2]:+.3f}" for title in titles)
        for other in ("greedy columns", "random")
    )
    shares = ", ".join(
        f"{found['digits', name][6]:.2f} by {name}" for name in ("QuickSelection", "greedy columns", "Laplacian score")
    )
    return (
        f"Accuracy by QuickSelection minus that by greedy columns: {greedy}; minus that by random columns: {random}. "
        f"On digits the share of pixels is {shares}: whoever minimises the error takes noise, since nothing else "
        "explains it, and whoever asks whether near samples have near values takes none. Variances are those of the "
        "data as they are, where noise has variance 1 and pixels lie between 0 and 1. Trees with labels are a "
        "reference, no rival."
    )


def _run(profile: str) -> StudyResult:
    rows = [row for title, data in _PROFILES[profile].items() for row in _rows(title, data)]
    return StudyResult(_COLUMNS, rows, _notes(rows), _plot(rows))


feature_selectors = Study(
    name="dynamic_sparsity.feature_selectors",
    title="Features selected without labels",
    description="Columns are selected on two thirds of the samples, most ways without their classes. Trees that see "
    "only these columns classify the last third. The error is the share of the energy of the standardised samples that "
    "fits by the columns leave; its bound is what the best combinations of all columns leave. Seconds are those of a "
    "processor. Digits and MNIST stand beside columns of noise; Khan and NCI60 are expressions of genes in tumours.",
    run=_run,
)
