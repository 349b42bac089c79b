"""Checks many claims on instances at once."""

from collections.abc import Sequence

from joblib import effective_n_jobs

from sparsetheory.experiments.display.terminal import make_console, make_progress
from sparsetheory.experiments.schedule import Task, finished_tasks
from sparsetheory.experiments.workers import check_instances, refer
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.verdicts import Judgement

__all__ = ["check_claims"]


def check_claims(
    claims: Sequence[Claim], max_examples: int, seed: int | None = None, n_jobs: int = 1
) -> list[tuple[Claim, Judgement, float]]:
    """Search for counterexamples of ``Always`` claims.

    Parameters
    ----------
    claims : sequence of Claim
        What to check.
    max_examples : int
        Instances per claim.
    seed : int, optional
        Draws other instances than always.
    n_jobs : int
        Workers, as joblib counts them. The instances are the same for every number.

    Returns
    -------
    list of (Claim, Judgement, seconds)
        In the order of the claims.
    """
    references = [refer(claim) for claim in claims]
    tasks = [Task(k, check_instances, (ref, max_examples, seed)) for k, ref in enumerate(references) if ref]
    found: dict[int, tuple[Judgement, float]] = {}
    with make_progress(make_console(stderr=True)) as progress:
        bar = progress.add_task("claims", total=len(claims))
        # Claims made at run time cannot be found by a worker.
        for k, claim in enumerate(claims):
            if references[k] is None:
                found[k] = check_instances(claim, max_examples, seed)
                progress.advance(bar)
        # Starting workers takes longer than checking one claim.
        workers = min(effective_n_jobs(n_jobs), max(1, len(tasks)))
        with finished_tasks(tasks, workers) as answers:
            for k, answer in answers:
                found[k] = answer
                progress.advance(bar)
    return [(claim, *found[k]) for k, claim in enumerate(claims)]
