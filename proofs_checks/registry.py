"""Finds every claim below this package."""

import importlib
import pkgutil
from collections.abc import Sequence
from fnmatch import fnmatch

import sparsetheory.proofs_checks as root
from sparsetheory.proofs_checks.claim import Claim

__all__ = ["all_claims", "find_claims"]


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
    claims: dict[str, Claim] = {}
    for info in sorted(pkgutil.walk_packages(root.__path__, root.__name__ + "."), key=lambda i: i.name):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, Claim) and claims.setdefault(value.name, value) is not value:
                raise ValueError(f"two claims are named {value.name!r}")
    return claims


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
    claims = all_claims()
    if not patterns:
        return list(claims.values())
    selected: dict[str, Claim] = {}
    for pattern in patterns:
        matches = {name: claim for name, claim in claims.items() if fnmatch(name, pattern)}
        if not matches:
            raise ValueError(f"no claim matches {pattern!r}; the names are {', '.join(claims)}")
        selected |= matches
    return list(selected.values())
