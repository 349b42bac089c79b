"""Measurements on real data that illustrate the claims: tables and figures without a verdict."""

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Study", "StudyOutcome", "StudyResult", "run_study"]


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Parameters
    ----------
    columns : sequence of str
        Heads of the table.
    rows : sequence of sequences
        Its cells.
    notes : str
        How to read it, in a sentence or two.
    plot : callable, optional
        Draws on the matplotlib figure it is given.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: str = ""
    plot: Callable[[Any], None] | None = None


@dataclass(frozen=True)
class Study:
    """A computation on real data, found by the registry like a claim.

    Parameters
    ----------
    name : str
        ``family.study``, unique among claims and studies.
    title, description : str
        For the report.
    run : callable
        Takes the profile, ``"quick"`` or ``"full"``, and returns a `StudyResult`.
    """

    name: str
    title: str
    description: str
    run: Callable[[str], StudyResult]


@dataclass(frozen=True)
class StudyOutcome:
    """A study that was run, and where its figure lies."""

    study: Study
    result: StudyResult
    seconds: float
    figure: Path | None = None


def run_study(study: Study, profile: str, out: Path) -> StudyOutcome:
    """Run a study and write its table and figure.

    Parameters
    ----------
    study : Study
        What to run.
    profile : {"quick", "full"}
        Passed on to the study.
    out : Path
        Folder for ``data/<name>.csv`` and ``figures/<name>.png``.

    Returns
    -------
    StudyOutcome
    """
    from sparsetheory.experiments.figures import save_figure

    started = time.perf_counter()
    result = study.run(profile)
    seconds = time.perf_counter() - started
    _write_table(result, out / "data" / f"{study.name}.csv")
    path = out / "figures" / f"{study.name}.png"
    figure = save_figure(result.plot, path) if result.plot else None
    return StudyOutcome(study, result, seconds, figure)


def _write_table(result: StudyResult, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([result.columns, *result.rows])
