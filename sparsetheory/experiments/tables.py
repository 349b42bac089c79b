"""Tables for the terminal."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from sparsetheory.experiments.study import StudyOutcome
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.verdicts import Judgement

__all__ = ["claim_table", "format_cell", "study_table", "verdict_table"]


def format_cell(cell: Any) -> str:
    """Shorten floating-point numbers to four digits and leave everything else alone."""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def verdict_table(verdicts: Iterable[tuple[Claim, Judgement, float]]) -> Table:
    """Return one line per claim: name, verdict, provenance, evidence, seconds."""
    table = Table("claim", "verdict", "provenance", "evidence", title="Verdicts")
    table.add_column("seconds", justify="right")
    for claim, judgement, seconds in verdicts:
        verdict = Text("holds", "green") if judgement.holds else Text("FAILS", "bold red")
        # Text, unlike str, shows square brackets instead of reading them as markup.
        name, evidence = Text(claim.name, overflow="fold"), Text(judgement.evidence)
        table.add_row(name, verdict, Text(claim.source.provenance), evidence, f"{seconds:.1f}")
    return table


def claim_table(claims: Iterable[Claim]) -> Table:
    """Return one line per claim: name, kind of verdict, provenance, source, statement."""
    table = Table("claim", "verdict", "provenance", "source and statement", show_lines=True)
    for claim in claims:
        source = claim.source
        cited = ", ".join(filter(None, [source.paper, source.item, source.arxiv and f"arXiv:{source.arxiv}"]))
        cells = [claim.name, type(claim.verdict).__name__, source.provenance, f"{cited}\n{claim.statement}"]
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    return table


def study_table(outcome: StudyOutcome) -> Table:
    """Return the table of a study, with its title and notes."""
    study, result = outcome.study, outcome.result
    table = Table(title=Text(study.title), caption=Text(result.notes))
    for column in result.columns:
        table.add_column(Text(column))
    for row in result.rows:
        table.add_row(*(Text(format_cell(cell)) for cell in row))
    return table
