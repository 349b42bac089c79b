"""Finished layers of a compression, on disk, so that a run that was stopped goes on where it was.

Each layer is one file that is written as a whole. A file that says what is being done, to which model and on which
data, keeps a later run from going on with another task.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor, nn

from sparsetheory import __version__
from sparsetheory.certificates import Status
from sparsetheory.experiments.storage.files import FolderError, replace_file, used_alone
from sparsetheory.gpu.compression.plan import PlanStep
from sparsetheory.gpu.compression.report import FinishedLayer, LayerReport
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.weights.layerwise.certificate import LayerwiseCertificate

__all__ = ["Checkpoint", "CheckpointError", "fingerprint"]

_CERTIFIED = ("bound", "delta", "objective", "lower_bound", "refitted", "swap_optimal")


class CheckpointError(ValueError):
    """A folder with finished layers cannot be used for this run."""


class Checkpoint:
    """The folder with the finished layers of one run, or nothing where none is wanted.

    Parameters
    ----------
    folder : str or Path, optional
        It is made where it is missing. None keeps nothing.
    task : str
        What identifies the run, see :func:`fingerprint`.
    resume : bool
        Whether finished layers of an earlier run are used. If not, the folder must hold none.
    """

    def __init__(self, folder: str | Path | None, task: str, *, resume: bool) -> None:
        self.folder = None if folder is None else Path(folder)
        self.task = task
        self.resume = resume

    @contextmanager
    def opened(self) -> Iterator["Checkpoint"]:
        """Keep other runs out of the folder, and find out whether it belongs to this task.

        Raises
        ------
        CheckpointError
            If the folder holds layers of another task, or of this one without `resume`.
        FolderError
            If the folder is in use or cannot be written.
        """
        if self.folder is None:
            yield self
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(f"cannot write {self.folder}: {error.strerror or error}") from error
        with used_alone(self.folder):
            self._claim(self.folder)
            yield self

    def _claim(self, folder: Path) -> None:
        known = folder / "run.json"
        if self.resume and _task_of(known) not in (None, self.task):
            raise CheckpointError(
                f"{folder} holds layers of another run: model, plan, calibration data or version differ; "
                "choose another folder, or remove it"
            )
        if not self.resume and any(folder.glob("*.layer")):
            raise CheckpointError(f"{folder} holds finished layers; resume, choose another folder, or remove it")
        replace_file(known, json.dumps({"task": self.task}))

    def load(self, name: str, pattern: Pattern) -> FinishedLayer | None:
        """Return a finished layer; None where there is none, or its file is damaged or belongs to another task."""
        path = self._path(name)
        if path is None or not self.resume or not path.exists():
            return None
        raw = path.read_bytes()
        seal, content = raw[: hashlib.sha256().digest_size], raw[hashlib.sha256().digest_size :]
        if seal != self._seal(name, content):
            return None
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        certificate = LayerwiseCertificate(
            statement="", measured=None, status=Status.VALID, pattern=pattern, **saved["certificate"]
        )
        return FinishedLayer(LayerReport(**saved["report"]), certificate.stated())

    def save(self, layer: FinishedLayer) -> None:
        """Keep a finished layer."""
        path = self._path(layer.report.name)
        if path is None:
            return
        fields = {name: getattr(layer.certificate, name) for name in _CERTIFIED}
        fields |= {name: getattr(layer.certificate, name).detach().cpu() for name in ("weight", "mask")}
        content = io.BytesIO()
        torch.save({"report": asdict(layer.report), "certificate": fields}, content)
        replace_file(path, self._seal(layer.report.name, content.getvalue()) + content.getvalue())

    def _seal(self, name: str, content: bytes) -> bytes:
        # A changed bit of a weight would not be noticed otherwise, nor a file of another run.
        return hashlib.sha256(json.dumps([self.task, name]).encode() + content).digest()

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{quote(name, safe='')}.layer"


def _task_of(known: Path) -> Any:
    """Return the task that a folder belongs to, None where no file says so; every layer is checked by itself, too."""
    try:
        return json.loads(known.read_text(encoding="utf-8"))["task"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def fingerprint(model: nn.Module, data: Mapping[str, Any], steps: Mapping[str, PlanStep], **settings: Any) -> str:
    """Return a text that is equal for equal models, data, plans, settings and versions of this package.

    Parameters
    ----------
    model : torch.nn.Module
        Its configuration, and structure as it is printed; names, shapes, dtypes and values of parameters and buffers.
    data : mapping
        Batches and what else the result depends on, by name: tensors, arrays, numbers, texts, nested in any way.
    steps : mapping of str to PlanStep
        One for each layer.
    **settings
        Other values that the result depends on.

    Returns
    -------
    str
    """
    digest = hashlib.sha256()
    plan = {name: [repr(step.pattern), step.method, dict(step.options)] for name, step in steps.items()}
    known: Any = getattr(model, "config", None)
    known = known.to_dict() if hasattr(known, "to_dict") else {}
    # Names that begin with an underline tell where a model was loaded from, and addresses where it lies in memory.
    config = {key: value for key, value in known.items() if not key.startswith("_")}
    structure = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(model))
    _add(digest, [__version__, structure, config, model.state_dict(), data, plan, settings])
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Add a value with its kind and size, so that other values do not give the same bytes."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(repr(("array", value.shape, value.dtype)).encode() + value.tobytes())
    elif isinstance(value, Tensor):
        digest.update(repr(("tensor", tuple(value.shape), value.dtype)).encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)}".encode())
        for key in sorted(value, key=repr):
            _add(digest, key)
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(f"sequence {len(value)}".encode())
        for part in value:
            _add(digest, part)
    else:
        text = repr(value).encode()
        digest.update(f"value {len(text)}".encode() + text)
