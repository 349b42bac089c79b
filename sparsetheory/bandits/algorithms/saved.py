"""Files of experiments: parameters and answers; what follows from them is computed anew."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["SavedExperiment", "read_experiment", "write_experiment"]

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class SavedExperiment:
    """What an experiment has seen.

    Parameters
    ----------
    actions : ndarray of int
        Actions in the order of their answers.
    rewards : ndarray of float
    n_asked : int
        Queries that were handed out.
    budget : int or None
    eps : float or None
        Misspecification that was assumed.
    seed : int
        Seed of random choices.
    """

    actions: IndexArray
    rewards: Float64Array
    n_asked: int
    budget: int | None
    eps: float | None
    seed: int


def write_experiment(
    path: Path, algorithm: str, parameters: dict[str, Any], features: AnyArray, saved: SavedExperiment
) -> None:
    """Write a file; one that is there is replaced only when the new one is complete."""
    plain = {name: value for name, value in parameters.items() if np.isscalar(value) or value is None}
    if "random_state" in parameters:
        plain.setdefault("random_state", None)  # a generator has moved on; the seed that it gave is saved
    arrays: dict[str, Any] = {
        f"parameter_{name}": np.asarray(value) for name, value in parameters.items() if name not in plain
    }
    about = {
        "format": _FORMAT,
        "algorithm": algorithm,
        "parameters": plain,
        "features": _fingerprint(features),
        "n_asked": saved.n_asked,
        "budget": saved.budget,
        "eps": saved.eps,
        "seed": saved.seed,
    }
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        np.savez(
            file,
            about=np.array(json.dumps(about, default=_plain)),
            actions=saved.actions,
            rewards=saved.rewards,
            **arrays,
        )
    os.replace(beside, path)


def read_experiment(path: Path, algorithm: str, features: AnyArray) -> tuple[dict[str, Any], SavedExperiment]:
    """Return the parameters of the algorithm, and what it has seen.

    Raises
    ------
    ValueError
        If the file is no experiment, or one of another algorithm or format, or the features are others.
    """
    with _opened(path) as file:
        about = json.loads(str(file["about"]))
        if about["format"] != _FORMAT:
            raise ValueError(f"path must be a file of format {_FORMAT}; got format {about['format']}")
        if about["algorithm"] != algorithm:
            raise ValueError(f"path must be a file of {algorithm}; got one of {about['algorithm']}")
        if about["features"] != _fingerprint(features):
            raise ValueError(
                f"features must be those of the saved experiment, {about['features']}; got {_fingerprint(features)}"
            )
        arrays = {name.removeprefix("parameter_"): file[name] for name in file if name.startswith("parameter_")}
        saved = SavedExperiment(
            file["actions"], file["rewards"], about["n_asked"], about["budget"], about["eps"], about["seed"]
        )
    return {**about["parameters"], **arrays}, saved


def _opened(path: Path) -> Any:
    """Return an open file of an experiment."""
    try:
        file = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"path must be a file that save wrote; got {path}") from error
    if "about" not in getattr(file, "files", ()):
        raise ValueError(f"path must be a file that save wrote; got {path}")
    return file


def _plain(value: Any) -> Any:
    """Return numbers of NumPy as those of Python."""
    return value.tolist()


def _fingerprint(features: AnyArray) -> str:
    digest = hashlib.blake2b(np.ascontiguousarray(features).view(np.uint8).data, digest_size=16).hexdigest()
    return f"{features.dtype} of shape {features.shape}, {digest}"
