"""Where tables and progress go: terminals of any width, pipes, and encodings without the signs of mathematics."""

import codecs
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["make_console", "make_progress", "speak_plainly"]

# Tables written to a file or a pipe need not fit a terminal.
_PIPE_WIDTH = 160
_PLAIN = {"±": "+-", "≤": "<=", "≥": ">=", "×": "x", "…": "...", "–": "-", "—": "-", "·": "*", "∞": "inf"}
_HANDLER = "sparsetheory.plain"


def _replace_unknown(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in missing), error.end


def speak_plainly() -> None:
    """Let standard output and error spell out the signs that their encoding lacks, instead of failing."""
    codecs.register_error(_HANDLER, _replace_unknown)
    for stream in (sys.stdout, sys.stderr):
        # What stands in for a stream, in a notebook for example, may not be reconfigurable, and takes every sign.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def make_console(**options: Any) -> Console:
    """Return a console for tables: as wide as the terminal, or wide enough for a line a row in a pipe."""
    speak_plainly()
    console = Console(**options)
    return console if console.is_terminal else Console(width=max(_PIPE_WIDTH, console.width), **options)


def make_progress(console: Console) -> Progress:
    """Return a progress bar that vanishes when it is done."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
