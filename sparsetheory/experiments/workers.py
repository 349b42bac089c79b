"""What a worker process does: trials, checks on instances, studies. It finds claims by name and outlives no run."""

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

from sparsetheory.experiments.extras import explain_missing, is_missing_extra
from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.experiments.trial import Trial, TrialError, one_blas_thread, run_trial
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.result import Row
from sparsetheory.proofs_checks.verdicts import Judgement, State

__all__ = [
    "Reference",
    "UnreachableError",
    "check_instances",
    "leave_with_parent",
    "refer",
    "run_batch",
    "run_study_here",
]


class UnreachableError(Exception):
    """A worker cannot import what it was asked to run."""


@dataclass(frozen=True)
class Reference:
    """A claim or study by module and attribute, because strategies and plots need not pickle."""

    module: str
    attribute: str

    def resolve(self) -> Any:
        """Import the module and return the object."""
        try:
            return getattr(importlib.import_module(self.module), self.attribute)
        except (ImportError, AttributeError) as error:
            raise UnreachableError(f"{self.module}.{self.attribute}") from error


def refer(experiment: Claim | Study) -> Reference | None:
    """Return where a claim or study is defined at module level, or None where it is made at run time."""
    for name, module in list(sys.modules.items()):
        if name.startswith("sparsetheory.proofs_checks."):
            for attribute, value in list(vars(module).items()):
                if value is experiment:
                    return Reference(name, attribute)
    return None


def run_batch(
    functions: Reference | tuple[Callable[..., Any], Callable[..., Any]], trials: Sequence[Trial]
) -> tuple[list[Row], TrialError | None]:
    """Run some trials of one claim, up to the first error.

    Parameters
    ----------
    functions : Reference or (draw, evaluate)
        The claim by name, or its functions.
    trials : sequence of Trial
        What to run.

    Returns
    -------
    rows : list of Row
        Of the trials before the error.
    error : TrialError or None
    """
    if isinstance(functions, Reference):
        claim = functions.resolve()
        functions = claim.sweep.draw, claim.evaluate
    rows: list[Row] = []
    for trial in trials:
        try:
            rows.append(run_trial(*functions, trial))
        except TrialError as error:
            return rows, error
    return rows, None


def check_instances(where: Reference | Claim, max_examples: int, seed: int | None = None) -> tuple[Judgement, float]:
    """Search for a counterexample; an error in the claim's own code counts as one.

    Parameters
    ----------
    where : Reference or Claim
        An ``Always`` claim.
    max_examples : int
        How many instances to draw.
    seed : int, optional
        Draws other instances than always.

    Returns
    -------
    judgement : Judgement
    seconds : float
    """
    claim = where.resolve() if isinstance(where, Reference) else where
    started = time.perf_counter()
    try:
        with one_blas_thread():
            judgement = claim.check(max_examples, seed)
    except Exception as error:
        judgement = _judge_error(error)
    return judgement, time.perf_counter() - started


def _judge_error(error: Exception) -> Judgement:
    if is_missing_extra(error):
        return Judgement(State.NOT_RUN, explain_missing(error))
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    # Counterexamples may be matrices; `check` in a Python session shows them whole.
    return Judgement(State.FAILS, shorten(f"{kind}{error}", 300, placeholder=" ..."))


def run_study_here(where: Reference | Study, profile: str) -> tuple[StudyResult, bytes | None, float]:
    """Run a study and draw its figure where it was run, because plots need not pickle.

    Parameters
    ----------
    where : Reference or Study
        What to run.
    profile : {"quick", "full"}
        Passed on to the study.

    Returns
    -------
    result : StudyResult
        Without its plot.
    figure : bytes or None
        PNG; None without a plot or without matplotlib.
    seconds : float
    """
    from sparsetheory.experiments.display.figures import draw_png

    study = where.resolve() if isinstance(where, Reference) else where
    started = time.perf_counter()
    result = study.run(profile)
    seconds = time.perf_counter() - started
    return replace(result, plot=None), draw_png(result.plot) if result.plot else None, seconds


def leave_with_parent(parent: int) -> None:
    """End this process soon after the run that started it, however that one ended.

    Parameters
    ----------
    parent : int
        Process of the run; nothing happens unless this process is its child.
    """
    global _watched
    if _watched or os.getppid() != parent or os.getpid() == parent:
        return
    _watched = True
    threading.Thread(target=_wait_for_orphanhood, args=(parent,), daemon=True).start()


_watched = False


def _wait_for_orphanhood(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
