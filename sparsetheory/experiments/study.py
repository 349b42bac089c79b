"""Measurements on real data that illustrate the claims: tables and figures without a verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Study", "StudyResult"]


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Parameters
    ----------
    columns : sequence of str
        Heads of the table.
    rows : sequence of sequences
        Its cells.
    notes : str
        How to read it, in a sentence or two.
    plot : callable, optional
        Draws on the matplotlib figure it is given.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: str = ""
    plot: Callable[[Any], None] | None = None

    @classmethod
    def left_out(cls, columns: Sequence[str]) -> "StudyResult":
        """Return the result of a study that takes minutes or large data and has nothing for the quick profile."""
        return cls(columns, (), "Left out of the quick profile.")


@dataclass(frozen=True)
class Study:
    """A computation on real data, found by the registry like a claim.

    Parameters
    ----------
    name : str
        ``family.study``, unique among claims and studies.
    title, description : str
        For the report.
    run : callable
        Takes the profile, ``"quick"`` or ``"full"``, and returns a `StudyResult`.
    """

    name: str
    title: str
    description: str
    run: Callable[[str], StudyResult]
