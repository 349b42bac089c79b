"""The sum of ratios of one support by plain least squares, for checks of what the fast code certifies."""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.regression.columns import Columns
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["PlainCompatibilities", "PlainCompatibility", "plain_compatibility"]

# Distances below this fraction of a column's norm are rounding.
_NEGLIGIBLE = 1e-11
# Columns that come closer to others than this fraction of their norm depend on them, for all that rounding can tell.
_DEPENDENT = 1e-13
# A support with a column this close to the others, relative to its norm, has no reliable distances.
_ILL_CONDITIONED = 1e-12
# Supports with singular values (of normalised columns) above this need no care: one pseudo-inverse serves all columns.
_HARMLESS = 1e-6
# Singular values of anchors above this are directions of their span for everyone.
_SURELY_INDEPENDENT = 1e-8
# Unit vectors that agree to this differ by rounding: anchors count as dependent below 1e-11.
_ROUNDED = 1e-10
# Columns that are gathered together.
_CHUNK = 256
# Rounding of a residual, relative to the norm of its column.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class PlainCompatibility:
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


class PlainCompatibilities:
    """Sums of ratios of many supports for the same anchors.

    Parameters
    ----------
    columns : Columns
        Design.
    anchors : ndarray of int
        The anchors.

    Attributes
    ----------
    basis : ndarray of shape (n_samples, rank)
        Orthonormal basis of what the projection leaves of the anchors, from singular values.
    """

    def __init__(self, columns: Columns, anchors: IndexArray) -> None:
        self.columns = columns
        raw = columns.raw(anchors)
        self._anchors = raw / np.maximum(np.linalg.norm(raw, axis=0), np.finfo(np.float64).tiny)
        left, values, _ = np.linalg.svd(_unit(columns.project(self._anchors)), full_matrices=False)
        relative = values / values.max(initial=np.finfo(np.float64).tiny)
        self.basis = left[:, relative > _DEPENDENT]
        self._surely = int(np.count_nonzero(relative > _SURELY_INDEPENDENT))

    def spanned_by(self, Q: Float64Array) -> bool:
        """Whether a basis is orthonormal and spans the anchors and what is in every model, and nothing else."""
        always = np.empty((Q.shape[0], 0)) if self.columns.basis is None else self.columns.basis
        rank = Q.shape[1] - always.shape[1]
        if Q.shape[0] != self.basis.shape[0] or not self._surely <= rank <= self.basis.shape[1]:
            return False
        square = Q.T @ Q - np.eye(Q.shape[1])
        given = np.hstack([always, self._anchors])
        outside = np.linalg.norm(given - Q @ (Q.T @ given), axis=0)
        # `<` on both, so that NaN does not pass.
        return bool(np.abs(square).max(initial=0.0) < _ROUNDED and outside.max(initial=0.0) < _ROUNDED)

    def of(self, supports: IndexArray) -> list[PlainCompatibility]:
        """Return the sums of ratios of some supports, shape (count, n_nonzero)."""
        if 0 in supports.shape:
            return [PlainCompatibility(0.0, 0.0)] * len(supports)
        parts = np.array_split(supports, max(1, supports.size // _CHUNK))
        return [compatibility for part in parts for compatibility in self._few(part)]

    def _few(self, supports: IndexArray) -> list[PlainCompatibility]:
        raw = self.columns.raw(supports.ravel())
        own = self.columns.project(raw) / np.linalg.norm(raw, axis=0)
        left = own
        for _ in range(2):
            left = left - self.basis @ (self.basis.T @ left)
        far = np.linalg.norm(left, axis=0).reshape(supports.shape)
        far[far <= _NEGLIGIBLE] = 0.0
        stacked = own.reshape(own.shape[0], *supports.shape).transpose(1, 0, 2)
        least = np.linalg.svd(
            _unit(own).reshape(stacked.shape[1], *supports.shape).transpose(1, 0, 2), compute_uv=False
        )
        easy = (least.min(axis=1) > _HARMLESS) & (supports.shape[1] <= own.shape[0])
        near = np.ones(supports.shape)
        near[easy] = 1.0 / np.linalg.norm(np.linalg.pinv(stacked[easy]), axis=2)
        everything = list(range(supports.shape[1]))
        return [
            _compatibility(far[i], everything, near[i])
            if easy[i]
            else _compatibility(far[i], *_own_distances(stacked[i]))
            for i in range(len(supports))
        ]


def _compatibility(far: Float64Array, kept: list[int], near: Float64Array) -> PlainCompatibility:
    ratios = far[kept] / near
    closest = min([*near, *far[far > 0]], default=1.0)
    reliable = closest > 1e3 * _ROUNDING and not np.delete(far, kept).any()
    hopeless = ratios.any() and near.min() < _ILL_CONDITIONED
    return PlainCompatibility(
        math.inf if hopeless else float(ratios.sum()), 1e-9 + _ROUNDING / closest if reliable else math.inf
    )


def plain_compatibility(columns: Columns, support: IndexArray, anchors: IndexArray) -> PlainCompatibility:
    """Return the sum of ratios of a support from least-squares problems.

    Parameters
    ----------
    columns : Columns
        Design.
    support, anchors : ndarray of int
        Columns of the support and of the anchors.

    Returns
    -------
    PlainCompatibility

    Notes
    -----
    Slow on purpose: nothing but ``numpy.linalg`` is used.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    >>> round(plain_compatibility(Columns(X), np.array([0, 1]), np.array([2])).value, 4)
    2.639
    """
    return PlainCompatibilities(columns, anchors).of(np.atleast_2d(support))[0]


def _own_distances(own: Float64Array) -> tuple[list[int], Float64Array]:
    """Return independent columns of a support, and the distance of each to the span of the others."""
    kept = _independent(own)
    return kept, np.array([_distance(own[:, i], own[:, [j for j in kept if j != i]]) for i in kept])


def _unit(columns: Float64Array) -> Float64Array:
    norms = np.linalg.norm(columns, axis=0)
    return np.asarray(columns / np.where(norms > 0, norms, 1.0))


def _distance(column: Float64Array, others: Float64Array) -> float:
    scaled = _unit(others)
    left = column - scaled @ np.linalg.lstsq(scaled, column, rcond=_DEPENDENT)[0]
    return float(np.linalg.norm(left))


def _independent(unit: Float64Array) -> list[int]:
    """Choose columns greedily, always the one that is farthest from those chosen, until all others depend on them."""
    kept: list[int] = []
    while len(kept) < unit.shape[1]:
        left = [0.0 if i in kept else _distance(unit[:, i], unit[:, kept]) for i in range(unit.shape[1])]
        farthest = int(np.argmax(left))
        if left[farthest] <= _DEPENDENT:
            break
        kept.append(farthest)
    return kept
