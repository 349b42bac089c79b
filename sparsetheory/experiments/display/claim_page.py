"""All that is known of one claim, on one page of a terminal."""

import inspect
from collections.abc import Callable
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from sparsetheory.experiments.display.mathematics import plain_formula
from sparsetheory.experiments.storage.records import ClaimRecord
from sparsetheory.proofs_checks.claim import Claim, Reversed

__all__ = ["claim_page"]


def claim_page(claim: Claim, record: ClaimRecord | None) -> Group:
    """Return what a claim says, why it is so, what must not be so, and what the last run found.

    Parameters
    ----------
    claim : Claim
        The claim.
    record : ClaimRecord or None
        What the last run in a folder found, if there is one.
    """
    parts = [Text(claim.name, style="bold"), Text(claim.summary)]
    parts += _section("Statement", plain_formula(claim.statement))
    parts += _section("Source", str(claim.source))
    parts += _section("Verdict", str(claim.verdict))
    parts += _section("What is measured, and why it holds", _docstring(claim.evaluate))
    parts += _section("Near miss, which must fail", _near_miss(claim))
    if claim.sweep is not None:
        values = ", ".join(f"{value:g}" for value in claim.sweep.values)
        trials = f"{claim.sweep.quick_trials} trials a value in the quick profile, {claim.sweep.trials} in the full one"
        parts += _section("Sweep", f"{claim.sweep.axis}: {values}; {trials}")
    parts += _section("Last result", _result(record))
    return Group(*parts)


def _section(title: str, text: str) -> list[Any]:
    return [Text(), Text(title, style="underline"), Padding(Text(text), (0, 0, 0, 2), expand=False)] if text else []


def _docstring(function: Callable[..., Any]) -> str:
    # A lambda has no docstring of its own; that of a partial is that of the class.
    named = getattr(function, "func", function)
    return inspect.getdoc(named) or "" if inspect.isfunction(named) else ""


def _near_miss(claim: Claim) -> str:
    if isinstance(claim.near_miss, Reversed):
        return "The inequality the other way round."
    if callable(claim.near_miss):
        # The name says what is wrong where there is no docstring.
        name = getattr(claim.near_miss, "__name__", "").strip("_").replace("_", " ")
        return _docstring(claim.near_miss) or ("" if "lambda" in name else f"{name[:1].upper()}{name[1:]}.")
    return f"The bound times {claim.near_miss:g}."


def _result(record: ClaimRecord | None) -> str:
    if record is None:
        return "None in this folder; `sparsetheory reproduce` with the name of the claim writes one."
    tightest = "" if record.tightest is None else f"\nTightest measured / bound: {record.tightest:.3g}"
    return f"{record.state.value}: {record.evidence}{tightest}\n{record.origin}"
