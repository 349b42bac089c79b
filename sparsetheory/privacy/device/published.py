"""Public descriptions as text, of which all parties make the same hash."""

import hashlib
import json
from dataclasses import asdict, fields
from functools import cached_property
from typing import Any, ClassVar, Self

__all__ = ["Published"]

_FORMAT = 1


class Published:
    """A frozen dataclass of numbers, texts and tuples that everyone may read."""

    _KIND: ClassVar[str] = "schema"

    def to_json(self) -> str:
        """Return the fields as text, the same for equal ones."""
        content = asdict(self)  # type: ignore[call-overload]
        return json.dumps({"format": _FORMAT, **content}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        text : str

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            If the text is of another version, or holds something else.
        """
        kind = cls._KIND
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"text must be a {kind} as JSON; {error}") from error
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise ValueError(f"text must be a {kind} of version {_FORMAT}; got {text[:60]!r}")
        wrong = set(content) ^ {field.name for field in fields(cls)}  # type: ignore[arg-type]
        if wrong:
            raise ValueError(f"text must hold the fields of a {kind}; unknown or missing: {', '.join(sorted(wrong))}")
        return cls._of(content)

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Self:
        return cls(**content)

    @cached_property
    def fingerprint(self) -> bytes:
        """Eight bytes that messages and states carry: a BLAKE2b hash of the text."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).digest()
