"""The sum of ratios of one support by plain least squares, for checks of what the fast code certifies."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsetheory.regression.columns import Columns

__all__ = ["PlainGauge", "plain_gauge"]

_Array = NDArray[np.float64]
# Distances below this share of a column's norm are rounding.
_NEGLIGIBLE = 1e-11
# Columns that come closer to others than this share of their norm depend on them, for all that rounding can tell.
_DEPENDENT = 1e-13
# A support with a column this close to the others, relative to its norm, has no reliable distances.
_ILL_CONDITIONED = 1e-12
# Rounding of a residual, relative to the norm of its column.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class PlainGauge:
    """A sum of ratios and how far rounding may have moved it.

    Attributes
    ----------
    value : float
        Sum of ratios; infinite if the columns are too nearly dependent to tell.
    uncertainty : float
        Relative; infinite where another computation may well differ: near rounding, and where columns depend on each
        other, since it may keep others of them.
    """

    value: float
    uncertainty: float

    def agrees(self, other: float) -> bool:
        """Whether another computation of the same sum differs by rounding only; true where nothing can be said."""
        return math.isinf(self.uncertainty) or abs(self.value - other) <= self.uncertainty * max(self.value, other)

    def exceeds(self, limit: float) -> bool:
        """Whether the sum is above a limit by more than rounding, as far as that is known."""
        return self.value > limit * (1 + min(self.uncertainty, 1e-3))


def plain_gauge(columns: Columns, support: NDArray[np.intp], anchors: NDArray[np.intp]) -> PlainGauge:
    """Return the sum of ratios of a support from one least-squares problem per column.

    Parameters
    ----------
    columns : Columns
        Design.
    support, anchors : ndarray of int
        Columns of the support and of the anchors.

    Returns
    -------
    PlainGauge

    Notes
    -----
    O(N k^2 (k + m)), by singular values. Slow on purpose: nothing but ``numpy.linalg.lstsq`` is used.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    >>> round(plain_gauge(Columns(X), np.array([0, 1]), np.array([2])).value, 4)
    2.639
    """
    lengths = np.linalg.norm(columns.raw(support), axis=0)
    own = columns.take(support) / lengths
    span = columns.take(anchors)
    far = np.array([_distance(column, span) for column in own.T])
    far[far <= _NEGLIGIBLE] = 0.0
    kept = _independent(own)
    near = np.array([_distance(own[:, i], own[:, [j for j in kept if j != i]]) for i in kept])
    ratios = far[kept] / near
    closest = min([*near, *far[far > 0]], default=1.0)
    reliable = closest > 1e3 * _ROUNDING and not far[np.setdiff1d(np.arange(support.size), kept)].any()
    hopeless = ratios.any() and near.min() < _ILL_CONDITIONED
    return PlainGauge(
        math.inf if hopeless else float(ratios.sum()), 1e-9 + _ROUNDING / closest if reliable else math.inf
    )


def _distance(column: _Array, others: _Array) -> float:
    norms = np.linalg.norm(others, axis=0)
    scaled = others / np.where(norms > 0, norms, 1.0)
    left = column - scaled @ np.linalg.lstsq(scaled, column, rcond=_DEPENDENT)[0]
    return float(np.linalg.norm(left))


def _independent(unit: _Array) -> list[int]:
    """Choose columns greedily, always the one that is farthest from those chosen, until all others depend on them."""
    kept: list[int] = []
    while len(kept) < unit.shape[1]:
        left = [0.0 if i in kept else _distance(unit[:, i], unit[:, kept]) for i in range(unit.shape[1])]
        farthest = int(np.argmax(left))
        if left[farthest] <= _DEPENDENT:
            break
        kept.append(farthest)
    return kept
