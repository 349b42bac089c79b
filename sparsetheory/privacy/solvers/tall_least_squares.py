"""Least squares on many rows, in one pass of QR factorisations over blocks of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike
from scipy import sparse

from sparsetheory.arrays import non_negative_weights
from sparsetheory.typing import Float64Array

__all__ = ["TallLeastSquares", "dense_blocks", "row_weights", "tall_least_squares"]

# Numbers that are made dense at once; a block has at least twice as many rows as columns.
_NUMBERS = 2**20
# Directions of normalised columns that are weaker than this, relative to the strongest, make least squares arbitrary.
_RANK = 1e-11


@dataclass(frozen=True, eq=False)
class TallLeastSquares:
    """Least squares with at least one row more than there are coefficients.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
        Coefficients.
    means : ndarray of shape (n_features,)
        Weighted means of the features; zeros without an intercept.
    mean_response : float
        Weighted mean of the response; zero without an intercept.
    spreads : ndarray of shape (n_features,)
        Root mean squares of the features about these means.
    unit_std : ndarray of shape (n_features,)
        Standard deviations of the coefficients for noise of standard deviation one.
    rss : float
        Weighted sum of squared residuals.
    """

    coef: Float64Array
    means: Float64Array
    mean_response: float
    spreads: Float64Array
    unit_std: Float64Array
    rss: float


def dense_blocks(X: Any, *others: Float64Array) -> Iterator[tuple[Float64Array, ...]]:
    """Yield blocks of rows in double precision, dense, with the same rows of other arrays."""
    step = max(2 * X.shape[1] + 2, _NUMBERS // max(X.shape[1], 1))
    for start in range(0, X.shape[0], step):
        rows = X[start : start + step]
        dense = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
        yield dense.astype(np.float64, copy=False), *(other[start : start + step] for other in others)


def row_weights(sample_weight: ArrayLike | None, X: Any) -> Float64Array:
    """Return how often each row counts: once without weights."""
    return np.ones(X.shape[0]) if sample_weight is None else non_negative_weights(sample_weight, X)


def tall_least_squares(X: Any, y: Float64Array, weights: Float64Array, *, fit_intercept: bool) -> TallLeastSquares:
    """Return least squares, with the law of its errors.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Design; finite, with squares in range.
    y : ndarray of shape (n_samples,)
        Response.
    weights : ndarray of shape (n_samples,)
        Non-negative; a row counts as often as its weight says.
    fit_intercept : bool
        Whether a constant is fitted.

    Returns
    -------
    TallLeastSquares
        In O(n d^2) time, and memory for one block of rows.

    Raises
    ------
    ValueError
        If the columns, with the constant, are not independent.

    Notes
    -----
    Means are taken off first and columns are normalised, so that neither large means nor units cost digits. The
    triangular factor of all rows is that of the factor of the first ones with the others below it: no squares are
    formed, so that the result is as good as the condition number of the columns, and not as its square.
    """
    n_features, total = X.shape[1], float(weights.sum())
    means, mean_response = np.zeros(n_features), 0.0
    if fit_intercept:
        means = np.sum([w @ rows for rows, w in dense_blocks(X, weights)], axis=0) / total
        mean_response = float(weights @ y) / total
    squares = np.sum([w @ (rows - means) ** 2 for rows, w in dense_blocks(X, weights)], axis=0)
    spreads = np.sqrt(squares / total)
    response_spread = float(np.sqrt(weights @ (y - mean_response) ** 2 / total)) or 1.0
    if not np.all(spreads > 0):
        raise ValueError(f"X must have independent columns; got column {int(np.argmin(spreads))}, which is constant")
    factor = np.zeros((0, n_features + fit_intercept + 1))
    for rows, response, w in dense_blocks(X, y, weights):
        parts = [(rows - means) / spreads, ((response - mean_response) / response_spread)[:, None]]
        table = np.hstack([np.ones((len(rows), int(fit_intercept))), *parts]) * np.sqrt(w)[:, None]
        factor = scipy.linalg.qr(np.vstack([factor, table]), mode="r", check_finite=False)[0][: factor.shape[1]]
    design, target = factor[:-1, :-1], factor[:-1, -1]
    left, values, right = np.linalg.svd(design)
    if values[-1] <= _RANK * values[0]:
        raise ValueError(
            "X must have independent columns; got singular values of normalised columns with a ratio of "
            f"{values[-1] / values[0]:.1e}"
        )
    solved = right.T @ ((left.T @ target) / values)
    spread_of = np.sqrt(np.sum((right / values[:, None]) ** 2, axis=0))
    kept = slice(int(fit_intercept), None)
    return TallLeastSquares(
        solved[kept] * response_spread / spreads,
        means,
        mean_response + (float(solved[0]) * response_spread if fit_intercept else 0.0),
        spreads,
        spread_of[kept] / spreads,
        float(factor[-1, -1] * response_spread) ** 2,
    )
