"""A fitted support seen by plain least squares: what certificates of selected features are recomputed from."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.typing import BoolArray, Float64Array, FloatArray, IndexArray

__all__ = ["PlainSupport", "dense", "dense_blocks", "inner", "plain_supports"]

# Columns are made dense in blocks of about this many entries.
_BLOCK_ENTRIES = 1 << 20


class PlainSupport:
    """One response, its design and the coefficients of one model, with NumPy alone.

    Parameters
    ----------
    data : LeastSquaresData
        Validated data. Only the rows, scaled by the roots of their weights, are used: nothing that was projected.
    y : ndarray of shape (n_samples,)
        Response, rows scaled.
    coef : ndarray of shape (n_features,)
        Coefficients in the precision in which the model predicts.
    intercept : float
        Constant.
    forced : ndarray of int
        Features that are in the model whatever their coefficients.

    Attributes
    ----------
    support : ndarray of int, shape (n_selected,)
        Features of the model: forced, or with coefficients that are not zero.
    residual : ndarray of shape (n_samples,)
        What the model leaves of the response.
    scale : float
        Norm of the response.
    terms, sizes : float
        Sums of the norms of the response and of all terms of the model, about their means and as they are: what is
        relative to normalised columns is a multiple of the first, rounding of the residual of the second.
    """

    def __init__(
        self, data: LeastSquaresData, y: Float64Array, coef: FloatArray, intercept: float, forced: IndexArray
    ) -> None:
        self.X, self.y, self.forced = data.columns.X, y, forced
        self.n_samples, self.n_features = self.X.shape
        self.constant = _constant(data)
        self.live = np.asarray(data.columns.live_squares() > 0)
        self.coef = coef.astype(np.float64)
        self.support = np.union1d(np.flatnonzero(self.coef), forced).astype(np.intp)
        raw = self.raw(self.support)
        self.unit, self.norms = self.normalised(raw)
        rows = np.ones(self.n_samples) if data.roots is None else data.roots
        values = self.coef[self.support]
        # Rows that have weights come without the means of their columns.
        shifts = np.zeros(values.size) if data.shift is None else data.shift[self.support] * values
        self.residual = y - raw @ values - (intercept + shifts.sum()) * rows
        self.scale = float(np.linalg.norm(y))
        self.terms = self.scale + float(self.norms @ np.abs(values))
        constants = (abs(intercept) + np.abs(shifts).sum()) * np.linalg.norm(rows)
        self.sizes = self.scale + float(np.linalg.norm(raw, axis=0) @ np.abs(values) + constants)

    @property
    def rss(self) -> float:
        """Residual sum of squares."""
        return float(self.residual @ self.residual)

    @property
    def outside(self) -> BoolArray:
        """Which features are not in the model and could be: those that are more than a constant."""
        free = self.live.copy()
        free[self.support] = False
        return free

    @property
    def unit_coef(self) -> Float64Array:
        """Coefficients of the unit columns of the support."""
        return np.asarray(self.coef[self.support] * self.norms)

    def raw(self, features: IndexArray) -> Float64Array:
        """Return columns as they are, dense, in double precision."""
        return dense(self.X, features)

    def centred(self, columns: Float64Array) -> Float64Array:
        """Return columns without their constant part; twice, since the first time cancels digits."""
        if self.constant is None:
            return columns
        for _ in range(2):
            columns = columns - np.multiply.outer(self.constant, self.constant @ columns)
        return columns

    def unit_blocks(self) -> Iterator[tuple[IndexArray, Float64Array]]:
        """Yield the places and the unit centred columns of all features that are more than a constant."""
        for places, columns in dense_blocks(self.X):
            live = self.live[places]
            if live.any():
                yield places[live], self.normalised(columns[:, live])[0]

    def correlations(self, vectors: Float64Array) -> Float64Array:
        """Return the inner products of all unit columns with some vectors; zero for constant columns."""
        found = np.zeros((self.n_features, *vectors.shape[1:]))
        for places, unit in self.unit_blocks():
            found[places] = unit.T @ vectors
        return found

    def violation(self, ridge: float) -> float:
        """Return the largest derivative of ``rss / 2 + ridge * |b|^2`` by coefficients of unit columns or constant."""
        inner = np.abs(self.unit.T @ self.residual - 2 * ridge * self.unit_coef)
        constant = 0.0 if self.constant is None else abs(float(self.constant @ self.residual))
        return float(np.max(np.append(inner, constant)))

    def least_rss(self, features: IndexArray) -> float:
        """Return the residual sum of squares of least squares on some features, by singular values."""
        unit = self.normalised(self.raw(features))[0]
        target = self.centred(self.y)
        left = target - unit @ np.linalg.lstsq(unit, target, rcond=1e-13)[0]
        return float(left @ left)

    def removal_costs(self) -> tuple[Float64Array, float]:
        """Return by how much each feature's loss raises the refitted residual sum of squares, and the condition."""
        dual = np.linalg.pinv(self.unit, rcond=1e-13)
        condition = float(np.linalg.norm(dual) * np.linalg.norm(self.unit))
        return np.asarray((dual @ self.y) ** 2 / np.einsum("ij,ij->i", dual, dual)), condition

    def normalised(self, raw: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return columns without their constant part and at unit norm, and their norms."""
        columns = self.centred(raw)
        norms = np.linalg.norm(columns, axis=0)
        return columns / np.where(norms > 0, norms, 1.0), norms


def plain_supports(data: LeastSquaresData, coef: FloatArray, intercept: Any, forced: IndexArray) -> list[PlainSupport]:
    """Return one :class:`PlainSupport` for each target of a model."""
    targets = data.raw_y.T if data.raw_y.ndim == 2 else data.raw_y[None]
    rows = zip(targets, np.atleast_2d(coef), np.atleast_1d(intercept), strict=True)
    return [PlainSupport(data, y, own, float(constant), forced) for y, own, constant in rows]


def dense(X: Any, features: IndexArray) -> Float64Array:
    """Return some columns of a design, dense, in double precision."""
    chosen = X[:, features]
    return np.asarray(chosen.toarray() if sparse.issparse(chosen) else chosen, dtype=np.float64)


def dense_blocks(X: Any) -> Iterator[tuple[IndexArray, Float64Array]]:
    """Yield places and dense columns of a design, few at a time."""
    width = max(1, _BLOCK_ENTRIES // X.shape[0])
    for start in range(0, X.shape[1], width):
        places = np.arange(start, min(start + width, X.shape[1]))
        yield places, dense(X, places)


def inner(X: Any, vector: Float64Array) -> Float64Array:
    """Return the inner products of all columns of a design with a vector, in double precision."""
    if sparse.issparse(X) or X.dtype == np.float64:
        return np.asarray(X.T @ vector, dtype=np.float64)
    return np.concatenate([columns.T @ vector for _, columns in dense_blocks(X)])


def _constant(data: LeastSquaresData) -> Float64Array | None:
    if not data.fit_intercept:
        return None
    rows = np.ones(data.n_samples) if data.roots is None else data.roots
    return np.asarray(rows / np.linalg.norm(rows))
