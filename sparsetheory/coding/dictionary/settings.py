"""From the parameters of a dictionary learner to what its run needs, checked."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsetheory.arrays import real_array
from sparsetheory.coding.dictionary.checkpointing import Checkpoint
from sparsetheory.coding.dictionary.learner import BatchLearner
from sparsetheory.coding.dictionary.olshausen_update import published_step
from sparsetheory.coding.dictionary.state import data_checksum
from sparsetheory.coding.encoders.dispatch import choose_solver
from sparsetheory.constraints import COUNT, FLAG, JOBS, NONNEGATIVE, POSITIVE
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.separable import make_penalty
from sparsetheory.typing import FloatArray

__all__ = ["chosen_penalty", "count_atoms", "make_checkpoint", "make_learner"]

_CHOICES = {
    "update": ("online", "olshausen"),
    "inner": ("converged", "paper"),
}
# Parameters that may differ between a run and the one that continues it.
_FREE = ("n_jobs", "verbose", "checkpoint", "checkpoint_every", "transform_solver")


def chosen_penalty(model: Any) -> Penalty:
    """Return the penalty of a model, at its first strength.

    Parameters
    ----------
    model : LqDictionaryLearning
        Only parameters are read.

    Raises
    ------
    ValueError, TypeError
        As from :func:`make_penalty`, or if an object comes with numbers of its own beside it.
    """
    if not isinstance(model.penalty_params, Mapping | None):
        raise TypeError(f"penalty_params must be a mapping of names to numbers, got {model.penalty_params!r}")
    shape = dict(model.penalty_params or {}) | ({} if model.q is None else {"q": model.q})
    if not isinstance(model.penalty, Penalty):
        return make_penalty(model.penalty, model.alpha, positive=model.positive, **shape)
    if shape:
        raise ValueError(f"{', '.join(shape)} must go with the name of a penalty; penalty is {model.penalty!r}")
    FLAG.check("positive", model.positive)
    return replace(model.penalty, alpha=model.alpha, positive=model.positive or model.penalty.positive)


def count_atoms(model: Any, n_features: int) -> int:
    """Return the number of atoms that a model will have for so many features."""
    if model.n_components is not None:
        return COUNT.check("n_components", model.n_components)
    return 2 * n_features if isinstance(model.init, str) else len(np.atleast_1d(real_array("init", model.init)))


def make_learner(model: Any, n_features: int) -> BatchLearner:
    """Return the checked settings of a model for signals of `n_features` entries.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as :class:`LqDictionaryLearning` describes it.
    """
    for name, known in _CHOICES.items():
        if getattr(model, name) not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {getattr(model, name)!r}")
    penalty = chosen_penalty(model)
    for name in ("solver", "transform_solver"):
        choose_solver(getattr(model, name), penalty, name)
    step = published_step(penalty) if model.step is None else model.step
    return BatchLearner(
        penalty=penalty,
        inner=model.inner,
        eta=POSITIVE.check("eta", model.eta),
        eta_decay=NONNEGATIVE.check("eta_decay", model.eta_decay),
        forgetting=None if model.forgetting is None else NONNEGATIVE.check("forgetting", model.forgetting),
        target_active=_target(model, n_features),
        n_batches=COUNT.check("n_batches", model.n_batches),
        reseed=bool(model.reseed),
        solver=model.solver,
        tol=POSITIVE.check("tol", model.tol),
        step=POSITIVE.check("step", step),
        n_jobs=JOBS.check("n_jobs", model.n_jobs),
    )


def _target(model: Any, n_features: int) -> float | None:
    if model.target_active is None:
        return None
    POSITIVE.check("alpha", model.alpha)
    target, n_atoms = POSITIVE.check("target_active", model.target_active), count_atoms(model, n_features)
    if target >= n_atoms:
        raise ValueError(f"target_active must be below the number of atoms, {n_atoms}, got {model.target_active!r}")
    return target


def make_checkpoint(model: Any, X: FloatArray, *, resume: bool) -> Checkpoint:
    """Return where a model keeps its run, with what makes another run a continuation of it.

    Raises
    ------
    ValueError
        If there is nothing to resume from, `checkpoint` is a folder, or `checkpoint_every` is not a positive integer.
    """
    every = COUNT.check("checkpoint_every", model.checkpoint_every)
    if model.checkpoint is None:
        if resume:
            raise ValueError("resume=True needs the parameter checkpoint, the file to continue from")
        return Checkpoint(None, {}, every)
    # The schedule of the strength depends on the planned length; nothing else does.
    free = _FREE if model.target_active is not None else (*_FREE, "n_batches")
    header = {name: _as_text(value) for name, value in model.get_params().items() if name not in free}
    path = Path(model.checkpoint)
    if path.is_dir():
        raise ValueError(f"checkpoint must name a file, got the folder {path}")
    return Checkpoint(path, header | {"data": data_checksum(X)}, every)


def _as_text(value: Any) -> Any:
    if isinstance(value, np.random.Generator | np.random.RandomState):
        # Their text is an address; like None, they do not say where the kept run began.
        return type(value).__name__
    if np.ndim(value) and not isinstance(value, str):
        return data_checksum(np.asarray(value, dtype=np.float64))
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        return repr(value.item() if isinstance(value, np.generic) else value)
