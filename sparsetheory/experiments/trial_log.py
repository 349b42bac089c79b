"""The JSON-lines file that keeps the trials of one claim.

The first line is a header, every further line one trial. NaN and infinities are written as Python's json module
writes and reads them: ``NaN``, ``Infinity``, ``-Infinity``.
"""

import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import sparsetheory
from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.trial import require_sweep
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.result import Row

__all__ = ["ResumeError", "make_header", "read_rows", "recording", "versions", "write_rows"]


class ResumeError(ValueError):
    """The file to continue belongs to another run."""


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {
        "sparsetheory": sparsetheory.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    }


def make_header(claim: Claim, profile: Profile, seed: int) -> dict[str, Any]:
    """Describe a run as plain JSON types; trials of two runs mix only when this agrees."""
    sweep = require_sweep(claim)
    return {
        "claim": claim.name,
        "profile": profile.value,
        "seed": seed,
        "versions": versions(),
        "axis": sweep.axis,
        "values": [float(value) for value in profile.values(sweep)],
        "trials": profile.trials(sweep),
    }


def read_rows(path: Path, header: Mapping[str, Any]) -> list[Row]:
    """Read the finished trials of an interrupted run.

    Parameters
    ----------
    path : Path
        The file; it may be missing, and its last line may be cut off.
    header : mapping
        What the run to continue says of itself.

    Returns
    -------
    list of Row

    Raises
    ------
    ResumeError
        If the file was written by a run with another header.
    """
    if not path.exists():
        return []
    # An interrupted write leaves a line without its end.
    complete = path.read_text(encoding="utf-8").split("\n")[:-1]
    if not complete:
        return []
    found, *rows = map(json.loads, complete)
    for key, wanted in header.items():
        if found.get(key) != wanted:
            raise ResumeError(
                f"cannot resume {path}: its {key} is {found.get(key)!r}, this run has {wanted!r}; "
                "run without resume to start over"
            )
    return [Row.from_dict(row) for row in rows]


def write_rows(path: Path, header: Mapping[str, Any], rows: Iterable[Row]) -> None:
    """Replace the file as a whole: whenever the process stops, the old or the new one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    lines = [dict(header), *(row.to_dict() for row in rows)]
    draft.write_text("".join(_line(line) for line in lines), encoding="utf-8")
    os.replace(draft, path)


@contextmanager
def recording(path: Path | None, header: Mapping[str, Any], kept: Iterable[Row]) -> Iterator[Callable[[Row], None]]:
    """Start the file with the rows kept so far and yield the function that appends one row at once.

    Parameters
    ----------
    path : Path or None
        The file; None records nothing.
    header : mapping
        Its first line.
    kept : iterable of Row
        Rows of an earlier run.

    Yields
    ------
    callable
        Takes one row.
    """
    if path is None:
        yield lambda row: None
        return
    write_rows(path, header, kept)
    with path.open("a", encoding="utf-8") as file:

        def append(row: Row) -> None:
            file.write(_line(row.to_dict()))
            file.flush()

        yield append


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, default=float) + "\n"
