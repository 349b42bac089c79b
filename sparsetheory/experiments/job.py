"""The main job: every claim, every study, one report."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sparsetheory.experiments.figures import figures_available
from sparsetheory.experiments.outcome import Outcome, examine_claim
from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.report import write_report
from sparsetheory.experiments.study import Study, StudyOutcome, run_study
from sparsetheory.experiments.tables import study_table, verdict_table
from sparsetheory.proofs_checks.claim import Claim

__all__ = ["reproduce"]


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
) -> bool:
    """Examine claims, run studies, and leave data, figures and ``report.html`` in a folder.

    Parameters
    ----------
    claims, studies : sequence
        What to run.
    out : Path
        The folder.
    profile, seed, n_jobs, resume
        As in :func:`~sparsetheory.experiments.sweep.run_claim`.
    console : rich.console.Console, optional
        Where progress and tables go.

    Returns
    -------
    bool
        Whether every verdict holds.
    """
    # Tables written to a file or a pipe need not fit a terminal.
    console = console or Console(width=None if Console().is_terminal else 160)
    if not figures_available():
        console.print("Figures are left out: they need the extra sparsetheory[plots].", markup=False)
    with _progress(console) as progress:
        outcomes = _examine_all(claims, progress, out, profile, seed, n_jobs, resume)
        found = _run_all(studies, progress, out, profile)
    console.print(verdict_table((o.claim, o.judgement, o.seconds) for o in outcomes))
    for study in found:
        console.print(study_table(study))
    report = write_report(out / "report.html", outcomes, found, profile=profile, seed=seed)
    console.print(f"Report: {report}", markup=False, highlight=False, soft_wrap=True)
    return all(outcome.judgement.holds for outcome in outcomes)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _examine_all(
    claims: Sequence[Claim],
    progress: Progress,
    out: Path,
    profile: Profile,
    seed: int,
    n_jobs: int,
    resume: bool,
) -> list[Outcome]:
    total = sum(len(profile.values(claim.sweep)) * profile.trials(claim.sweep) for claim in claims if claim.sweep)
    bar = progress.add_task("trials", total=total)
    outcomes = []
    for claim in claims:
        progress.update(bar, description=claim.name)
        outcomes.append(
            examine_claim(
                claim,
                out,
                profile=profile,
                seed=seed,
                n_jobs=n_jobs,
                resume=resume,
                progress=lambda row: progress.advance(bar),
            )
        )
    progress.update(bar, description="trials")
    return outcomes


def _run_all(studies: Sequence[Study], progress: Progress, out: Path, profile: Profile) -> list[StudyOutcome]:
    bar = progress.add_task("studies", total=len(studies), visible=bool(studies))
    outcomes = []
    for study in studies:
        progress.update(bar, description=study.name)
        outcomes.append(run_study(study, profile.value, out))
        progress.advance(bar)
    return outcomes
