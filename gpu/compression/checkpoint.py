"""Finished layers of a compression, on disk, so that a run that was stopped goes on where it was.

Each layer is one file that is written as a whole. A file that says what is being done, to which model and on which
data, keeps a later run from going on with another task.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor, nn

from sparsetheory import __version__
from sparsetheory.certificates import Status
from sparsetheory.experiments.storage.files import replace_file, used_alone
from sparsetheory.gpu.compression.plan import PlanStep
from sparsetheory.gpu.compression.report import FinishedLayer, LayerReport
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.weights.certificate import LayerwiseCertificate

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
        self.folder.mkdir(parents=True, exist_ok=True)
        with used_alone(self.folder):
            self._claim(self.folder)
            yield self

    def _claim(self, folder: Path) -> None:
        known = folder / "run.json"
        if known.exists():
            earlier = json.loads(known.read_text(encoding="utf-8"))["task"]
            if self.resume and earlier != self.task:
                raise CheckpointError(
                    f"{folder} holds layers of another run: model, plan, calibration data or version differ; "
                    "choose another folder, or remove it"
                )
            if not self.resume and any(folder.glob("*.layer")):
                raise CheckpointError(f"{folder} holds finished layers; resume, choose another folder, or remove it")
        replace_file(known, json.dumps({"task": self.task}))

    def load(self, name: str, pattern: Pattern) -> FinishedLayer | None:
        """Return a finished layer, None where there is none."""
        path = self._path(name)
        if path is None or not self.resume or not path.exists():
            return None
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # what a damaged file raises is up to the unpickler; the layer is done again
            return None
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
        replace_file(path, content.getvalue())

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{quote(name, safe='')}.layer"


def fingerprint(model: nn.Module, batches: Iterable[Any], steps: Mapping[str, PlanStep], **settings: Any) -> str:
    """Return a text that is equal for equal models, data, plans, settings and versions of this package.

    Parameters
    ----------
    model : torch.nn.Module
        Names, shapes, dtypes and values of parameters and buffers count.
    batches : iterable
        Calibration data.
    steps : mapping of str to PlanStep
        One for each layer.
    **settings
        Other values that the result depends on.

    Returns
    -------
    str
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        _add(digest, tensor)
    for batch in batches:
        _add(digest, batch)
    plan = {name: [str(step.pattern), step.method, dict(step.options)] for name, step in steps.items()}
    digest.update(repr((plan, sorted(settings.items()), __version__)).encode())
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(repr((tuple(value.shape), value.dtype)).encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        for key in sorted(value):
            digest.update(str(key).encode())
            _add(digest, value[key])
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            _add(digest, part)
    else:
        digest.update(repr(value).encode())
