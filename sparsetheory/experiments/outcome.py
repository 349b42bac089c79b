"""Collects the evidence on claims and studies as it comes in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsetheory.experiments.display.figures import draw_png
from sparsetheory.experiments.display.plots import plot_result
from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.schedule import Task
from sparsetheory.experiments.storage.files import replace_file
from sparsetheory.experiments.storage.records import ClaimRecord, Origin, figure_path
from sparsetheory.experiments.sweep import SweepRun
from sparsetheory.experiments.trial import MissingExtraError, TrialError
from sparsetheory.experiments.workers import check_instances, refer
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.result import ClaimResult
from sparsetheory.proofs_checks.verdicts import Always, Judgement, State

__all__ = ["Examination", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """A claim, its sweep where it has one, and the judgement over all evidence."""

    claim: Claim
    result: ClaimResult | None
    judgement: Judgement
    seconds: float


class Examination:
    """All evidence on a claim: instances, the sweep, and the figure of the sweep.

    Parameters
    ----------
    claim : Claim
        What to examine. ``Always`` claims and claims without a sweep are checked on instances.
    profile : Profile
        How many instances and trials.
    seed : int
        Seed of the trials; other than 0 it also draws other instances.
    out : Path
        Folder for data and figures.
    resume : bool
        Keep the finished trials of an earlier run.
    """

    def __init__(self, claim: Claim, profile: Profile, seed: int, out: Path, resume: bool) -> None:
        self.claim = claim
        self.sweep = SweepRun(claim, profile, seed, out, resume) if claim.sweep else None
        self._profile, self._seed, self._out = profile, seed, out
        self._instances: Judgement | None = None
        self._seconds = 0.0

    @property
    def name(self) -> str:
        """Name of the claim."""
        return self.claim.name

    @property
    def steps(self) -> int:
        """How many steps a progress bar counts."""
        return self._checks_instances + (self.sweep.total if self.sweep else 0)

    @property
    def _checks_instances(self) -> bool:
        return self.sweep is None or isinstance(self.claim.verdict, Always)

    def start(self) -> int:
        """Check the instances of a claim that no worker can find by name; return the steps done, kept trials too."""
        done = len(self.sweep.kept) if self.sweep else 0
        if not self._checks_instances or refer(self.claim):
            return done
        return done + self.add(check_instances(self.claim, self._profile.examples, self._seed or None))

    def long_tasks(self, owner: int) -> Iterator[Task]:
        """Yield the check on instances as one task, where there is one."""
        reference = refer(self.claim)
        if self._checks_instances and reference:
            yield Task(owner, check_instances, (reference, self._profile.examples, self._seed or None))

    def tasks(self, owner: int, batched: bool) -> Iterator[Task]:
        """Yield the missing trials of the sweep."""
        if self.sweep is not None:
            yield from self.sweep.tasks(owner, batched)

    def add(self, answer: Any) -> int:
        """Take the answer of a worker; return the steps done."""
        if isinstance(answer[0], Judgement):
            self._instances, seconds = answer
            self._seconds += seconds
            return 1
        rows, error = answer
        if self.sweep is not None:
            for row in rows:
                self.sweep.add(row)
            self.sweep.error = self.sweep.error or error
        return len(rows)

    @property
    def complete(self) -> bool:
        """Whether nothing more will come."""
        swept = self.sweep is None or self.sweep.complete or self.sweep.error is not None
        return swept and (self._instances is not None or not self._checks_instances)

    def finish(self) -> Outcome:
        """Judge the evidence, and write the trials and their figure."""
        judgements = [self._instances] if self._instances else []
        result = None
        if self.sweep is not None:
            try:
                result = self.sweep.finish()
                judgements.append(result.verdict)
                self._seconds += sum(row.seconds for row in result.rows)
            except MissingExtraError as error:
                judgements.append(Judgement(State.NOT_RUN, str(error)))
            except TrialError as error:
                judgements.append(Judgement(State.FAILS, str(error)))
        self._draw(result)
        return Outcome(self.claim, result, _conjunction(judgements), self._seconds)

    def record(self, outcome: Any, origin: Origin) -> ClaimRecord:
        """Return what a report says of the outcome."""
        return ClaimRecord.of(self.claim, outcome.result, outcome.judgement, outcome.seconds, origin)

    def _draw(self, result: ClaimResult | None) -> None:
        pixels = draw_png(lambda figure: plot_result(result, figure.subplots())) if result else None
        if pixels is not None:
            replace_file(figure_path(self._out, self.claim.name), pixels)


def _conjunction(judgements: list[Judgement]) -> Judgement:
    order = (State.FAILS, State.NOT_RUN, State.UNDECIDED, State.HOLDS)
    worst = min((j.state for j in judgements), key=order.index)
    ratios = [j.tightest for j in judgements if j.tightest is not None]
    # Both parts of a claim miss the same package.
    evidence = dict.fromkeys(j.evidence for j in judgements)
    return Judgement(worst, "; ".join(evidence), max(ratios, default=None))
