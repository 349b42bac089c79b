"""Public directions of many users, expanded in compiled code from a seed and their numbers."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.constraints import Integer
from sparsetheory.numba_kernels.privacy import directions as kernels
from sparsetheory.privacy.device.quantised_normal import DIRECTION_BITS, NOISE_BITS, normal_table

__all__ = ["direction_table", "noise_integers", "public_key", "scratch", "user_numbers"]

# Words of 2^-14 of all magnitudes share an entry of the guide: 32 kB, most of which stay in the first cache.
_GUIDE_BITS = 14
_NOISE_GUIDE_BITS = 16
_SEED = Integer(0, 2**128 - 1)
_USER = Integer(0, 2**64 - 1)


@cache
def direction_table() -> tuple[NDArray[np.uint32], NDArray[np.uint16], np.uint64]:
    """Return thresholds, guide and shift, as kernels take them."""
    thresholds, guide, shift = _guided(DIRECTION_BITS, _GUIDE_BITS)
    return thresholds.astype(np.uint32), guide.astype(np.uint16), shift


@cache
def _noise_table() -> tuple[NDArray[np.uint64], NDArray[np.uint32], np.uint64]:
    thresholds, guide, shift = _guided(NOISE_BITS, _NOISE_GUIDE_BITS)
    return thresholds, guide.astype(np.uint32), shift


def _guided(law_bits: tuple[int, int], guide_bits: int) -> tuple[NDArray[np.uint64], NDArray[np.intp], np.uint64]:
    """Return thresholds, the cell of the first word of every stretch, and the logarithm of the length of stretches."""
    law = normal_table(*law_bits)
    shift = np.uint64(law.bits - guide_bits)
    starts = np.arange(2**guide_bits, dtype=np.uint64) << shift
    return law.thresholds, np.searchsorted(law.thresholds, starts, side="right"), shift


def noise_integers(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the integers that secret words stand for: those of the table of the device, in compiled code."""
    noise = np.empty(words.size, dtype=np.int64)
    kernels.normal_integers(words.ravel(), _noise_table(), noise)
    return noise.reshape(words.shape)


def public_key(public_seed: int, stream: int = 0) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the seed of a collection and the number of a message, as kernels take them."""
    seed = _SEED.check("public_seed", public_seed)
    return np.uint64(seed & (2**64 - 1)), np.uint64(seed >> 64), np.uint64(stream)


def scratch(size: int) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Return room for the words and the normal numbers of one user."""
    return np.empty(4 * ((size + 7) // 8), dtype=np.uint64), np.empty(size)


def user_numbers(user_ids: ArrayLike | None, n_samples: int) -> NDArray[np.uint64]:
    """Return the numbers of users: those given, or 0, 1, 2, ...

    Parameters
    ----------
    user_ids : array-like of shape (n_samples,), or None
        Integers in [0, 2^64).
    n_samples : int

    Returns
    -------
    ndarray of uint64

    Raises
    ------
    ValueError
        If they are no such integers, or not as many as samples.
    """
    if user_ids is None:
        return np.arange(n_samples, dtype=np.uint64)
    if isinstance(user_ids, Sequence) and all(map(_USER.accepts, user_ids)):
        # NumPy would make floats of a list of small and large integers together, and of an empty one.
        user_ids = np.array(user_ids, dtype=np.uint64)
    given: NDArray[Any] = np.asarray(user_ids)
    if given.dtype.kind not in "iu" or given.shape != (n_samples,) or (given.size and given.min() < 0):
        raise ValueError(
            f"user_ids must be {n_samples} integers in [0, 2**64); got {given.dtype} of shape {given.shape}"
        )
    return given.astype(np.uint64)
