"""The folder of a run.

It is found usable before work starts, is used by one run at a time, and its files are replaced as a whole.
"""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

__all__ = ["FolderError", "append_text", "prepare_folder", "replace_file", "set_aside", "used_alone"]

_FOLDERS = ("data", "records")
# A figure, once as a file and once inside the report, and some hundred trials.
_BYTES_PER_EXPERIMENT = 400_000


class FolderError(RuntimeError):
    """The folder for results cannot be used; the message is one line that says why."""


def prepare_folder(out: Path, experiments: int = 1) -> None:
    """Make the folder of a run and its subfolders, and find out whether the results can be written there.

    Parameters
    ----------
    out : Path
        The folder.
    experiments : int
        How many claims and studies will write their results.

    Raises
    ------
    FolderError
        If a folder cannot be made or written, or its disk is nearly full.
    """
    with _explained(out):
        for folder in (out, *(out / name for name in _FOLDERS), out / "figures"):
            if folder.name == "figures" and not folder.exists():  # made with the first figure
                continue
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".probe-{uuid.uuid4().hex[:12]}"
            try:
                probe.write_bytes(bytes(4096))
            finally:
                probe.unlink(missing_ok=True)
        free, needed = shutil.disk_usage(out).free, experiments * _BYTES_PER_EXPERIMENT
    if free < needed:
        raise FolderError(
            f"cannot write to {out}: {free / 1e6:.1f} MB are free, the results may take {needed / 1e6:.1f}"
        )
    if (out / "report.html").is_dir():
        raise FolderError(f"cannot write {out / 'report.html'}: it is a folder")


@contextmanager
def used_alone(out: Path) -> Iterator[None]:
    """Keep every other run out of a folder; the system lets go of it when this process ends, however it ends.

    Parameters
    ----------
    out : Path
        The folder; it exists.

    Raises
    ------
    FolderError
        If another run uses it.
    """
    with _explained(out):
        file = (out / ".lock").open("a+", encoding="utf-8")
    with file:
        if not _lock(file):
            file.seek(0)
            owner = file.read().strip()
            raise FolderError(f"{out} is in use by another run" + (f" (process {owner})" if owner else ""))
        with suppress(OSError):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def _lock(file: IO[str]) -> bool:
    """Return False where another process, or another run in this one, holds the lock."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file as a whole: whenever the process stops, the old or the new one is there.

    Parameters
    ----------
    path : Path
        The file; its folder is made.
    content : str or bytes
        Text is written as UTF-8.

    Raises
    ------
    FolderError
        If it cannot be written; the old file is still there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def set_aside(paths: Iterable[Path], out: Path, now: datetime) -> Path:
    """Move results of an earlier run out of the way, into ``earlier/<time>``, and return that folder.

    Parameters
    ----------
    paths : iterable of Path
        Files below `out`; those that are missing are passed over.
    out : Path
        The folder of the run.
    now : datetime
        Names the folder.

    Raises
    ------
    FolderError
        If a file cannot be moved.
    """
    folder = out / "earlier" / now.strftime("%Y-%m-%d-%H%M%S-%f")
    for path in paths:
        if path.exists():
            with _explained(path):
                target = folder / path.relative_to(out)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
    return folder


def append_text(path: Path, text: str) -> None:
    """Add to the end of a file at once; FolderError if that fails."""
    with _explained(path), path.open("ab") as file:
        file.write(text.encode("utf-8"))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename if error.filename and not str(error.filename).endswith(".part") else path
        raise FolderError(f"cannot write {where}: {error.strerror or error}") from error
