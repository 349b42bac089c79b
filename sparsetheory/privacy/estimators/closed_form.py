"""Sparse regression in closed form, without privacy: the soft threshold of least squares."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy.stats import t as student
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsetheory.constraints import FLAG, FRACTION, NONNEGATIVE, Choice, Constraint, check_parameters
from sparsetheory.privacy.estimators.closed_form_certificate import ClosedFormCertificate
from sparsetheory.privacy.solvers.soft_least_squares import soft_threshold
from sparsetheory.privacy.solvers.tall_least_squares import TallLeastSquares, row_weights, tall_least_squares
from sparsetheory.ranges import require_squares
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["ThresholdedLeastSquares"]


class ThresholdedLeastSquares(RegressorMixin, BaseEstimator):
    r"""Soft threshold of least squares: a sparse model in closed form, for more samples than features.

    Where every threshold is at least the error of its least-squares coefficient, the model uses no feature that is not
    in the truth, and no coefficient errs by more than twice its threshold. It is not private: it is what
    :class:`NLDPSparseRegression` computes from noisy moments, without the noise.

    Parameters
    ----------
    alpha : float or "noise"
        Threshold for coefficients of features of root mean square one (about their means), in the unit of the response.
        By default what the noise of the residuals needs: the half widths of simultaneous confidence intervals.
    fit_intercept : bool
        Whether to fit a constant.
    confidence : float
        Joint confidence of the default thresholds, and of the intervals, in (0, 1).

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Features with coefficients that are not zero.
    unthresholded_ : ndarray of shape (n_features,)
        Least squares.
    thresholds_ : ndarray of shape (n_features,)
        How far each coefficient was moved towards zero, in its own unit.
    intervals_ : ndarray of shape (n_features, 2)
        The true coefficients lie inside, all at once, with the stated confidence, for normal noise.
    noise_std_ : float
        Standard deviation of the response around least squares.
    certificate_ : ClosedFormCertificate
        ``certificate_.check(X, y)`` recomputes all of it from the data.

    See Also
    --------
    NLDPSparseRegression : The private form.

    Notes
    -----
    Zhu, Ding, Aggarwal, Xu and Wang (ICLR 2024) name the closed form as a by-product of their private algorithm. The
    default threshold is ours: with N rows and p coefficients an error of least squares over its standard error follows
    the law of Student with N - p degrees of freedom, whose upper (1 - confidence) / (2 d) quantile serves all d
    features by the bound of Bonferroni. Takes O(n d^2) time, and memory for a block of rows and for O(d^2) numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.privacy import ThresholdedLeastSquares
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((2000, 40))
    >>> y = X[:, 3] - 0.5 * X[:, 7] + 0.5 * rng.standard_normal(2000)
    >>> ThresholdedLeastSquares().fit(X, y).support_.tolist()
    [3, 7]
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "alpha": Choice("noise") | NONNEGATIVE,
        "fit_intercept": FLAG,
        "confidence": FRACTION,
    }

    def __init__(self, alpha: float | str = "noise", *, fit_intercept: bool = True, confidence: float = 0.95) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.confidence = confidence

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design; sparse ones are made dense block by block.
        y : array-like of shape (n_samples,)
            Response.
        sample_weight : array-like of shape (n_samples,), optional
            A row counts as often as its weight says.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range, there are not more samples than coefficients, or columns depend on each
            other.
        """
        check_parameters(self)
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=True, ensure_min_samples=2
        )
        weights = row_weights(sample_weight, X)
        response = np.asarray(y, dtype=np.float64)
        require_squares("y", response)
        require_squares("X", X, each_column=True, dtype=np.float64)
        left = _degrees_of_freedom(weights, X.shape[1] + bool(self.fit_intercept))
        found = tall_least_squares(X, response, weights, fit_intercept=bool(self.fit_intercept))
        self.noise_std_ = float(np.sqrt(found.rss / left))
        half_widths = self._quantile(left, X.shape[1]) * self.noise_std_ * found.unit_std
        self.unthresholded_ = found.coef
        self.intervals_ = np.column_stack([found.coef - half_widths, found.coef + half_widths])
        self.thresholds_ = half_widths if isinstance(self.alpha, str) else float(self.alpha) / found.spreads
        return self._finish(found, X.dtype, X, response, weights)

    def _quantile(self, degrees: float, n_features: int) -> float:
        return float(student.isf((1 - self.confidence) / (2 * n_features), degrees))

    def _finish(
        self, found: TallLeastSquares, dtype: DTypeLike, X: Any, y: Float64Array, weights: Float64Array
    ) -> Self:
        with np.errstate(over="ignore"):
            self.coef_ = soft_threshold(self.unthresholded_, self.thresholds_).astype(dtype)
        if not np.all(np.isfinite(self.coef_)):
            raise ValueError(f"X must have columns of such a size that coefficients are in the range of {dtype}")
        self.intercept_ = 0.0
        if self.fit_intercept:
            self.intercept_ = found.mean_response - float(found.means @ self.coef_.astype(np.float64))
        self.support_ = np.flatnonzero(self.coef_)
        self.certificate_ = ClosedFormCertificate.of(self, X, y, weights)
        return self

    def predict(self, X: Any) -> AnyArray:
        """Predict the response.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            New rows.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        total = X[:, self.support_].astype(np.float64) @ self.coef_[self.support_].astype(np.float64)
        return np.asarray(total + self.intercept_).astype(np.result_type(X.dtype, self.coef_.dtype), copy=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _degrees_of_freedom(weights: Float64Array, n_coefficients: int) -> float:
    """Return how many rows there are beyond the coefficients."""
    rows, total = int(np.count_nonzero(weights)), float(weights.sum())
    if not np.isfinite(total):
        raise ValueError(f"sample_weight must have a finite sum; got {total}")
    if rows <= n_coefficients or total <= n_coefficients:
        raise ValueError(
            f"X must have more than {n_coefficients} samples, one for every coefficient and at least one for the "
            f"noise; got {rows} of weight {total:g}"
        )
    return total - n_coefficients
