"""A regression problem with row weights, an intercept and unpenalised features, reduced to a plain one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils.validation import _check_sample_weight

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.distances import orthonormal_basis

__all__ = ["LeastSquaresData", "check_indices", "prepare", "scale_rows"]

# Directions of the unpenalised part that are weaker than this, relative to the strongest, are dropped.
_RCOND = 1e-11
_ROUNDING = 1e-14


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
    fit_intercept : bool
        Whether a constant column is part of the model.
    roots : ndarray of shape (n_samples,) or None
        Roots of the row weights, scaled to mean one, by which rows were multiplied.
    mean_weight : float
        Mean of the row weights as given: a row counts as often as its weight says.
    """

    columns: Columns
    y: NDArray[np.float64]
    raw_y: NDArray[np.float64]
    free: NDArray[np.intp]
    fit_intercept: bool
    roots: NDArray[np.float64] | None = None
    mean_weight: float = 1.0

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

    def complete(self, coef: NDArray[np.float64]) -> tuple[NDArray[np.float64], Any]:
        """Fit intercept and unpenalised features to what the given coefficients leave.

        Parameters
        ----------
        coef : ndarray of shape (n_features,) or (n_targets, n_features)
            Coefficients of the penalised features; zero for the others.

        Returns
        -------
        coef : ndarray
            All coefficients; least squares of minimal norm on the unpenalised part.
        intercept : float or ndarray of shape (n_targets,)
        """
        zero = 0.0 if coef.ndim == 1 else np.zeros(coef.shape[0])
        if self.free.size == 0 and not self.fit_intercept:
            return coef, zero
        support = np.flatnonzero(np.atleast_2d(coef).any(axis=0))
        left = self.raw_y - np.asarray(self.columns.X[:, support] @ coef[..., support].T, dtype=np.float64)
        design = _free_design(self.columns, self.free, self.fit_intercept, self.roots)
        norms = np.linalg.norm(design, axis=0)
        norms[norms == 0] = 1.0
        solution = np.linalg.lstsq(design / norms, left, rcond=_RCOND)[0]
        solution = solution / (norms if left.ndim == 1 else norms[:, None])
        if self.fit_intercept:
            _keep_constants(solution, design[:, -1], left)
        coef = coef.copy()
        coef[..., self.free] = solution[: self.free.size].T
        return coef, solution[-1] if self.fit_intercept else zero


def _keep_constants(solution: NDArray[np.float64], constant: NDArray[np.float64], left: NDArray[np.float64]) -> None:
    """Give features no share, not even of rounding, in responses that the constant alone explains."""
    intercept = constant @ left / (constant @ constant)
    residual = left - (constant * intercept if left.ndim == 1 else np.outer(constant, intercept))
    explained = np.linalg.norm(residual, axis=0) <= _ROUNDING * np.linalg.norm(left, axis=0)
    solution[:-1] = np.where(explained, 0.0, solution[:-1])
    solution[-1] = np.where(explained, intercept, solution[-1])


def _free_design(
    columns: Columns, free: NDArray[np.intp], fit_intercept: bool, roots: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    parts = [columns.raw(free)]
    if fit_intercept:
        parts.append(np.ones((columns.n_samples, 1)) if roots is None else roots[:, None])
    return np.hstack(parts)


def prepare(
    X: Any,
    y: NDArray[Any],
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
    roots, mean = None, 1.0
    if sample_weight is not None:
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        mean = float(weights.mean())
        roots = np.sqrt(weights / mean)
        X = scale_rows(X, roots)
        target = target * (roots if target.ndim == 1 else roots[:, None])
    free = check_indices("unpenalised", unpenalised, X.shape[1])
    basis = None
    if free.size or fit_intercept:
        basis = orthonormal_basis(_free_design(Columns(X), free, fit_intercept, roots), rtol=_RCOND)[0]
    columns = Columns(X, basis)
    left = _without_rounding(columns.project(target), target)
    return LeastSquaresData(columns, left, target, free, fit_intercept, roots, mean)


def _without_rounding(projected: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set a response to zero that the unpenalised part explains up to rounding, so that noise is not fitted."""
    explained = np.linalg.norm(projected, axis=0) <= _ROUNDING * np.linalg.norm(target, axis=0)
    return np.where(explained, 0.0, projected)


def scale_rows(X: Any, roots: NDArray[np.float64]) -> Any:
    """Return ``diag(roots) X`` in the precision of X, in Fortran order or CSC."""
    factors = roots.astype(X.dtype)
    if sparse.issparse(X):
        return sparse.csc_array(sparse.diags_array(factors) @ X)
    return np.asfortranarray(X * factors[:, None])


def check_indices(name: str, given: ArrayLike | None, n_features: int) -> NDArray[np.intp]:
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
