"""A retrieval task that every Python carries: functions of its standard library, and what they are for."""

import ast
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from sparsetheory.constraints import COUNT, SIZE
from sparsetheory.gpu.core.datasets.docstrings import MODULES, module_source

__all__ = ["FunctionSummaries", "load_function_summaries"]

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SHORTEST = 15


@dataclass(frozen=True)
class FunctionSummaries:
    """Functions by name, and the first lines of their docstrings in the same order.

    Parameters
    ----------
    queries : tuple of str
        Words of the name of each function and its module, such as ``"send message smtplib"``.
    summaries : tuple of str
        First line of each docstring; all differ.
    """

    queries: tuple[str, ...]
    summaries: tuple[str, ...]


def load_function_summaries(n: int | None = None, skip: int = 0) -> FunctionSummaries:
    """Load public functions and methods of Python's standard library with the first lines of their docstrings.

    Which summary belongs to which name is a task of retrieval without labels of ours. Functions are put in the order
    of the SHA-256 hashes of their summaries, so that consecutive ones are a random sample, the same on every machine
    with the same version of Python. Of functions with the same name or the same summary one stays. The source files
    are parsed, no module is imported.

    Parameters
    ----------
    n : int, optional
        Number of functions; all by default. There are about 800 with a summary of at least 15 characters.
    skip : int
        Functions to leave out before, so that several sets share none.

    Returns
    -------
    FunctionSummaries

    Raises
    ------
    ValueError
        If there are fewer functions than `skip` and `n` together.
    FileNotFoundError
        If this Python was installed without the sources of its library.

    Notes
    -----
    Licence: Python Software Foundation License, version 2.

    Examples
    --------
    >>> task = load_function_summaries(120)
    >>> len(task.queries), len(set(task.summaries))
    (120, 120)
    """
    SIZE.require(skip=skip)
    found = _all_functions(sysconfig.get_path("stdlib"))
    count = len(found) - skip if n is None else COUNT.check("n", n)
    if count < 1 or skip + count > len(found):
        raise ValueError(f"skip + n must be at most {len(found)}, the number of functions; got {skip + count}")
    chosen = found[skip : skip + count]
    return FunctionSummaries(tuple(query for query, _ in chosen), tuple(summary for _, summary in chosen))


@lru_cache(maxsize=1)
def _all_functions(library: str) -> tuple[tuple[str, str], ...]:
    """Return names in words and summaries, in the order of the hashes of the summaries."""
    queries: set[str] = set()
    unique: dict[str, str] = {}
    for module in MODULES.split():
        for name, summary in _functions(ast.parse(module_source(Path(library), module).read_bytes())):
            query = " ".join([*(word.lower() for word in _WORDS.findall(name)), module])
            if len(summary) >= _SHORTEST and query not in queries and summary not in unique:
                queries.add(query)
                unique[summary] = query
    order = sorted(unique, key=lambda summary: sha256(summary.encode()).digest())
    return tuple((unique[summary], summary) for summary in order)


def _functions(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield names and first lines of public functions, and of public methods of public classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _functions(node)
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            lines = (ast.get_docstring(node) or "").strip().splitlines()
            if lines:
                yield node.name, lines[0].strip()
