"""The table of all public estimators in docs/estimators.md; `make docs` writes it anew."""

import inspect
from pathlib import Path

from house.public_names import estimators, parameters

TARGET = Path(__file__).resolve().parents[2] / "docs" / "estimators.md"
_HEAD = """# Estimators

Every public estimator with its parameters, what each may be, and its default. The table is made from the code by
`make docs`; a test compares it. [The vocabulary](vocabulary.md) says what the names mean.
"""


def table() -> str:
    """Return the page."""
    parts = [_HEAD]
    for room, kind in estimators():
        summary = (inspect.getdoc(kind) or "").split("\n")[0]
        parts.append(f"\n## {kind.__name__}\n\n`sparsetheory.{room}`: {summary}\n\n")
        parts.append("| parameter | may be | default |\n|---|---|---|\n")
        for parameter in parameters(kind):
            needed = parameter.default is inspect.Parameter.empty
            default = "needed" if needed else f"`{parameter.default!r}`"
            allowed = str(kind._constraints[parameter.name]).replace("|", "\\|")
            parts.append(f"| `{parameter.name}` | {allowed} | {default} |\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(table(), encoding="utf-8")
