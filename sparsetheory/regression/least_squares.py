"""A regression problem with row weights, an intercept and unpenalised features, reduced to a plain one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, DTypeLike

from sparsetheory.ranges import require_squares
from sparsetheory.regression.columns import Columns, canonical
from sparsetheory.regression.row_weights import check_row_weights, scale_rows, weighted_means
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["LeastSquaresData", "check_indices", "prepare"]

# Directions of the unpenalised part that are weaker than this, relative to its columns, are dropped.
_RCOND = 1e-13
# Entries of a column that differ by no more than this fraction of their size differ by rounding.
_EPS = float(np.finfo(np.float64).eps)
_LAST_DIGITS = 4 * _EPS


@dataclass(frozen=True)
class _FreePart:
    """The unpenalised features, the constant taken off: an orthonormal basis of their span, and coefficients in it.

    Attributes
    ----------
    basis : ndarray of shape (n_samples, rank)
        Orthonormal, orthogonal to the constant if that is fitted.
    inverse : ndarray of shape (n_free, rank)
        Turns coordinates in the basis into coefficients of minimal norm for columns of length one.
    constant : ndarray of shape (n_samples, 1) or None
        Unit vector of the constant.
    """

    basis: Float64Array
    inverse: Float64Array
    constant: Float64Array | None

    @classmethod
    def of(cls, design: Float64Array, fit_intercept: bool, roots: Float64Array | None) -> "_FreePart":
        constant = _constant(design.shape[0], roots) if fit_intercept else None
        if design.shape[1] == 0:
            return cls(np.empty((design.shape[0], 0)), np.empty((0, 0)), constant)
        left = design if constant is None else Columns(design, constant).project(design)
        sizes, norms = np.linalg.norm(design, axis=0), np.linalg.norm(left, axis=0)
        # A column is a direction if it is more than the last digits of its entries, and not in the span of others.
        norms = np.where(norms > _LAST_DIGITS * sizes, norms, 0.0)
        unit = np.where(norms > 0, left, 0.0) / np.where(norms > 0, norms, 1.0)
        pivoted, order = scipy.linalg.qr(unit, mode="r", pivoting=True)
        noise = _LAST_DIGITS * sizes[order] / np.where(norms[order] > 0, norms[order], 1.0)
        pivots = np.abs(np.diagonal(pivoted))
        rank = int(np.cumprod(pivots > np.maximum(_RCOND, noise[: pivots.size])).sum())
        basis = scipy.linalg.svd(unit, full_matrices=False)[0][:, :rank]
        if constant is not None:
            # Weak directions lean towards the constant: their rounding errors were relative to a longer column.
            basis = scipy.linalg.qr(Columns(basis, constant).project(basis), mode="economic")[0]
            basis = Columns(basis, constant).project(basis)
        inverse = np.linalg.pinv(basis.T @ unit, rcond=_EPS) / np.where(norms > 0, norms, 1.0)[:, None]
        return cls(np.asfortranarray(basis), inverse, constant)

    def directions(self) -> Float64Array:
        """Return the whole basis, the constant first."""
        parts = [self.basis] if self.constant is None else [self.constant, self.basis]
        return np.asfortranarray(np.hstack(parts))

    def fit(self, target: Float64Array) -> Float64Array:
        """Return coefficients of minimal norm by least squares; none of what the constant explains up to rounding."""
        if self.constant is not None:
            target = Columns(target[:, None] if target.ndim == 1 else target, self.constant).without_rounding(target)
        return np.asarray(self.inverse @ (self.basis.T @ target))


@dataclass(frozen=True)
class LeastSquaresData:
    """A checked problem from which row weights and all unpenalised parts are projected out.

    Attributes
    ----------
    columns : Columns
        Design with rows scaled by the roots of their weights and the unpenalised part projected out.
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        Response, scaled and projected alike.
    raw_y : ndarray
        Response, scaled only.
    free : ndarray of int
        Unpenalised features.
    free_part : _FreePart
        What least squares needs of them.
    fit_intercept : bool
        Whether a constant column is part of the model.
    roots : ndarray of shape (n_samples,) or None
        Roots of the row weights, scaled to mean one, by which rows were multiplied.
    mean_weight : float
        Mean of the row weights as given: a row counts as often as its weight says.
    shift : ndarray of shape (n_features,) or None
        Constants that were taken off the columns before rows were scaled.
    """

    columns: Columns
    y: Float64Array
    raw_y: Float64Array
    free: IndexArray
    free_part: _FreePart
    fit_intercept: bool
    roots: Float64Array | None = None
    mean_weight: float = 1.0
    shift: Float64Array | None = None

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.columns.n_samples

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.columns.n_features

    @property
    def n_observations(self) -> float:
        """Sum of the row weights; the number of rows without weights."""
        return self.n_samples * self.mean_weight

    def complete(self, coef: Float64Array, dtype: DTypeLike = np.float64) -> tuple[AnyArray, Any]:
        """Fit intercept and unpenalised features to what the given coefficients leave.

        Parameters
        ----------
        coef : ndarray of shape (n_features,) or (n_targets, n_features)
            Coefficients of the penalised features; zero for the others.
        dtype : dtype
            Precision in which coefficients are kept. The intercept makes up for what their rounding does to the mean.

        Returns
        -------
        coef : ndarray
            All coefficients; least squares of minimal norm on the unpenalised part.
        intercept : float or ndarray of shape (n_targets,)

        Raises
        ------
        ValueError
            If a coefficient leaves the range of `dtype`.
        """
        coef = _rounded(coef, dtype)
        if self.free.size:
            coef[..., self.free] = _rounded(self.free_part.fit(self._left_by(coef)).T, dtype)
        if not self.fit_intercept:
            return coef, 0.0 if coef.ndim == 1 else np.zeros(coef.shape[0])
        intercept = _mean(self._left_by(coef), self.roots)
        if self.shift is not None:
            intercept = intercept - coef.astype(np.float64) @ self.shift
        return coef, intercept

    def _left_by(self, coef: AnyArray) -> Float64Array:
        """Return the residual of some coefficients, in rows scaled by the roots of their weights."""
        support = np.flatnonzero(np.atleast_2d(coef).any(axis=0))
        values = coef[..., support].astype(np.float64).T
        return self.raw_y - np.asarray(self.columns.X[:, support] @ values, dtype=np.float64)


def _constant(n_samples: int, roots: Float64Array | None) -> Float64Array:
    """Return the unit vector of the constant in scaled rows, as a column."""
    if roots is None:
        return np.full((n_samples, 1), n_samples**-0.5)
    return (roots / np.linalg.norm(roots))[:, None]


def _mean(values: Float64Array, roots: Float64Array | None) -> Any:
    """Return the weighted means of columns of scaled rows, corrected once so that no digit is lost to the sum."""
    weights = np.ones(values.shape[0]) if roots is None else roots
    total = weights @ weights
    mean = weights @ values / total
    left = values - (weights * mean if values.ndim == 1 else np.outer(weights, mean))
    return mean + weights @ left / total


def _rounded(coef: Float64Array, dtype: DTypeLike) -> AnyArray:
    """Return a copy of coefficients in a precision that holds them."""
    with np.errstate(over="ignore"):
        rounded = coef.astype(dtype)
    if not np.all(np.isfinite(rounded)):
        largest = float(np.max(np.abs(coef)))
        raise ValueError(
            f"X must have columns of such a size that coefficients, at most {largest:.3g} here, are in the range of "
            f"{np.dtype(dtype)}; multiply X by a constant, divide y by one, or use double precision"
        )
    return rounded


def prepare(
    X: Any,
    y: AnyArray,
    sample_weight: ArrayLike | None = None,
    *,
    fit_intercept: bool = False,
    unpenalised: ArrayLike | None = None,
) -> LeastSquaresData:
    """Scale rows by the roots of their weights (of mean one) and project out what is not penalised.

    Parameters
    ----------
    X : ndarray or CSC matrix of shape (n_samples, n_features)
        Checked design.
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        Checked response.
    sample_weight : array-like of shape (n_samples,), optional
        Non-negative, not all zero.
    fit_intercept : bool
        Whether a constant is part of the model.
    unpenalised : array-like of int, optional
        Features fitted by least squares.

    Returns
    -------
    LeastSquaresData

    Raises
    ------
    ValueError
        If row weights are negative, not finite, of the wrong length, or all zero; if `unpenalised` does not hold
        indices of features.
    """
    target = np.asarray(y, dtype=np.float64)
    require_squares("y", target, each_column=True)
    X, shift, roots, mean = canonical(X), None, None, 1.0
    if sample_weight is not None:
        roots, mean = check_row_weights(sample_weight, X)
        shift = weighted_means(X, roots) if fit_intercept else None
        X = scale_rows(X, roots, shift)
        target = target * (roots if target.ndim == 1 else roots[:, None])
    free = check_indices("unpenalised", unpenalised, X.shape[1])
    part = _FreePart.of(Columns(X).raw(free), fit_intercept, roots)
    columns = Columns(X, part.directions())
    columns.require_squares()
    left = columns.without_rounding(target)
    return LeastSquaresData(columns, left, target, free, part, fit_intercept, roots, mean, shift)


def check_indices(name: str, given: ArrayLike | None, n_features: int) -> IndexArray:
    """Return distinct indices of features in increasing order; a boolean mask is understood too.

    Raises
    ------
    ValueError
        If they are not integers in ``0 .. n_features - 1``.
    """
    if given is None:
        return np.empty(0, dtype=np.intp)
    indices = np.asarray(given)
    if indices.dtype == bool and indices.shape == (n_features,):
        return np.flatnonzero(indices)
    valid = indices.ndim == 1 and (indices.size == 0 or np.issubdtype(indices.dtype, np.integer))
    if not valid or np.any(indices < 0) or np.any(indices >= n_features):
        raise ValueError(f"{name} must hold indices of features between 0 and {n_features - 1}; got {given!r}")
    return np.unique(indices).astype(np.intp)
