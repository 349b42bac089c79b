"""What a result depends on besides its seed: versions of packages, the installed code, and a claim's own functions."""

import hashlib
import platform
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from types import CellType, CodeType
from typing import Any

import sparsetheory

__all__ = ["code_hash", "function_hash", "versions"]

_PACKAGES = ("numpy", "scipy", "scikit-learn", "numba")


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {
        "sparsetheory": sparsetheory.__version__,
        **{name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # imported from a path that pip does not know
        return "unknown"


@cache
def code_hash() -> str:
    """Return twelve hexadecimal digits that change when any Python file of the installed package does."""
    digest = hashlib.sha256()
    for name, content in sorted(_sources(files(sparsetheory), "")):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _sources(folder: Any, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()


def function_hash(*functions: Callable[..., Any]) -> str:
    """Return twelve hexadecimal digits that change when the code of a function does, wherever it is defined.

    Parameters
    ----------
    *functions : callable
        Plain functions, lambdas, methods and partials; what a closure holds counts as far as it is code or a constant.

    Returns
    -------
    str
    """
    described = repr([_describe(function, depth=0) for function in functions])
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def _describe(value: Any, depth: int) -> Any:
    """Reduce a value to what is the same in every process: no addresses, no order of sets."""
    if depth > 8:
        return "..."
    if isinstance(value, CodeType):
        return value.co_code.hex(), value.co_names, _describe(value.co_consts, depth + 1)
    if isinstance(value, partial):
        return "partial", _describe((value.func, value.args, tuple(sorted(value.keywords.items()))), depth + 1)
    if hasattr(value, "__func__"):
        return "method", _describe(value.__func__, depth + 1), type(value.__self__).__qualname__
    if hasattr(value, "__code__"):
        cells = tuple(_content(cell) for cell in value.__closure__ or ())
        return value.__qualname__, _describe((value.__code__, value.__defaults__, cells), depth + 1)
    if isinstance(value, tuple):
        return [_describe(item, depth + 1) for item in value]
    if isinstance(value, frozenset):
        return sorted(repr(_describe(item, depth + 1)) for item in value)
    # Lists and other objects may change while the function stays the same.
    constant = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return repr(value) if constant else type(value).__qualname__


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
