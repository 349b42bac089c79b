"""What is kept of every claim and study, so that a report also shows what earlier runs found."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.storage.code_state import code_hash, versions
from sparsetheory.experiments.storage.files import replace_file
from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.result import ClaimResult
from sparsetheory.proofs_checks.verdicts import Judgement, State

__all__ = ["ClaimRecord", "Origin", "StudyRecord", "figure_path", "read_records", "record_path", "write_record"]


@dataclass(frozen=True)
class Origin:
    """The run that a record comes from."""

    profile: str
    seed: int
    code: str
    versions: dict[str, str]
    written: str

    @classmethod
    def of_run(cls, profile: Profile, seed: int) -> "Origin":
        """Describe the run of now."""
        return cls(
            profile.value, seed, code_hash(), versions(), datetime.now().astimezone().isoformat(timespec="minutes")
        )

    def same_run(self, other: "Origin") -> bool:
        """Say whether both would find the same."""
        return (self.profile, self.seed, self.code, self.versions) == (
            other.profile,
            other.seed,
            other.code,
            other.versions,
        )

    def __str__(self) -> str:
        """Return the description of the run in one line."""
        return f"{self.profile} profile, seed {self.seed}, code {self.code}, {self.written}"


@dataclass(frozen=True)
class ClaimRecord:
    """What a report says of a claim."""

    name: str
    summary: str
    statement: str
    citation: str
    provenance: str
    verdict: str
    state: State
    evidence: str
    tightest: float | None
    seconds: float
    trials: int
    values: int
    axis: str
    seeds: str
    origin: Origin
    kind: Literal["claim"] = "claim"

    @classmethod
    def of(
        cls, claim: Claim, result: ClaimResult | None, judgement: Judgement, seconds: float, origin: Origin
    ) -> "ClaimRecord":
        """Write down a judgement with what it rests on."""
        rows = result.rows if result else ()
        examples = "the examples that are always drawn" if not origin.seed else f"examples of seed {origin.seed}"
        return cls(
            name=claim.name,
            summary=claim.summary,
            statement=claim.statement,
            citation=claim.source.citation,
            provenance=claim.source.provenance,
            verdict=str(claim.verdict),
            state=judgement.state,
            evidence=judgement.evidence,
            tightest=judgement.tightest,
            seconds=round(seconds, 3),
            trials=len(rows),
            values=len({row.value for row in rows}),
            axis=claim.sweep.axis if claim.sweep else "",
            seeds=f"SeedSequence({list(rows[0].seed[:-2])}), spawned per value and per trial" if rows else examples,
            origin=origin,
        )


@dataclass(frozen=True)
class StudyRecord:
    """What a report says of a study; `missing` tells why it was not run."""

    name: str
    title: str
    description: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: str
    seconds: float
    missing: str
    origin: Origin
    kind: Literal["study"] = "study"

    @classmethod
    def of(
        cls, study: Study, result: StudyResult | None, seconds: float, origin: Origin, missing: str = ""
    ) -> "StudyRecord":
        """Write down the table of a study, or why there is none."""
        found = result or StudyResult((), ())
        rows = [[_plain(cell) for cell in row] for row in found.rows]
        return cls(
            study.name,
            study.title,
            study.description,
            list(found.columns),
            rows,
            found.notes,
            round(seconds, 3),
            missing,
            origin,
        )


def _plain(cell: Any) -> Any:
    """Return a cell as json keeps it: numbers of NumPy become Python's, everything unknown its text."""
    value = cell.item() if hasattr(cell, "item") else cell
    return value if isinstance(value, int | float | str) else str(value)


def record_path(out: Path, name: str) -> Path:
    """Return where the record of a claim or study lies."""
    return out / "records" / f"{name}.json"


def figure_path(out: Path, name: str) -> Path:
    """Return where the figure of a claim or study lies, if it has one."""
    return out / "figures" / f"{name}.png"


def write_record(out: Path, record: ClaimRecord | StudyRecord) -> None:
    """Replace the record of one claim or study."""
    replace_file(record_path(out, record.name), json.dumps(asdict(record), indent=1) + "\n")


def read_records(out: Path) -> dict[str, ClaimRecord | StudyRecord]:
    """Read all records of a folder by name; those that cannot be read are left out."""
    found = (_read(path) for path in sorted((out / "records").glob("*.json")))
    return {record.name: record for record in found if record is not None}


def _read(path: Path) -> ClaimRecord | StudyRecord | None:
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
        content["origin"] = Origin(**content["origin"])
        if content["kind"] == "study":
            return StudyRecord(**content)
        content["state"] = State(content["state"])
        return ClaimRecord(**content) if set(content) == {f.name for f in fields(ClaimRecord)} else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
