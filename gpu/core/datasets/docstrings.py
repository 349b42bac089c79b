"""English texts that every Python carries: the docstrings of its standard library."""

import ast
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from sparsetheory.constraints import COUNT

__all__ = ["Docstrings", "load_docstrings"]

# Modules that are written in Python and rich in prose, on all versions of Python that are supported.
_MODULES = """
argparse ast calendar configparser contextlib dataclasses difflib doctest enum fileinput fractions ftplib
functools gzip heapq imaplib inspect ipaddress logging mailbox mimetypes numbers optparse pickle plistlib pydoc
random selectors shelve shutil smtplib socket socketserver statistics subprocess tempfile textwrap threading
timeit tokenize traceback typing uuid warnings weakref zipapp
"""
_SHORTEST = 40


@dataclass(frozen=True)
class Docstrings:
    """Docstrings in two parts that share no text.

    Parameters
    ----------
    calibration : tuple of str
        Texts to fit on.
    held_out : tuple of str
        Texts to judge by.
    """

    calibration: tuple[str, ...]
    held_out: tuple[str, ...]


def load_docstrings(n_calibration: int = 160, n_held_out: int = 80) -> Docstrings:
    """Load docstrings of Python's standard library, as texts for calibration and for judging.

    Texts are put in the order of their SHA-256 hashes. Calibration takes the first, the held-out part the last, so that
    neither changes with the size of the other. The same version of Python gives the same texts on every machine.
    Other versions differ where their documentation does. The source files are parsed, no module is imported.

    Parameters
    ----------
    n_calibration, n_held_out : int
        Numbers of texts. There are about 1300 of at least 40 characters.

    Returns
    -------
    Docstrings

    Raises
    ------
    ValueError
        If there are fewer texts than both numbers together.
    FileNotFoundError
        If this Python was installed without the sources of its library.

    Notes
    -----
    Licence: Python Software Foundation License, version 2.

    Examples
    --------
    >>> texts = load_docstrings()
    >>> len(texts.calibration), len(texts.held_out)
    (160, 80)
    """
    COUNT.require(n_calibration=n_calibration, n_held_out=n_held_out)
    texts = _all_docstrings(sysconfig.get_path("stdlib"))
    if n_calibration + n_held_out > len(texts):
        raise ValueError(
            f"n_calibration + n_held_out must be at most {len(texts)}, the number of texts; "
            f"got {n_calibration + n_held_out}"
        )
    return Docstrings(texts[:n_calibration], texts[: -n_held_out - 1 : -1])


@lru_cache(maxsize=1)
def _all_docstrings(library: str) -> tuple[str, ...]:
    """Return all different texts, in the order of their hashes."""
    # Texts that differ in white space only are one.
    unique: dict[str, str] = {}
    for module in _MODULES.split():
        for node in ast.walk(ast.parse(_source(Path(library), module).read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                if len(text) >= _SHORTEST:
                    unique.setdefault(" ".join(text.split()), text)
    return tuple(unique[key] for key in sorted(unique, key=lambda text: sha256(text.encode()).digest()))


def _source(library: Path, module: str) -> Path:
    for file in (library / f"{module}.py", library / module / "__init__.py"):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"the docstrings are read from the sources of Python's standard library, and {library} holds no {module}.py"
    )
