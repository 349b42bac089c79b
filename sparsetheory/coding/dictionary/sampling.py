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
from sparsetheory.coding.dictionary.state import DictionaryState
from sparsetheory.constraints import generator
from sparsetheory.typing import FloatArray, Int64Array

__all__ = [
    "UncentredSignalsWarning",
    "batch_rows",
    "count_atoms",
    "first_state",
    "initial_atoms",
    "split_rows",
    "warn_if_uncentred",
]


# The mean of a signal may hold this fraction of its energy, beyond the fraction that noise puts there.
_MEAN_FRACTION = 0.1
# One of so many signals is held out, and at most so many in all.
_HELD_OUT_ONE_OF, _MOST_HELD_OUT = 5, 2000


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
        If the energy of the means is above 10 % plus ``1 / n_features``, the fraction that it has in white noise.
    """
    energy = np.einsum("ij,ij->", X, X, dtype=np.float64)
    in_means = X.shape[1] * np.sum(X.mean(axis=1, dtype=np.float64) ** 2)
    if in_means > (_MEAN_FRACTION + 1.0 / X.shape[1]) * energy:
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
        If `init` is an array of another shape, or its entries are not finite real numbers.
    """
    if isinstance(init, str):
        atoms = rng.standard_normal((n_components, X.shape[1]))
        if init == "patches":
            usable = np.flatnonzero(X.any(axis=1))
            drawn = rng.permutation(usable)[:n_components]
            atoms[: drawn.size] = X[drawn]
    else:
        atoms = real_array("init", init).astype(np.float64)
        if atoms.shape != (n_components, X.shape[1]):
            raise ValueError(f"init must have shape {(n_components, X.shape[1])}, one row per atom; got {atoms.shape}")
        if not (np.isfinite(atoms).all() and atoms.any(axis=1).all()):
            raise ValueError("init must hold finite numbers and no row of zeros")
    return unit_rows(atoms).astype(X.dtype)


def count_atoms(n_components: int | None, init: str | ArrayLike, n_features: int) -> int:
    """Return the number of atoms: as given, else that of the first atoms, else twice the number of features."""
    if n_components is not None:
        return n_components
    return 2 * n_features if isinstance(init, str) else len(np.atleast_1d(real_array("init", init)))


def first_state(
    X: FloatArray, n_components: int, init: str | ArrayLike, *, online: bool, alpha: float, random_state: Any
) -> DictionaryState:
    """Return the state of a learner that has seen no batch.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Signals to draw atoms from.
    n_components, init
        As in :func:`initial_atoms`.
    online : bool
        Whether the update needs a surrogate of the past.
    alpha : float
        First strength of the penalty.
    random_state : None, int, Generator or RandomState
        Source of the seed of the run.
    """
    warn_if_uncentred(X)
    seed = int(generator(random_state).integers(2**63))
    atoms = initial_atoms(X, n_components, init, random_stream(seed, "init"))
    past = Surrogate.empty(n_components, X.shape[1], atoms.dtype) if online else None
    uses = np.zeros(n_components, np.int64)
    return DictionaryState(atoms, past, float(alpha), seed, 0, uses, DictionaryHistory.empty())


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
    rows, count = np.arange(n_rows), min(n_rows // _HELD_OUT_ONE_OF, _MOST_HELD_OUT)
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
