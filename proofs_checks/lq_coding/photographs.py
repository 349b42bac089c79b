"""Patches of photographs and dictionaries learned from them, made once per process."""

import warnings
from functools import cache
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding import LqDictionaryLearning, bundled_images, encode, natural_patches
from sparsetheory.coding.dictionary.sparsity_control import alpha_for_active
from sparsetheory.coding.natural_images.whitening import whiten_images
from sparsetheory.penalties import Penalty
from sparsetheory.typing import FloatArray

__all__ = ["SIZE", "codes_at", "error", "learn", "patches"]


SIZE = 12
# Width of the strips that are either for learning or for testing.
_STRIP = 36
_TRAINING, _BATCHES = 20_000, 100


@cache
def _pictures(*, training: bool) -> tuple[FloatArray, ...]:
    """Return strips of all photographs, every third for testing: no pixel is in both parts."""
    strips = []
    for picture in whiten_images(list(bundled_images().values())):
        cut = np.array_split(picture.astype(np.float32), picture.shape[1] // _STRIP, axis=1)
        strips += [strip for index, strip in enumerate(cut) if (index % 3 != 1) == training]
    return tuple(strips)


def patches(n: int, seed: Any, *, training: bool = False) -> FloatArray:
    """Return patches of 12 x 12 pixels of whitened photographs, less their means; those for training lie elsewhere.

    Parameters
    ----------
    n : int
        How many.
    seed : int or Generator
        Source of the draws.
    training : bool
        From which part of the photographs.

    Returns
    -------
    ndarray of float32 of shape (n, 144)
    """
    return natural_patches(n, SIZE, _pictures(training=training), random_state=seed, whiten=False)


@cache
def _training() -> FloatArray:
    return patches(_TRAINING, 0, training=True)


@cache
def learn(penalty: str, n_atoms: int, active: float, seed: int = 0) -> FloatArray:
    """Return atoms that were learned for a number of nonzeros per code.

    Parameters
    ----------
    penalty : str
        Family, without further numbers.
    n_atoms : int
        How many.
    active : float
        Nonzeros per code while learning.
    seed : int
        Of first atoms and batches.

    Returns
    -------
    ndarray of float32 of shape (n_atoms, 144)
        Unit rows.
    """
    start = 0.5 if penalty == "l1" else 0.1
    model = LqDictionaryLearning(
        n_atoms, penalty=penalty, alpha=start, target_active=active, n_batches=_BATCHES, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(_training()).components_


def codes_at(X: FloatArray, D: FloatArray, penalty: Penalty, active: float) -> FloatArray:
    """Return codes at the strength that gives them a mean number of nonzeros, within one percent.

    Parameters
    ----------
    X : ndarray of shape (n, 144)
        Patches.
    D : ndarray of shape (n_atoms, 144)
        Atoms.
    penalty : Penalty
        Its strength is where the search starts.
    active : float
        Wanted number.

    Returns
    -------
    ndarray of shape (n, n_atoms)
    """
    G = D @ D.T

    def code(alpha: float) -> FloatArray:
        return encode(X, D, penalty.with_alpha(alpha), gram=G, tol=1e-5).codes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        tuned = alpha_for_active(
            lambda alpha: np.count_nonzero(code(alpha)) / len(X),
            target_active=active,
            start=penalty.alpha,
            tol=active / 100,
        )
        return code(tuned.alpha)


def error(X: FloatArray, D: FloatArray, C: FloatArray) -> float:
    """Return the mean squared error of a pixel."""
    return float(np.mean((X - C @ D) ** 2))
