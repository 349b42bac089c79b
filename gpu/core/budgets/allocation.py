"""One budget over many rows: how many entries each keeps, from what its entries cost when they go one after the other.

A row here is anything whose parts are removed in an order of its own: a row of weights, a layer, the heads of an
attention. Its trace says by how much the error rises with each removal. The best split of a budget over arbitrary
traces is a knapsack problem; over convex ones the cheapest next removal is always right. So each cumulative trace is
replaced by its lower convex hull. The split is optimal for the hulls, and its cost differs from theirs only for the row
that the budget stops in, because hull and trace agree wherever a row stops at a corner of its hull.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from sparsetheory.constraints import Integer
from sparsetheory.typing import Float64Array

__all__ = ["allocate", "finite_sequence", "lower_hull"]


def lower_hull(costs: Any) -> Float64Array:
    """Return the largest convex sequence that is nowhere above the costs.

    Its increments are the isotonic regression of the increments of the costs [1]_. O(n).

    Parameters
    ----------
    costs : array-like of shape (n,)
        Cost after 0, 1, 2, ... removals; finite.

    Returns
    -------
    ndarray of shape (n,)
        Float64; equal to `costs` at the corners of the hull, at the first and at the last entry.

    Raises
    ------
    ValueError
        If the costs are not a finite sequence of at least one number.

    References
    ----------
    .. [1] R. E. Barlow, D. J. Bartholomew, J. M. Bremner, H. D. Brunk, "Statistical inference under order
       restrictions", 1972.

    Examples
    --------
    >>> lower_hull([0.0, 3.0, 4.0, 9.0]).tolist()
    [0.0, 2.0, 4.0, 9.0]
    """
    costs = finite_sequence("costs", costs)
    if costs.size == 0:
        raise ValueError("costs must hold at least one number; got none")
    return np.concatenate([costs[:1], costs[0] + np.cumsum(_convex(np.diff(costs)))])


def allocate(increments: Iterable[Any], total: int) -> tuple[int, ...]:
    """Return how many entries each row keeps, so that all keep `total` and the sum of the hulls is least.

    Parameters
    ----------
    increments : iterable of array-like
        For each row by how much its cost rises with the first, second, ... removal, down to no entry; a row of n
        entries has n increments. Rows may differ in length.
    total : int
        Entries to keep together.

    Returns
    -------
    tuple of int
        Entries that each row keeps; ``PerRow(n_nonzero=...)`` takes it as it is. Where increments of hulls tie, the
        first rows keep more.

    Raises
    ------
    ValueError
        If an increment is not finite, or there are fewer entries than `total`.

    Notes
    -----
    Sorting the increments of all rows without hulls is what OBC [1]_ does.

    References
    ----------
    .. [1] E. Frantar, S. P. Singh, D. Alistarh, "Optimal brain compression", NeurIPS 2022, arXiv:2208.11580.

    Examples
    --------
    >>> allocate([[1.0, 5.0], [2.0, 3.0]], 2)
    (1, 1)
    >>> allocate([[4.0, 0.0], [3.0, 9.0]], 2)
    (0, 2)
    """
    rows = [_convex(finite_sequence(f"increments[{i}]", row)) for i, row in enumerate(increments)]
    lengths = np.array([row.size for row in rows], dtype=np.int64)
    removed = int(lengths.sum()) - Integer(0, int(lengths.sum())).check("total", total)
    if removed == 0:
        return tuple(lengths.tolist())
    cut = np.partition(np.concatenate(rows), removed - 1)[removed - 1]
    # Increments of a hull never fall, so what lies below the cut are the first removals of a row.
    below = np.array([np.searchsorted(row, cut, "left") for row in rows])
    ties = np.array([np.searchsorted(row, cut, "right") for row in rows]) - below
    left, last_first = removed - int(below.sum()), ties[::-1]
    taken = np.clip(left - (np.cumsum(last_first) - last_first), 0, last_first)[::-1]
    return tuple((lengths - below - taken).tolist())


def _convex(increments: Float64Array) -> Float64Array:
    """Return the increments of the hull."""
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(increments).x) if increments.size else increments


def finite_sequence(name: str, values: Any) -> Float64Array:
    """Return finite numbers as an array of float64 of shape (n,); errors call them `name`.

    Raises
    ------
    ValueError
        If they are no sequence, or a number is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a finite sequence of numbers; got {array!r:.200}")
    return array
