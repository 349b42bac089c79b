"""The JSON-lines file that keeps the trials of one claim.

The first line is a header, every further line one trial. NaN and infinities are written as Python's json module
writes and reads them: ``NaN``, ``Infinity``, ``-Infinity``. A line that is damaged costs its trial and nothing else.
"""

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.storage.code_state import code_hash, function_hash, versions
from sparsetheory.experiments.storage.files import FolderError, append_text, replace_file
from sparsetheory.experiments.trial import require_sweep
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.result import Row

__all__ = ["DamagedLog", "ResumeError", "TrialLog", "make_header"]


class ResumeError(ValueError):
    """The file to continue belongs to another run, or cannot be read."""


class DamagedLog(UserWarning):
    """Lines of a file cannot be read; their trials are computed again."""


def make_header(claim: Claim, profile: Profile, seed: int) -> dict[str, Any]:
    """Describe a run as plain JSON types; trials of two runs mix only when this agrees."""
    sweep = require_sweep(claim)
    return {
        "claim": claim.name,
        "profile": profile.value,
        "seed": seed,
        "versions": versions(),
        "code": f"{code_hash()}-{function_hash(sweep.draw, claim.evaluate)}",
        "axis": sweep.axis,
        "values": [float(value) for value in profile.values(sweep)],
        "trials": profile.trials(sweep),
    }


@dataclass(frozen=True)
class TrialLog:
    """One claim's file.

    Parameters
    ----------
    path : Path
        Where it lies.
    header : mapping
        What the run says of itself.
    planned : mapping
        Value and index of every trial by its seed; other rows are not of this run.
    """

    path: Path
    header: Mapping[str, Any]
    planned: Mapping[tuple[int, ...], tuple[float, int]]

    def belongs_to_another_run(self) -> bool:
        """Say whether the file holds something that this run would not write."""
        try:
            return self._difference() is not None
        except ResumeError:
            return True

    def require_same_run(self) -> None:
        """Raise ResumeError unless the file is missing, empty or was begun by this run."""
        difference = self._difference()
        if difference:
            raise ResumeError(f"cannot resume {self.path}: {difference}; run without resume to start over")

    def read(self) -> list[Row]:
        """Return the finished trials; damaged lines are left out with a warning.

        Raises
        ------
        ResumeError
            If the file was written by a run with another header, or its header cannot be read.
        """
        self.require_same_run()
        rows, damaged = {}, []
        # An interrupted write leaves a line without its end; that is no damage.
        for number, line in enumerate(self._lines()[1:], start=2):
            row = self._parse(line)
            if row is None:
                damaged.append(number)
            else:
                rows[row.seed] = row
        if damaged:
            which = ", ".join(map(str, damaged[:5])) + (", ..." if damaged[5:] else "")
            message = f"{self.path}, line {which}: damaged; what is missing is computed again"
            warnings.warn(message, DamagedLog, stacklevel=2)
        return list(rows.values())

    def write(self, rows: Iterable[Row]) -> None:
        """Replace the file as a whole."""
        lines = [dict(self.header), *(row.to_dict() for row in rows)]
        replace_file(self.path, "".join(_line(line) for line in lines))

    def append(self, row: Row) -> None:
        """Add one row at once."""
        append_text(self.path, _line(row.to_dict()))

    def _lines(self) -> list[bytes]:
        try:
            return self.path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise FolderError(f"cannot read {self.path}: {error.strerror}") from error

    def _difference(self) -> str | None:
        lines = self._lines()
        if not lines:
            return None
        found = _load(lines[0])
        if found is None:
            raise ResumeError(
                f"cannot resume {self.path}: line 1, the header, is damaged; run without resume to start over"
            )
        for key, wanted in self.header.items():
            if found.get(key) != wanted:
                return f"its {key} is {found.get(key)!r}, this run has {wanted!r}"
        return None

    def _parse(self, line: bytes) -> Row | None:
        content = _load(line)
        try:
            row = Row.from_dict(content) if content is not None else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return row if row is not None and self.planned.get(row.seed) == (row.value, row.trial) else None


def _load(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line.decode("utf-8"))
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, default=float) + "\n"
