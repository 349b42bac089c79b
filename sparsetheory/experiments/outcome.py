"""What a run says about one claim."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from sparsetheory.experiments.figures import save_figure
from sparsetheory.experiments.plots import plot_result
from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.sweep import run_claim
from sparsetheory.experiments.trial import TrialError
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.result import ClaimResult, Row
from sparsetheory.proofs_checks.verdicts import Always, Judgement, State

__all__ = ["Outcome", "check_instances", "examine_claim"]


@dataclass(frozen=True)
class Outcome:
    """A claim, its sweep where it has one, and the judgement over all evidence."""

    claim: Claim
    result: ClaimResult | None
    judgement: Judgement
    seconds: float
    figure: Path | None = None


def check_instances(claim: Claim, max_examples: int) -> Judgement:
    """Search for a counterexample; an error in the claim's own code counts as one.

    Parameters
    ----------
    claim : Claim
        An ``Always`` claim.
    max_examples : int
        How many instances to draw.

    Returns
    -------
    Judgement
    """
    try:
        claim.check(max_examples)
    except Exception as error:
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        # Counterexamples may be matrices; `check` in a Python session shows them whole.
        return Judgement(State.FAILS, shorten(f"{kind}{error}", 300, placeholder=" …"))
    return Judgement(State.HOLDS, f"no counterexample in up to {max_examples} adversarial instances")


def examine_claim(
    claim: Claim,
    out: Path,
    *,
    profile: Profile = Profile.quick,
    seed: int = 0,
    n_jobs: int = 1,
    resume: bool = False,
    progress: Callable[[Row], None] | None = None,
) -> Outcome:
    """Collect all evidence on a claim: instances, the sweep, and the figure of the sweep.

    Parameters
    ----------
    claim : Claim
        What to examine. ``Always`` claims and claims without a sweep are checked on instances.
    out : Path
        Folder for data and figures.
    profile, seed, n_jobs, resume, progress
        As in :func:`~sparsetheory.experiments.sweep.run_claim`.

    Returns
    -------
    Outcome
    """
    started = time.perf_counter()
    judgements: list[Judgement] = []
    result = None
    if claim.sweep is None or isinstance(claim.verdict, Always):
        judgements.append(check_instances(claim, profile.examples))
    if claim.sweep is not None:
        try:
            result = run_claim(
                claim, profile=profile, seed=seed, n_jobs=n_jobs, out=out, resume=resume, progress=progress
            )
            judgements.append(result.verdict)
        except TrialError as error:
            judgements.append(Judgement(State.FAILS, str(error)))
    seconds = time.perf_counter() - started
    figure = _draw(result, out) if result else None
    return Outcome(claim, result, _conjunction(judgements), seconds, figure)


def _conjunction(judgements: list[Judgement]) -> Judgement:
    states = [j.state for j in judgements]
    worst = next(state for state in (State.FAILS, State.UNDECIDED, State.HOLDS) if state in states)
    ratios = [j.tightest for j in judgements if j.tightest is not None]
    return Judgement(worst, "; ".join(j.evidence for j in judgements), max(ratios, default=None))


def _draw(result: ClaimResult, out: Path) -> Path | None:
    path = out / "figures" / f"{result.claim.name}.png"
    return save_figure(lambda figure: plot_result(result, figure.subplots()), path)
