"""Where dictionary learning starts: first atoms, the order of the signals, and what is wrong with them."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import real_array, unit_rows
from sparsetheory.coding.dictionary.history import DictionaryHistory
from sparsetheory.coding.dictionary.learner import random_stream
from sparsetheory.coding.dictionary.online_update import Surrogate
from sparsetheory.coding.dictionary.settings import count_atoms
from sparsetheory.coding.dictionary.state import DictionaryState
from sparsetheory.constraints import generator
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["UncentredSignalsWarning", "batch_rows", "first_state", "initial_atoms", "split_rows", "warn_if_uncentred"]


# The mean of a signal may hold this share of its energy, beyond the share that noise puts there.
_MEAN_SHARE = 0.1
# Of all signals at most this share, and at most so many, are held out.
_HELD_OUT_SHARE, _MOST_HELD_OUT = 5, 2000


class UncentredSignalsWarning(UserWarning):
    """The means of the signals hold much of their energy, and will cost atoms."""


def warn_if_uncentred(X: FloatArray) -> None:
    """Warn if the mean of its entries explains much of the energy of a signal.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Signals.

    Warns
    -----
    UncentredSignalsWarning
        If the energy of the means is above 10 % plus ``1 / n_features``, the share that it has in white noise.
    """
    energy = np.einsum("ij,ij->", X, X, dtype=np.float64)
    in_means = X.shape[1] * np.sum(X.mean(axis=1, dtype=np.float64) ** 2)
    if in_means > (_MEAN_SHARE + 1.0 / X.shape[1]) * energy:
        warnings.warn(
            f"the means of the signals hold {in_means / energy:.0%} of their energy; subtract its mean from each "
            "signal, unless atoms shall model it",
            UncentredSignalsWarning,
            stacklevel=4,
        )


def initial_atoms(X: FloatArray, n_components: int, init: str | ArrayLike, rng: np.random.Generator) -> FloatArray:
    """Return the first dictionary.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Signals.
    n_components : int
        Number of atoms.
    init : "patches", "gaussian" or array-like of shape (n_components, n_features)
        Different signals drawn at random, with random directions where there are not enough; random directions only;
        or the atoms.
    rng : Generator
        Source of the draws.

    Returns
    -------
    ndarray of shape (n_components, n_features)
        Unit rows, C-ordered, of the dtype of `X`.

    Raises
    ------
    ValueError, TypeError
        If `init` is neither.
    """
    if isinstance(init, str):
        if init not in ("patches", "gaussian"):
            raise ValueError(f"init must be 'patches', 'gaussian' or an array of atoms, got {init!r}")
        atoms = rng.standard_normal((n_components, X.shape[1]))
        if init == "patches":
            usable = np.flatnonzero(X.any(axis=1))
            drawn = rng.permutation(usable)[:n_components]
            atoms[: drawn.size] = X[drawn]
    else:
        atoms = real_array("init", init).astype(np.float64)
        if atoms.shape != (n_components, X.shape[1]):
            raise ValueError(f"init must have shape {(n_components, X.shape[1])}, one row per atom, got {atoms.shape}")
        if not (np.isfinite(atoms).all() and atoms.any(axis=1).all()):
            raise ValueError("init must hold finite numbers and no row of zeros")
    return unit_rows(atoms).astype(X.dtype)


def first_state(model: Any, X: FloatArray) -> DictionaryState:
    """Return the state of a model that has seen no batch.

    Parameters
    ----------
    model : LqDictionaryLearning
        Only parameters are read.
    X : ndarray of shape (n_samples, n_features)
        Signals to draw atoms from.
    """
    warn_if_uncentred(X)
    seed, n_atoms = int(generator(model.random_state).integers(2**63)), count_atoms(model, X.shape[1])
    atoms = initial_atoms(X, n_atoms, model.init, random_stream(seed, "init"))
    past = Surrogate.empty(n_atoms, X.shape[1], atoms.dtype) if model.update == "online" else None
    uses, alpha = np.zeros(n_atoms, np.int64), float(model.alpha)
    return DictionaryState(atoms, past, alpha, seed, 0, uses, DictionaryHistory.empty())


def split_rows(n_rows: int, held_out: bool, seed: int) -> tuple[Int64Array, Int64Array]:
    """Return the rows to learn from and those held out; all rows are both if there are fewer than five.

    Parameters
    ----------
    n_rows : int
        Signals.
    held_out : bool
        Whether any are wanted: a fifth, at most 2000.
    seed : int
        Of the run.
    """
    rows, count = np.arange(n_rows), min(n_rows // _HELD_OUT_SHARE, _MOST_HELD_OUT)
    if not held_out:
        return rows, rows[:0]
    if count == 0:
        return rows, rows
    chosen = random_stream(seed, "held_out").permutation(n_rows)
    return np.sort(chosen[count:]), np.sort(chosen[:count])


def batch_rows(rows: Int64Array, batch_size: int, seed: int, first: int = 0) -> Iterator[Int64Array]:
    """Yield the rows of one batch after another, without end.

    Every pass goes through the rows in a new order; what does not fill a batch at its end is left to other passes.

    Parameters
    ----------
    rows : ndarray of int
        Signals to learn from.
    batch_size : int
        Signals per batch; all, where there are fewer.
    seed : int
        Of the run.
    first : int
        Batches to leave out.

    Examples
    --------
    >>> batches = batch_rows(np.arange(6), 3, seed=0)
    >>> np.sort(np.concatenate([next(batches), next(batches)]))
    array([0, 1, 2, 3, 4, 5])
    """
    size = min(batch_size, rows.size)
    per_pass = rows.size // size
    epoch, done = divmod(first, per_pass)
    while True:
        order = random_stream(seed, "order", epoch).permutation(rows)
        for start in range(done * size, per_pass * size, size):
            yield order[start : start + size]
        epoch, done = epoch + 1, 0
