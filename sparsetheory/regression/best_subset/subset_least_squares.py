"""Least squares on many small supports, in coordinates of the span of all features ever tried."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dgelsy, dgelsy_lwork

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.orthonormal import GrowingColumns, new_directions
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["SubsetLeastSquares", "SupportFit", "inverse_norms", "leading"]

# Unit columns that come closer than this to the span of others depend on them.
_DEPENDENT = 1e-11


def leading(scores: Float64Array, count: int) -> IndexArray:
    """Return the places of the largest positive scores, in descending order; ties go to the first.

    Examples
    --------
    >>> import numpy as np
    >>> leading(np.array([0.5, 2.0, 0.0, 0.5]), 3).tolist()
    [1, 0, 3]
    """
    if count <= 0:
        return np.empty(0, dtype=np.intp)
    places = np.arange(scores.size)
    if count < scores.size:
        least = np.partition(scores, -count)[-count]
        above, ties = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
        places = np.concatenate([above, ties[: count - above.size]])
    places = places[scores[places] > 0]
    return places[np.lexsort((places, -scores[places]))]


def inverse_norms(columns: Columns) -> Float64Array:
    """Return what scales projected columns to unit norm; zero where a column is zero up to rounding."""
    squares = columns.live_squares()
    return np.where(squares > 0, 1.0, 0.0) / np.sqrt(np.where(squares > 0, squares, 1.0))


@dataclass(frozen=True)
class SupportFit:
    """Coefficients on a support and what they leave.

    Attributes
    ----------
    support : ndarray of int, shape (n_selected,)
        Features.
    coef : ndarray of shape (n_selected,)
        Coefficients of their unit columns.
    residual : ndarray of shape (rank,)
        Residual in coordinates of the span of the included columns.
    rss : float
        Squared norm of the residual.
    """

    support: IndexArray
    coef: Float64Array
    residual: Float64Array
    rss: float


class SubsetLeastSquares:
    """Least squares on many small subsets of unit columns, of which few are ever touched.

    The columns included so far are kept as coordinates in an orthonormal basis of their span. A least-squares problem
    on some of them then has as many rows as the basis has columns, whatever the number of samples, and the condition
    number is not squared as it would be by a Gram matrix.

    Parameters
    ----------
    columns : Columns
        Design; what its basis spans is projected out.
    y : ndarray of shape (n_samples,)
        Response, projected alike.

    Attributes
    ----------
    inverse_norms : ndarray of shape (n_features,)
        What scales columns to unit norm; zero where a column is (numerically) zero.
    rank : int
        Dimension of the span of the included columns.
    rest_square : float
        Squared distance of y to the span of the included columns.
    """

    def __init__(self, columns: Columns, y: Float64Array) -> None:
        self.columns = columns
        self.inverse_norms = inverse_norms(columns)
        self.rest_square = float(y @ y)
        self._rest = y
        self._basis = GrowingColumns(np.empty((columns.n_samples, 0)))
        self._place = np.full(columns.n_features, -1, dtype=np.intp)
        self._coordinates = np.empty((0, 0))
        self._target = np.empty(0)

    @property
    def n_features(self) -> int:
        """Number of columns of the design."""
        return self.columns.n_features

    def include(self, features: IndexArray) -> None:
        """Include some features, so that :meth:`fit` may use them; O(n_samples * rank) per new one."""
        new = np.unique(features[self._place[features] < 0])
        if new.size == 0:
            return
        unit = self.columns.take(new) * self.inverse_norms[new]
        old = self._coordinates.shape[0]
        self._append(new_directions(self._span, unit, _DEPENDENT)[0])
        coordinates = np.zeros((old + new.size, self.rank))
        coordinates[:old, : self._coordinates.shape[1]] = self._coordinates
        coordinates[old:] = unit.T @ self._span
        self._coordinates = coordinates
        self._place[new] = np.arange(old, old + new.size)

    @property
    def rank(self) -> int:
        """Dimension of the span of the included columns."""
        return self._basis.size

    @property
    def _span(self) -> Float64Array:
        return self._basis.filled

    def _append(self, directions: Float64Array) -> None:
        """Add directions to the basis, and take their parts off the response."""
        self._basis.append(directions)
        part = directions.T @ self._rest
        self._rest = self._rest - directions @ part
        self._target = np.concatenate([self._target, part])
        self.rest_square = float(self._rest @ self._rest)

    def coordinates(self, support: IndexArray) -> Float64Array:
        """Return included unit columns in the basis, shape (rank, n_selected)."""
        return self._coordinates[self._place[support]].T

    def fit(self, support: IndexArray, ridge: float = 0.0) -> SupportFit:
        """Minimise ``|y - Ub|^2 / 2 + ridge * |b|^2`` over included unit columns U.

        Dependent columns get the solution of minimal norm (complete orthogonal factorisation, relative cut-off 1e-11).
        """
        matrix = self.coordinates(support)
        target = self._target
        if ridge > 0.0:
            target = np.concatenate([target, np.zeros(support.size)])
            matrix = np.vstack([matrix, np.sqrt(2.0 * ridge) * np.eye(support.size)])
        return self.evaluate(support, _minimal_norm(matrix, target))

    def evaluate(self, support: IndexArray, coef: Float64Array) -> SupportFit:
        """Return what given coefficients of included features leave."""
        residual = self._target - self.coordinates(support) @ coef
        return SupportFit(support, coef, residual, float(residual @ residual) + self.rest_square)

    def square_outside(self, support: IndexArray, features: IndexArray, coef: Float64Array) -> float:
        """Return the squared distance of a combination of included columns to the span of others."""
        point, span = self.coordinates(features) @ coef, self.coordinates(support)
        left = point - span @ _minimal_norm(span, point)
        return float(left @ left)

    def correlate(self, fit: SupportFit) -> Float64Array:
        """Return the inner products of all unit columns with the residual of a fit: one pass over the design.

        The fit may be older than the last features included.
        """
        left = np.concatenate([fit.residual, self._target[fit.residual.size :]])
        return self.inverse_norms * self.columns.correlate(self._rest + self._span @ left)

    def gram(self, features: IndexArray) -> Float64Array:
        """Return the inner products of all unit columns with some unit columns, shape (n_features, n_selected)."""
        unit = self.columns.take(features) * self.inverse_norms[features]
        return self.inverse_norms[:, None] * self.columns.correlate(unit)

    def coefficients(self, fit: SupportFit) -> Float64Array:
        """Return the coefficients of the original columns, shape (n_features,)."""
        coef = np.zeros(self.n_features)
        coef[fit.support] = fit.coef * self.inverse_norms[fit.support]
        return coef


def _minimal_norm(matrix: Float64Array, target: Float64Array) -> Float64Array:
    rows, count = matrix.shape
    if count == 0 or rows == 0:
        return np.zeros(count)
    padded = np.zeros((max(rows, count), 1))
    padded[:rows, 0] = target
    work = int(dgelsy_lwork(rows, count, 1, _DEPENDENT)[0])
    pivots = np.zeros((count, 1), dtype=np.int32)
    return np.asarray(dgelsy(matrix, padded, pivots, _DEPENDENT, work)[1][:count, 0])
