"""Tables for the terminal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from sparsetheory.experiments.study import Study
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.verdicts import Judgement, State

if TYPE_CHECKING:
    from sparsetheory.experiments.study_run import StudyOutcome

__all__ = ["claim_table", "describe", "format_cell", "study_table", "summary_line", "verdict_table"]


def format_cell(cell: Any) -> str:
    """Shorten floating-point numbers to four digits and leave everything else alone."""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


_STYLES = {
    State.HOLDS: ("holds", "green"),
    State.UNDECIDED: ("UNDECIDED", "bold yellow"),
    State.FAILS: ("FAILS", "bold red"),
    State.NOT_RUN: ("not run", "bold yellow"),
}


def verdict_table(verdicts: Iterable[tuple[Claim, Judgement, float]]) -> Table:
    """Return one line per claim: name, verdict, provenance, evidence, tightest ratio, seconds."""
    table = Table("claim", "verdict", "provenance", "evidence", title="Verdicts")
    table.add_column("tightest", justify="right")
    table.add_column("seconds", justify="right")
    for claim, judgement, seconds in verdicts:
        # Text, unlike str, shows square brackets instead of reading them as markup.
        name, evidence = Text(claim.name, overflow="fold"), Text(judgement.evidence)
        provenance = Text(claim.source.provenance)
        tightest = "" if judgement.tightest is None else f"{judgement.tightest:.3g}"
        table.add_row(name, Text(*_STYLES[judgement.state]), provenance, evidence, tightest, f"{seconds:.1f}")
    return table


def summary_line(named: Callable[[State], Sequence[str]]) -> Text:
    """Return how many claims hold, and by name those that do not.

    Parameters
    ----------
    named : callable
        Returns the names of the claims in a state.
    """
    line = Text(f"{len(named(State.HOLDS))} hold")
    for state in (State.FAILS, State.UNDECIDED, State.NOT_RUN):
        names = named(state)
        if names:
            word, style = _STYLES[state]
            line.append(f"; {len(names)} {word}: {', '.join(names)}", style)
    return line


def claim_table(entries: Iterable[Mapping[str, str]]) -> Table:
    """Return one line per entry of :func:`describe`, at any width; what does not fit is cut at the right end."""
    entries = list(entries)
    table = Table(box=None, pad_edge=False, expand=True)
    for column in ("name", "verdict", "provenance"):
        table.add_column(column, no_wrap=True, min_width=max((len(entry[column]) for entry in entries), default=0))
    table.add_column("source", no_wrap=True, overflow="ellipsis", ratio=1)
    for entry in entries:
        table.add_row(*(Text(entry[column]) for column in ("name", "verdict", "provenance", "source")))
    return table


def describe(experiment: Claim | Study) -> dict[str, str]:
    """Return what a list says of a claim or study: name, verdict, provenance, source, statement, summary."""
    if isinstance(experiment, Study):
        told = {"verdict": "Study", "provenance": "", "source": experiment.title, "statement": ""}
        return {"name": experiment.name, **told, "summary": experiment.description}
    return {
        "name": experiment.name,
        "verdict": type(experiment.verdict).__name__,
        "provenance": experiment.source.provenance,
        "source": experiment.source.citation,
        "statement": experiment.statement,
        "summary": experiment.summary,
    }


def study_table(outcome: "StudyOutcome") -> Table:
    """Return the table of a study, with its title and notes."""
    study, result = outcome.study, outcome.result
    if result is None:
        return Table("", title=Text(f"{study.title}: not run"), caption=Text(outcome.missing))
    table = Table(title=Text(study.title), caption=Text(result.notes))
    for column in result.columns:
        table.add_column(Text(column))
    for row in result.rows:
        table.add_row(*(Text(format_cell(cell)) for cell in row))
    return table
