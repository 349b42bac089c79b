"""A design as certificates read it: NumPy and SciPy only, nothing that a solver uses."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils import check_X_y

from sparsetheory.ranges import require_squares
from sparsetheory.regression.columns import canonical, refuse_half
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.regression.row_weights import check_row_weights
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["PlainDesign", "check_fitted_data"]

_BLOCK_ENTRIES = 1 << 19
_EPS = float(np.finfo(np.float64).eps)


def check_fitted_data(
    X: Any, y: ArrayLike, sample_weight: ArrayLike | None, n_features: int, *, fit_intercept: bool
) -> tuple["PlainDesign", Float64Array]:
    """Validate what a certificate is checked on, as `fit` does.

    Parameters
    ----------
    X, y, sample_weight
        What `fit` took.
    n_features : int
        Number of columns at the fit.
    fit_intercept : bool
        Whether columns and response are seen without their means.

    Returns
    -------
    design : PlainDesign
    y : ndarray of shape (n_samples,)
        Response in double precision.

    Raises
    ------
    ValueError
        For what `fit` refuses, and for another number of features.
    """
    refuse_half(X)
    X, y = check_X_y(X, y, accept_sparse="csc", dtype=[np.float64, np.float32], y_numeric=True)
    if X.shape[1] != n_features:
        raise ValueError(f"X has {X.shape[1]} features, but the certificate is expecting {n_features} features")
    target = np.asarray(y, dtype=np.float64)
    require_squares("y", target, each_column=True)
    weights = np.ones(target.size)
    if sample_weight is not None:
        weights = check_row_weights(sample_weight, X)[0] ** 2
    return PlainDesign(canonical(X), weights / weights.sum(), centred=fit_intercept), target


class PlainDesign:
    """Products with the columns of a design under row weights, in double precision.

    Parameters
    ----------
    X : ndarray or CSC matrix of shape (n_samples, n_features)
        Finite.
    weights : ndarray of shape (n_samples,)
        Row weights that sum to one.
    centred : bool
        Whether columns are seen without their weighted means.

    Attributes
    ----------
    centres : ndarray of shape (n_features,)
        What is taken off each column before anything else: its mean, to rounding, if it is stored in full, else zero.
        The subtraction is exact, so that columns with large means keep their digits.
    """

    def __init__(self, X: Any, weights: Float64Array, *, centred: bool) -> None:
        self.X = X
        self.weights = weights
        self.known_squares: Float64Array | None = None
        self.centred = centred
        self.n_samples, self.n_features = X.shape
        self.is_sparse = sparse.issparse(X)
        self.means = self._transposed(weights) if centred else np.zeros(self.n_features)
        full = np.diff(X.indptr) == self.n_samples if self.is_sparse else np.ones(self.n_features, dtype=bool)
        self.centres = np.where(full, self.means, 0.0)

    @classmethod
    def of_fit(cls, X: Any, data: LeastSquaresData) -> "PlainDesign":
        """Return a validated design under the row weights of a fit; squares that the fit has are not computed again."""
        weights = np.ones(X.shape[0]) if data.roots is None else data.roots**2
        design = cls(X, weights / weights.sum(), centred=data.fit_intercept)
        if data.roots is None:
            design.known_squares = data.columns.raw_squares() / X.shape[0]
        return design

    def _transposed(self, vector: Float64Array) -> Float64Array:
        if self.is_sparse or self.X.dtype == np.float64:
            return np.asarray(self.X.T @ vector, dtype=np.float64)
        out = np.empty(self.n_features)
        for block in self.blocks(np.arange(self.n_features)):
            out[block] = self.X[:, block].astype(np.float64).T @ vector
        return out

    def blocks(self, indices: IndexArray) -> Iterator[IndexArray]:
        """Cut indices into ranges whose columns fit the cache."""
        width = max(1, _BLOCK_ENTRIES // max(self.n_samples, 1))
        for start in range(0, indices.size, width):
            yield indices[start : start + width]

    def columns(self, indices: IndexArray) -> Float64Array:
        """Return some columns less their centres, dense."""
        chosen = self.X[:, indices]
        dense = chosen.toarray() if self.is_sparse else np.asarray(chosen)
        return np.asarray(dense.astype(np.float64) - self.centres[indices])

    def centred_columns(self, indices: IndexArray) -> Float64Array:
        """Return some columns less their means, if a constant is fitted."""
        columns = self.columns(indices)
        return columns - self.weights @ columns if self.centred else columns

    def apply(self, indices: IndexArray, values: Float64Array) -> Float64Array:
        """Return the combination of some columns less their centres."""
        total = np.zeros(self.n_samples)
        for block in self.blocks(np.arange(indices.size)):
            total += self.columns(indices[block]) @ values[block]
        return total

    def raw_squares(self) -> Float64Array:
        """Return the weighted mean squares of the columns as they are."""
        if self.known_squares is not None:
            return self.known_squares
        if self.is_sparse:
            squares = self.X.data.astype(np.float64) ** 2 * self.weights[self.X.indices]
            sums = np.add.reduceat(np.append(squares, 0.0), self.X.indptr[:-1])
            return np.where(np.diff(self.X.indptr) > 0, sums, 0.0)
        out = np.empty(self.n_features)
        for block in self.blocks(np.arange(self.n_features)):
            columns = self.X[:, block].astype(np.float64)
            out[block] = self.weights @ columns**2
        return out

    def centred_squares(self) -> Float64Array:
        """Return the weighted mean squares of the columns less their means; zero where these are rounding."""
        raw = self.raw_squares()
        if not self.centred:
            return raw
        left = np.maximum(raw - self.means**2, 0.0)
        for block in self.blocks(np.flatnonzero(left < 1e-6 * raw)):
            left[block] = self.weights @ self.centred_columns(block) ** 2
        return np.where(left > (4 * _EPS) ** 2 * raw, left, 0.0)

    def gradient(self, residual: Float64Array, squares: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the weighted products of all columns with a residual without mean, and how far rounding moves them.

        Parameters
        ----------
        residual : ndarray of shape (n_samples,)
            Of weighted mean zero if columns are centred.
        squares : ndarray of shape (n_features,)
            :meth:`centred_squares`.
        """
        pulled = self.weights * residual
        size = 4 * _EPS * self.n_samples**0.5 * float(np.sqrt(self.weights @ residual**2))
        total = self._transposed(pulled)
        far = (np.abs(self.centres) > 10 * np.sqrt(squares)) & (squares > 0)
        for block in self.blocks(np.flatnonzero(far)):
            total[block] = self.columns(block).T @ pulled
        noise = size * np.sqrt(squares + np.where(far, 0.0, self.means**2))
        return np.where(squares > 0, total, 0.0), noise
