"""Runs the benchmark scripts of a checkout."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["find_benchmarks", "run_benchmark"]


def find_benchmarks(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """List the scripts of a folder.

    Parameters
    ----------
    folder : Path
        Holds one Python file per benchmark; files that start with an underscore are helpers.
    names : sequence of str
        Paths, or names in the folder with or without ``.py``; empty selects all.

    Returns
    -------
    list of Path

    Raises
    ------
    ValueError
        If the folder or a named file is missing, or the folder holds no benchmark.
    """
    if names:
        return [_find(folder, name) for name in names]
    if not folder.is_dir():
        raise ValueError(f"no folder {folder.resolve()}; run this in a checkout of the repository")
    found = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    if not found:
        raise ValueError(f"no benchmark in {folder.resolve()}")
    return found


def _find(folder: Path, name: str) -> Path:
    for path in (Path(name), folder / name, folder / f"{name}.py"):
        if path.is_file():
            return path
    raise ValueError(f"no benchmark {name!r} here or in {folder.resolve()}")


def run_benchmark(path: Path) -> str:
    """Run one script in a fresh process, so that no benchmark warms or slows the next, and return its table.

    Parameters
    ----------
    path : Path
        The script. What it writes to the error stream goes straight to the terminal.

    Returns
    -------
    str

    Raises
    ------
    subprocess.CalledProcessError
        If the script fails.
    """
    return subprocess.run([sys.executable, str(path)], check=True, stdout=subprocess.PIPE, text=True).stdout
