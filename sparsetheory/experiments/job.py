"""The main job: every claim, every study, one report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from joblib import effective_n_jobs
from rich.console import Console
from rich.progress import Progress

from sparsetheory.experiments.display.figures import figures_available
from sparsetheory.experiments.display.report import write_report
from sparsetheory.experiments.display.tables import study_table, summary_line, verdict_table
from sparsetheory.experiments.display.terminal import make_console, make_progress
from sparsetheory.experiments.outcome import Examination, Outcome
from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.schedule import Task, finished_tasks
from sparsetheory.experiments.storage.files import prepare_folder, set_aside, used_alone
from sparsetheory.experiments.storage.records import (
    Origin,
    figure_path,
    read_records,
    record_path,
    write_record,
)
from sparsetheory.experiments.study import Study
from sparsetheory.experiments.study_run import StudyOutcome, StudyRun
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.verdicts import State

__all__ = ["Findings", "reproduce"]


@dataclass(frozen=True)
class Findings:
    """What a run found; true when every claim holds."""

    outcomes: Sequence[Outcome]
    studies: Sequence[StudyOutcome]

    def named(self, state: State) -> list[str]:
        """Return the names of the claims, and for "not run" also of the studies, in a state."""
        names = [outcome.claim.name for outcome in self.outcomes if outcome.judgement.state is state]
        if state is State.NOT_RUN:
            names += [study.study.name for study in self.studies if study.missing]
        return names

    def status(self, strict: bool = False) -> int:
        """Return the exit status: 1 where a claim fails (`strict`: or is undecided), 2 where something did not run."""
        if self.named(State.FAILS) or (strict and self.named(State.UNDECIDED)):
            return 1
        return 2 if self.named(State.NOT_RUN) else 0

    def __bool__(self) -> bool:
        return all(outcome.judgement.holds for outcome in self.outcomes)


def reproduce(
    claims: Sequence[Claim],
    studies: Sequence[Study] = (),
    *,
    out: Path,
    profile: Profile = Profile.quick,
    seed: int = 0,
    n_jobs: int = 1,
    resume: bool = False,
    console: Console | None = None,
) -> Findings:
    """Examine claims, run studies, and leave data, figures, records and ``report.html`` in a folder.

    Results of other runs in the folder are moved to its folder ``earlier`` before they would be replaced; what they
    say of other claims stays in the report.

    Parameters
    ----------
    claims, studies : sequence
        What to run.
    out : Path
        The folder.
    profile, seed, n_jobs, resume
        As in :func:`~sparsetheory.experiments.sweep.run_claim`. A seed other than 0 also draws other instances.
    console : rich.console.Console, optional
        Where progress and tables go.

    Returns
    -------
    Findings
        True when every claim holds.

    Raises
    ------
    FolderError
        If the folder cannot be written or another run uses it.
    ResumeError
        If a file to resume belongs to another run. Both are raised before any work, where that can be known.
    WorkerDiedError
        If a worker process was killed.
    """
    console = console or make_console()
    if not figures_available():
        console.print("Figures are left out: they need the extra sparsetheory[plots].", markup=False)
    prepare_folder(out, len(claims) + len(studies))
    with used_alone(out):
        origin = Origin.of_run(profile, seed)
        runs: list[Examination | StudyRun] = [Examination(claim, profile, seed, out, resume) for claim in claims]
        runs += [StudyRun(study, profile, out) for study in studies]
        _keep_earlier(runs, out, origin, console)
        with make_progress(console) as progress:
            found = _run_all(runs, progress, out, origin, n_jobs)
        outcomes = [outcome for outcome in found if isinstance(outcome, Outcome)]
        studied = [outcome for outcome in found if isinstance(outcome, StudyOutcome)]
        report = _report(out, origin, [run.name for run in runs])
    findings = Findings(outcomes, studied)
    console.print(verdict_table((o.claim, o.judgement, o.seconds) for o in outcomes))
    for study in studied:
        console.print(study_table(study))
    console.print(summary_line(findings.named), soft_wrap=True)
    console.print(f"Report: {report}", markup=False, highlight=False, soft_wrap=True)
    return findings


def _keep_earlier(runs: Sequence[Examination | StudyRun], out: Path, origin: Origin, console: Console) -> None:
    """Move away what other runs found of the same claims and studies."""
    records = read_records(out)
    other = {name for name, record in records.items() if not record.origin.same_run(origin)}
    names = [run.name for run in runs if run.name in other or _replaces_trials(run)]
    if not names:
        return
    folder = set_aside([path for name in names for path in _files(out, name)], out, datetime.now())
    kept = f"{len(names)} results of earlier runs, of another profile, seed or code, are kept in {folder}"
    console.print(kept, markup=False, highlight=False, soft_wrap=True)


def _replaces_trials(run: Examination | StudyRun) -> bool:
    return isinstance(run, Examination) and run.sweep is not None and run.sweep.replaces_another_run()


def _files(out: Path, name: str) -> list[Path]:
    data = out / "data"
    return [data / f"{name}.jsonl", data / f"{name}.csv", record_path(out, name), figure_path(out, name)]


def _run_all(
    runs: Sequence[Examination | StudyRun], progress: Progress, out: Path, origin: Origin, n_jobs: int
) -> list[Outcome | StudyOutcome]:
    bar = progress.add_task("claims and studies", total=sum(run.steps for run in runs))
    found: dict[int, Outcome | StudyOutcome] = {}

    def step(owner: int, steps: int) -> None:
        progress.advance(bar, steps)
        if runs[owner].complete and owner not in found:
            progress.update(bar, description=runs[owner].name)
            found[owner] = runs[owner].finish()
            write_record(out, runs[owner].record(found[owner], origin))

    for owner, run in enumerate(runs):
        step(owner, run.start())
    with finished_tasks(_tasks(runs, effective_n_jobs(n_jobs) > 1), n_jobs) as answers:
        for owner, answer in answers:
            step(owner, runs[owner].add(answer))
    return [found[owner] for owner in range(len(runs))]


def _tasks(runs: Sequence[Examination | StudyRun], batched: bool) -> Iterator[Task]:
    """Yield the longest tasks first, so that all workers end together: studies, instances, batches of trials."""
    numbered = list(enumerate(runs))
    for owner, run in sorted(numbered, key=lambda item: isinstance(item[1], Examination)):
        yield from run.long_tasks(owner)
    for owner, run in numbered:
        yield from run.tasks(owner, batched)


def _report(out: Path, origin: Origin, names: Sequence[str]) -> Path:
    """Write the report: claims and studies of this run in its order, then those of earlier runs."""
    records = read_records(out)
    ordered = [records.pop(name) for name in names if name in records]
    return write_report(out, [*ordered, *records.values()], origin, known=len(ordered))
