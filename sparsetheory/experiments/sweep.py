"""Runs the sweep of one claim."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from joblib import effective_n_jobs

from sparsetheory.constraints import COUNT
from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.schedule import Task, finished_tasks
from sparsetheory.experiments.storage.files import prepare_folder, set_aside, used_alone
from sparsetheory.experiments.storage.trial_log import TrialLog, make_header
from sparsetheory.experiments.trial import Trial, TrialError, plan_trials, require_sweep
from sparsetheory.experiments.workers import refer, run_batch
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.result import ClaimResult, Row

__all__ = ["SweepRun", "run_claim"]

# Long enough that sending a batch to a worker costs nothing, short enough that no worker waits long for the last one.
_BATCH_SECONDS = 0.3


class SweepRun:
    """The trials of one claim: those that are missing, those that are finished, and the file that keeps them.

    Parameters
    ----------
    claim : Claim
        A claim with a sweep.
    profile : Profile
        How many trials per value.
    seed : int
        Seed of the run.
    out : Path, optional
        Folder for ``data/<claim name>.jsonl``; None keeps nothing.
    resume : bool
        Keep the finished trials of that file.
    """

    def __init__(
        self, claim: Claim, profile: Profile, seed: int, out: Path | None = None, resume: bool = False
    ) -> None:
        self.claim = claim
        self.header = make_header(claim, profile, seed)
        self._trials = plan_trials(claim, profile, seed)
        planned = {trial.key: (trial.value, trial.index) for trial in self._trials}
        self.log = None if out is None else TrialLog(out / "data" / f"{claim.name}.jsonl", self.header, planned)
        # Rows of the very same run come again; until they do, the file keeps the earlier ones.
        known = self.log.read() if self.log and (resume or not self.replaces_another_run()) else []
        self._safe = known
        self.kept = known if resume else []
        self._rows = {row.seed: row for row in self.kept}
        self._begun = False
        self._seconds: dict[float, list[float]] = {}
        self.error: TrialError | None = None

    def replaces_another_run(self) -> bool:
        """Say whether the file of the claim belongs to another run."""
        return self.log is not None and self.log.belongs_to_another_run()

    @property
    def total(self) -> int:
        """How many trials were planned."""
        return len(self._trials)

    @property
    def complete(self) -> bool:
        """Whether every trial is finished."""
        return len(self._rows) == len(self._trials)

    def tasks(self, owner: int, batched: bool) -> Iterator[Task]:
        """Yield the missing trials: with `batched` as batches that take a fraction of a second."""
        functions = refer(self.claim) or (require_sweep(self.claim).draw, self.claim.evaluate)
        missing = [trial for trial in self._trials if trial.key not in self._rows]
        # One trial of each value tells how long the others take.
        probes = {trial.value: trial for trial in reversed(missing)} if batched else {}
        for trial in probes.values():
            yield Task(owner, run_batch, (functions, [trial]))
        rest = [trial for trial in missing if probes.get(trial.value) is not trial]
        while rest and self.error is None:
            size = self._batch_size(rest) if batched else 1
            batch, rest = rest[:size], rest[size:]
            yield Task(owner, run_batch, (functions, batch))

    def _batch_size(self, trials: list[Trial]) -> int:
        value = trials[0].value
        alike = sum(trial.value == value for trial in trials)
        # The first trial of a worker imports and compiles, so the shortest tells most.
        seconds = min(self._seconds.get(value, [_BATCH_SECONDS]))
        return max(1, min(alike, int(_BATCH_SECONDS / max(seconds, 1e-6))))

    def add(self, row: Row) -> None:
        """Keep a finished trial, on disk at once."""
        if self.log is not None:
            if not self._begun:
                self.log.write(self._safe)
            self.log.append(row)
        self._begun = True
        self._rows[row.seed] = row
        self._seconds.setdefault(row.value, []).append(row.seconds)

    def finish(self) -> ClaimResult:
        """Write the file in the order of the axis and return the result.

        Raises
        ------
        TrialError
            If a trial raised.
        """
        if self.error is not None:
            raise self.error
        ordered = tuple(self._rows[trial.key] for trial in self._trials)
        if self.log is not None:
            self.log.write(ordered)
        return ClaimResult(self.claim, ordered, self.header)


def run_claim(
    claim: Claim,
    *,
    profile: Profile | str = Profile.quick,
    trials: int | None = None,
    seed: int = 0,
    n_jobs: int = 1,
    out: Path | str | None = None,
    resume: bool = False,
    progress: Callable[[Row], None] | None = None,
) -> ClaimResult:
    """Run all trials of a claim.

    Parameters
    ----------
    claim : Claim
        A claim with a sweep.
    profile : {"quick", "full"}
        How many trials per value, and which values.
    trials : int, optional
        How many trials per value, instead of those of the profile.
    seed : int
        Seed of the run. The rows are the same for every `n_jobs`.
    n_jobs : int
        Workers, as joblib counts them. An active ``joblib.parallel_config`` decides on the backend.
    out : path, optional
        Folder for ``data/<claim name>.jsonl``, to which every trial is written as it finishes. A file of another run
        is moved to the folder ``earlier``.
    resume : bool
        Keep the finished trials of that file.
    progress : callable, optional
        Called with every row, those that were kept first.

    Returns
    -------
    ClaimResult

    Raises
    ------
    ValueError
        If the claim has no sweep; `ResumeError`, its subclass, if the file to resume belongs to another run.
    TrialError
        If the code of the claim raises; `MissingExtraError`, its subclass, if an optional package is missing.
    FolderError
        If the folder cannot be written or another run uses it.
    """
    if resume and out is None:
        raise ValueError("resume needs out, the folder of the interrupted run")
    swept = require_sweep(claim)
    if trials is not None:
        COUNT.require(trials=trials)
        claim = replace(claim, sweep=replace(swept, trials=trials, quick_trials=trials))
    notify = progress or (lambda row: None)
    with ExitStack() as stack:
        folder = None if out is None else Path(out)
        if folder is not None:
            prepare_folder(folder)
            stack.enter_context(used_alone(folder))
        run = SweepRun(claim, Profile(profile), seed, folder, resume)
        if run.log is not None and run.replaces_another_run():
            set_aside([run.log.path], run.log.path.parent.parent, datetime.now())
        for row in run.kept:
            notify(row)
        tasks = run.tasks(0, batched=effective_n_jobs(n_jobs) > 1)
        for _, (rows, error) in stack.enter_context(finished_tasks(tasks, n_jobs)):
            for row in rows:
                run.add(row)
                notify(row)
            if error is not None:
                raise error
        return run.finish()
