"""Runs the sweep of one claim."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.trial import Trial, plan_trials, require_sweep, run_trial
from sparsetheory.experiments.trial_log import make_header, read_rows, recording, write_rows
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.result import ClaimResult, Row

__all__ = ["run_claim"]


def run_claim(
    claim: Claim,
    *,
    profile: Profile | str = Profile.quick,
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
        How many trials per value.
    seed : int
        Seed of the run. The rows are the same for every `n_jobs`.
    n_jobs : int
        Workers, as joblib counts them. An active ``joblib.parallel_config`` decides on the backend.
    out : path, optional
        Folder for ``data/<claim name>.jsonl``, to which every trial is written as it finishes.
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
        If the code of the claim raises.
    """
    if resume and out is None:
        raise ValueError("resume needs out, the folder of the interrupted run")
    profile = Profile(profile)
    trials = plan_trials(claim, profile, seed)
    header = make_header(claim, profile, seed)
    path = None if out is None else Path(out) / "data" / f"{claim.name}.jsonl"
    kept = read_rows(path, header) if path and resume else []
    rows = {row.seed: row for row in _collect(claim, trials, kept, n_jobs, path, header, progress)}
    ordered = tuple(rows[trial.key] for trial in trials)
    if path is not None:
        write_rows(path, header, ordered)
    return ClaimResult(claim, ordered, header)


def _collect(
    claim: Claim,
    trials: Sequence[Trial],
    kept: Sequence[Row],
    n_jobs: int,
    path: Path | None,
    header: Mapping[str, Any],
    progress: Callable[[Row], None] | None,
) -> list[Row]:
    notify = progress or (lambda row: None)
    rows = list(kept)
    for row in kept:
        notify(row)
    done = {row.seed for row in kept}
    missing = [trial for trial in trials if trial.key not in done]
    with recording(path, header, kept) as record, _finished(claim, missing, n_jobs) as finished:
        for row in finished:
            record(row)
            rows.append(row)
            notify(row)
    return rows


@contextmanager
def _finished(claim: Claim, trials: Sequence[Trial], n_jobs: int) -> Iterator[Iterator[Row]]:
    draw = require_sweep(claim).draw
    backend, _ = get_active_backend()
    return_as = "generator_unordered" if backend.supports_return_generator else "list"
    tasks = (delayed(run_trial)(draw, claim.evaluate, trial) for trial in trials)
    rows = Parallel(n_jobs=n_jobs, return_as=return_as)(tasks)
    if return_as == "list":
        yield iter(rows)
        return
    # Closing the generator stops the workers when the loop is left early.
    with closing(rows):
        yield rows
