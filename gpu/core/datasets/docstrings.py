"""English texts that every Python carries: the docstrings of its standard library."""

import ast
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from sparsetheory.constraints import COUNT, Integer
from sparsetheory.typing import Int64Array

__all__ = ["MODULES", "Characters", "Docstrings", "load_characters", "load_docstrings", "module_source"]

# Modules that are written in Python and rich in prose, on all versions of Python that are supported.
MODULES = """
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


@dataclass(frozen=True, eq=False)
class Characters:
    """One long text as numbers of characters, in two parts.

    Parameters
    ----------
    calibration : ndarray of int64 of shape (n_characters,)
        Text to train on.
    held_out : ndarray of int64
        Text to judge by, from other docstrings.
    alphabet : str
        Character of each number, sorted.
    """

    calibration: Int64Array
    held_out: Int64Array
    alphabet: str


def load_docstrings(n_calibration: int = 160, n_held_out: int = 80) -> Docstrings:
    """Load docstrings of Python's standard library, as texts for calibration and for judging.

    Texts are put in the order of their SHA-256 hashes. Calibration takes the first, the held-out part the last, so that
    neither changes with the size of the other. The same version of Python gives the same texts on every machine.
    Other versions differ where their documentation does. The source files are parsed, no module is imported.

    Parameters
    ----------
    n_calibration, n_held_out : int
        Numbers of texts. There are about 1500 of at least 40 characters.

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


def load_characters(n_held_out: int = 100) -> Characters:
    """Load all docstrings as one stream of characters, for models of characters.

    Each docstring ends with a zero character, so that a model may learn where texts end. Characters outside of ASCII
    are left out.

    Parameters
    ----------
    n_held_out : int
        Docstrings in the held-out part; all others are for training. The order is that of :func:`load_docstrings`.

    Returns
    -------
    Characters
        About 440 000 of them, of 97 kinds.

    Raises
    ------
    ValueError
        If all docstrings would be held out.
    FileNotFoundError
        If this Python was installed without the sources of its library.

    Examples
    --------
    >>> text = load_characters()
    >>> text.calibration.ndim, text.alphabet[0] == chr(0)
    (1, True)
    """
    texts = _all_docstrings(sysconfig.get_path("stdlib"))
    Integer(1, len(texts) - 1).require(n_held_out=n_held_out)
    parts = ["".join(f"{text}\0" for text in part) for part in (texts[:-n_held_out], texts[: -n_held_out - 1 : -1])]
    codes = [np.frombuffer(part.encode("ascii", "ignore"), dtype=np.uint8) for part in parts]
    used, numbers = np.unique(np.concatenate(codes), return_inverse=True)
    calibration, held_out = np.split(numbers.astype(np.int64), [len(codes[0])])
    return Characters(calibration, held_out, "".join(map(chr, used)))


@lru_cache(maxsize=1)
def _all_docstrings(library: str) -> tuple[str, ...]:
    """Return all different texts, in the order of their hashes."""
    # Texts that differ in white space only are one.
    unique: dict[str, str] = {}
    for module in MODULES.split():
        for node in ast.walk(ast.parse(module_source(Path(library), module).read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                if len(text) >= _SHORTEST:
                    unique.setdefault(" ".join(text.split()), text)
    return tuple(unique[key] for key in sorted(unique, key=lambda text: sha256(text.encode()).digest()))


def module_source(library: Path, module: str) -> Path:
    """Return the file of a module of the standard library.

    Raises
    ------
    FileNotFoundError
        If this Python was installed without the sources of its library.
    """
    for file in (library / f"{module}.py", library / module / "__init__.py"):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"the docstrings are read from the sources of Python's standard library, and {library} holds no {module}.py"
    )
