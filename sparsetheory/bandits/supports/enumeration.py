"""All supports of a given size, one by one or as one array."""

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np

from sparsetheory.constraints import COUNT, Integer
from sparsetheory.typing import IndexArray

__all__ = ["MAX_SUPPORTS", "all_supports", "checked_size", "iter_supports"]

# A search that goes through more supports than this should not start by accident.
MAX_SUPPORTS = 2_000_000


def iter_supports(d: int, s: int) -> Iterator[tuple[int, ...]]:
    """Return an iterator over all sets of s out of d features, in lexicographic order.

    Parameters
    ----------
    d : int
        Number of features.
    s : int
        Size of a support, from 1 to d.

    Returns
    -------
    iterator of tuples of s increasing ints
        ``C(d, s)`` of them; takes O(s) memory and O(s) time each.

    Raises
    ------
    ValueError
        If s is below 1 or above d.

    Examples
    --------
    >>> list(iter_supports(3, 2))
    [(0, 1), (0, 2), (1, 2)]
    """
    d, s = _sizes(d, s)
    return combinations(range(d), s)


def all_supports(d: int, s: int, max_supports: int = MAX_SUPPORTS) -> IndexArray:
    """Return all sets of s out of d features, in lexicographic order.

    Parameters
    ----------
    d : int
        Number of features.
    s : int
        Size of a support, from 1 to d.
    max_supports : int
        Most supports that may be listed.

    Returns
    -------
    ndarray of int, of shape (C(d, s), s)
        Increasing in each row. Takes O(s C(d, s)) time in s passes over whole arrays.

    Raises
    ------
    ValueError
        If s is below 1 or above d, or there are more than `max_supports`.

    Examples
    --------
    >>> all_supports(3, 2).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    d, s = _sizes(d, s)
    most = COUNT.check("max_supports", max_supports)
    count = comb(d, s)
    if count > most:
        raise ValueError(
            f"max_supports must be at least the number of supports, C({d}, {s}) = {count}; got {most}. "
            "Screen features first, or choose a smaller n_nonzero"
        )
    # Beginnings of length k that can be completed end below d - s + k. Each grows by all larger features.
    listed = np.arange(d - s + 1, dtype=np.intp)[:, None]
    for k in range(1, s):
        last = listed[:, -1]
        children = d - s + k - last
        first = np.cumsum(children) - children
        added = np.arange(children.sum(), dtype=np.intp) + np.repeat(last + 1 - first, children)
        listed = np.column_stack([np.repeat(listed, children, axis=0), added])
    return listed


def checked_size(n_nonzero: int, d: int) -> int:
    """Return a number of non-zero coefficients that is at most the number of features."""
    if n_nonzero > d:
        raise ValueError(f"n_nonzero must be at most the number of features, {d}; got {n_nonzero}")
    return n_nonzero


def _sizes(d: int, s: int) -> tuple[int, int]:
    d = COUNT.check("d", d)
    return d, Integer(1, d).check("s", s)
