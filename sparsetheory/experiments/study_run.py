"""A study in a run: computed by a worker, its table and figure written here."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from sparsetheory.experiments.extras import explain_missing, is_missing_extra
from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.schedule import Task
from sparsetheory.experiments.storage.files import replace_file
from sparsetheory.experiments.storage.records import Origin, StudyRecord, figure_path
from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.experiments.workers import UnreachableError, refer, run_study_here

__all__ = ["StudyOutcome", "StudyRun"]


@dataclass(frozen=True)
class StudyOutcome:
    """A study that was run, or what was missing."""

    study: Study
    result: StudyResult | None
    seconds: float
    missing: str = ""


class StudyRun:
    """One study of a run; an :class:`~sparsetheory.experiments.outcome.Examination` without a verdict.

    Parameters
    ----------
    study : Study
        What to run.
    profile : Profile
        Passed on to the study.
    out : Path
        Folder for ``data/<name>.csv`` and ``figures/<name>.png``.
    """

    steps = 1

    def __init__(self, study: Study, profile: Profile, out: Path) -> None:
        self.study = study
        self.name = study.name
        self._profile, self._out = profile, out
        self._answer: tuple[StudyResult, bytes | None, float] | None = None
        self._missing = ""

    @property
    def complete(self) -> bool:
        """Whether nothing more will come."""
        return self._answer is not None or bool(self._missing)

    def start(self) -> int:
        """Run a study that no worker can find by name; return the steps done."""
        return 0 if refer(self.study) else self.add(_run(self.study, self._profile.value))

    def long_tasks(self, owner: int) -> Iterator[Task]:
        """Yield the study as one task."""
        reference = refer(self.study)
        if reference:
            yield Task(owner, _run, (reference, self._profile.value))

    def tasks(self, owner: int, batched: bool) -> Iterator[Task]:
        """Yield nothing more."""
        yield from ()

    def add(self, answer: Any) -> int:
        """Take the answer of a worker; return the steps done."""
        if isinstance(answer, str):
            self._missing = answer
        else:
            self._answer = answer
        return 1

    def finish(self) -> StudyOutcome:
        """Write table and figure."""
        if self._answer is None:
            return StudyOutcome(self.study, None, 0.0, self._missing)
        result, figure, seconds = self._answer
        replace_file(self._out / "data" / f"{self.name}.csv", _csv(result))
        if figure is not None:
            replace_file(figure_path(self._out, self.name), figure)
        return StudyOutcome(self.study, result, seconds)

    def record(self, outcome: Any, origin: Origin) -> StudyRecord:
        """Return what a report says of the outcome."""
        return StudyRecord.of(self.study, outcome.result, outcome.seconds, origin, outcome.missing)


def _run(where: Any, profile: str) -> tuple[StudyResult, bytes | None, float] | str:
    """Return what the study found, or why it could not be run: often for want of an extra."""
    try:
        return run_study_here(where, profile)
    except UnreachableError:
        raise
    except Exception as error:
        return explain_missing(error) if is_missing_extra(error) else f"{type(error).__name__}: {error}"


def _csv(result: StudyResult) -> str:
    table = StringIO(newline="")
    csv.writer(table).writerows([result.columns, *result.rows])
    return table.getvalue()
