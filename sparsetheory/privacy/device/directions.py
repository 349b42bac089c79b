"""Public directions: numbers that a device and the server expand from a public seed and the number of the user.

The generator is Philox4x64-10 (Salmon, Moraes, Dror, Shaw, 2011), as in NumPy. Its key is the public seed of 128 bits.
The counter of the first block is ``(1, stream, user, 0)``, and the first word counts blocks of four words. One user's
numbers do not depend on those of another, and nothing has to be drawn in order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .quantised_normal import DIRECTION_BITS, normal_table

__all__ = ["public_index", "public_normals", "public_words"]


def public_words(public_seed: int, user: int, count: int, stream: int = 0) -> NDArray[np.uint64]:
    """Return words of 64 bits that anyone can recompute.

    Parameters
    ----------
    public_seed : int
        Seed of the collection, in [0, 2^128).
    user : int
        Number of the user, in [0, 2^64).
    count : int
        Number of words.
    stream : int
        Tells several messages of one user apart.

    Returns
    -------
    ndarray of uint64, of shape (count,)

    Examples
    --------
    >>> [hex(word) for word in public_words(7, 42, 2).tolist()]
    ['0x...', '0x...']
    """
    # NumPy counts before it generates, so its first block is that of the counter plus one.
    counter: Any = np.array([0, stream, user, 0], dtype=np.uint64)
    key: Any = np.array([public_seed & (2**64 - 1), public_seed >> 64], dtype=np.uint64)
    return np.random.Philox(counter=counter, key=key).random_raw(count)


def public_normals(public_seed: int, user: int, count: int, stream: int = 0) -> NDArray[np.int64]:
    """Return odd integers, normal with standard deviation 4096.

    Parameters
    ----------
    public_seed, user, count, stream
        As in :func:`public_words`. Every word gives two numbers, its lower half first.

    Returns
    -------
    ndarray of int64, of shape (count,)
    """
    words = public_words(public_seed, user, (count + 1) // 2, stream).astype("<u8").view("<u4")
    return normal_table(*DIRECTION_BITS).draw(words[:count])


def public_index(word: int, n_values: int) -> int:
    """Return the number in [0, n_values) that a word of 64 bits stands for: the upper half of their product."""
    return int(word) * n_values >> 64
