"""One step of greedy selection: correlations and squared lengths after a new direction, and the next best column.

Let r be the residual of least squares on the columns selected so far, and u what their span leaves of a column x. Since
r is orthogonal to that span, ``u'r = x'r``, and adding x lowers the residual sum of squares by
what u alone explains of r: ``(x'r)^2 / |u|^2``. After the new unit direction q, both numbers follow from one product
per column: ``x'r`` loses ``(q'r) (q'x)``, and ``|u|^2`` loses ``(q'x)^2``. So a step costs one pass over the design for
``q'x`` and O(n_features) here.
"""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import Float64Array

__all__ = ["advance", "best_column", "warmup"]


@kernel
def best_column(correlations: Float64Array, left: Float64Array, floors: Float64Array) -> tuple[int, float]:
    """Return the column whose own least-squares fit lowers the residual sum of squares most, and by how much.

    Parameters
    ----------
    correlations : ndarray of shape (n_features,)
        Inner products of the columns with the residual.
    left : ndarray of shape (n_features,)
        Squared norms of the columns outside what is already fitted.
    floors : ndarray of shape (n_features,)
        A column competes while its squared norm is above its floor.

    Returns
    -------
    index : int
        The first of the best columns; -1 if none competes.
    score : float
        ``correlations**2 / left`` there; 0 if none competes.
    """
    best, winner = 0.0, -1
    for j in range(correlations.size):
        if left[j] > floors[j]:
            score = correlations[j] * correlations[j] / left[j]
            if score > best:
                best, winner = score, j
    return winner, best


@kernel
def advance(
    correlations: Float64Array, left: Float64Array, floors: Float64Array, inner: Float64Array, coordinate: float
) -> tuple[int, float]:
    """Account for a new fitted direction q and return the next best column, in one pass over the columns.

    Parameters
    ----------
    correlations, left, floors : ndarray of shape (n_features,)
        As in :func:`best_column`; the first two are updated in place.
    inner : ndarray of shape (n_features,)
        Inner products of the columns with the unit vector q.
    coordinate : float
        Inner product of q with the residual, which is removed from it.

    Returns
    -------
    index : int
        As in :func:`best_column`.
    score : float
        As in :func:`best_column`.
    """
    best, winner = 0.0, -1
    for j in range(correlations.size):
        # Both updates are differences and cancel: callers confirm the winner from the column itself.
        projection = inner[j]
        remaining = left[j] - projection * projection
        correlation = correlations[j] - coordinate * projection
        left[j] = max(remaining, 0.0)
        correlations[j] = correlation
        if remaining > floors[j]:
            score = correlation * correlation / remaining
            if score > best:
                best, winner = score, j
    return winner, best


def warmup() -> None:
    """Compile the kernels of this file for their only signatures."""
    one = np.ones(1)
    best_column(one, one, one)
    advance(one.copy(), one.copy(), one, one, 0.5)
