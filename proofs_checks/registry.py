"""Finds every claim and every study below this package."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from typing import TypeVar

import sparsetheory.proofs_checks as root
from sparsetheory.experiments.study import Study
from sparsetheory.proofs_checks.claim import Claim

__all__ = ["all_claims", "all_studies", "find_claims", "find_experiments"]

T = TypeVar("T")


def all_claims() -> dict[str, Claim]:
    """Import every module below ``sparsetheory.proofs_checks`` and collect its module-level claims.

    Returns
    -------
    dict of str to Claim
        In alphabetical order of the modules, then in order of definition.

    Raises
    ------
    ValueError
        If two claims share a name.
    """
    return {name: found for name, found in _collect().items() if isinstance(found, Claim)}


def all_studies() -> dict[str, Study]:
    """Collect the module-level studies, as :func:`all_claims` collects claims.

    Returns
    -------
    dict of str to Study

    Raises
    ------
    ValueError
        If a study shares its name with another study or a claim.
    """
    return {name: found for name, found in _collect().items() if isinstance(found, Study)}


def find_claims(patterns: Sequence[str] = ()) -> list[Claim]:
    """Select claims by name or shell pattern.

    Parameters
    ----------
    patterns : sequence of str
        Names such as ``concatenated_svd.weyl`` or patterns such as ``concatenated_svd.*``; empty selects all.

    Returns
    -------
    list of Claim

    Raises
    ------
    ValueError
        If a pattern matches no claim.
    """
    return _select(all_claims(), patterns, "claim")


def find_experiments(patterns: Sequence[str] = ()) -> tuple[list[Claim], list[Study]]:
    """Select claims and studies by name or shell pattern.

    Parameters
    ----------
    patterns : sequence of str
        As in :func:`find_claims`.

    Returns
    -------
    claims : list of Claim
    studies : list of Study

    Raises
    ------
    ValueError
        If a pattern matches neither a claim nor a study.
    """
    selected = _select(_collect(), patterns, "claim or study")
    claims = [found for found in selected if isinstance(found, Claim)]
    return claims, [found for found in selected if isinstance(found, Study)]


def _collect() -> dict[str, Claim | Study]:
    collected: dict[str, Claim | Study] = {}
    for info in sorted(pkgutil.walk_packages(root.__path__, root.__name__ + "."), key=lambda i: i.name):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, Claim | Study) and collected.setdefault(value.name, value) is not value:
                raise ValueError(f"two claims or studies are named {value.name!r}")
    return collected


def _select(named: Mapping[str, T], patterns: Sequence[str], kind: str) -> list[T]:
    selected: dict[str, T] = {}
    for pattern in patterns or ["*"]:
        matches = {name: found for name, found in named.items() if fnmatch(name, pattern)}
        if not matches and patterns:
            raise ValueError(f"no {kind} matches {pattern!r}{_suggest(pattern, named)}")
        selected |= matches
    return list(selected.values())


def _suggest(pattern: str, names: Iterable[str]) -> str:
    """Name the closest names, also of those who left the family out, and where to find the others."""
    whole = {name: name for name in names}
    last = {name.split(".")[-1]: name for name in whole}
    close = [known[found] for known in (whole, last) for found in difflib.get_close_matches(pattern, known, n=3)]
    meant = f"; did you mean {', '.join(dict.fromkeys(close))}?" if close else ";"
    return f"{meant} `sparsetheory list` shows all names"
