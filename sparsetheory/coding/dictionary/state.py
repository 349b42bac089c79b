"""The state of dictionary learning between two batches, and its file."""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sparsetheory.coding.dictionary.history import DictionaryHistory
from sparsetheory.coding.dictionary.online_update import Surrogate
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["CheckpointError", "DictionaryState", "data_checksum", "read_state", "write_state"]


# Rows of the data that are summed at a time.
_ROWS = 4096
_NUMBERS = ("alpha", "seed", "n_signals")
_PAST = "past_"
_HISTORY = "history_"


class CheckpointError(ValueError):
    """The file to resume from belongs to other data or another estimator."""


@dataclass(frozen=True, eq=False)
class DictionaryState:
    """Everything on which the rest of a run depends; batches replace it as a whole.

    Attributes
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        Unit rows.
    surrogate : Surrogate or None
        The past, where the update needs it.
    alpha : float
        Strength of the penalty for the next batch.
    seed : int
        Of all random choices, together with the number of batches.
    n_signals : int
        Signals learned from.
    uses : ndarray of int of shape (n_atoms,)
        Nonzeros per atom since unused atoms were last looked for.
    history : DictionaryHistory
        One entry per batch.
    """

    atoms: FloatArray
    surrogate: Surrogate | None
    alpha: float
    seed: int
    n_signals: int
    uses: Int64Array
    history: DictionaryHistory

    @property
    def n_batches(self) -> int:
        """Batches seen, the skipped ones included."""
        return len(self.history)


def data_checksum(X: FloatArray) -> list[Any]:
    """Return shape, type and a checksum of an array, as JSON types."""
    total = 0
    for start in range(0, X.shape[0], _ROWS):
        total = zlib.crc32(np.ascontiguousarray(X[start : start + _ROWS]).data, total)
    return [*X.shape, X.dtype.name, total]


def write_state(path: Path, state: DictionaryState, header: Mapping[str, Any]) -> None:
    """Replace the file as a whole: whenever the process stops, the old or the new one is there.

    Parameters
    ----------
    path : Path
        The file, in the format of :func:`numpy.savez`; its folder is made.
    state : DictionaryState
        What to keep.
    header : mapping
        What the run says of itself, in JSON types.
    """
    arrays: dict[str, Any] = {"atoms": state.atoms, "uses": state.uses}
    arrays |= {_HISTORY + name: array for name, array in state.history.arrays().items()}
    if state.surrogate is not None:
        arrays |= {_PAST + field.name: getattr(state.surrogate, field.name) for field in fields(Surrogate)}
    about = {"header": dict(header), "numbers": {name: getattr(state, name) for name in _NUMBERS}}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    with draft.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)
    os.replace(draft, path)


def read_state(path: Path, header: Mapping[str, Any]) -> DictionaryState | None:
    """Read the state of an interrupted run.

    Parameters
    ----------
    path : Path
        The file; it may be missing.
    header : mapping
        What the run to continue says of itself, in JSON types.

    Returns
    -------
    DictionaryState or None
        None if there is no file.

    Raises
    ------
    CheckpointError
        If the file was written by a run with another header, or is not such a file.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
        said, numbers = dict(about["header"]), {name: about["numbers"][name] for name in _NUMBERS}
    # A file of one array opens too, but is no archive; and JSON may hold anything.
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
        raise CheckpointError(f"cannot resume from {path}: it is no checkpoint of dictionary learning") from error
    for key, wanted in header.items():
        found = said.get(key)
        if found != wanted:
            raise CheckpointError(
                f"cannot resume from {path}: its {key} is {found!r:.200}, this run has {wanted!r:.200}; "
                "fit without resume to start over"
            )
    history = DictionaryHistory(**_under(_HISTORY, arrays))
    past = _under(_PAST, arrays)
    surrogate = Surrogate(past["moments"], past["products"], float(past["energy"])) if past else None
    return DictionaryState(arrays["atoms"], surrogate, uses=arrays["uses"], history=history, **numbers)


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
