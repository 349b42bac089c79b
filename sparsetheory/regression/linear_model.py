"""What all linear estimators of this room have in common: checking data, row weights, unpenalised parts, prediction."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsetheory.constraints import Integer
from sparsetheory.regression.columns import canonical, refuse_half
from sparsetheory.regression.least_squares import LeastSquaresData, prepare
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["SparseLinearModel", "check_sparsity", "predictions"]


def check_sparsity(name: str, value: Any, n_samples: int, n_features: int) -> int:
    """Return a number of non-zero coefficients as an int.

    Raises
    ------
    ValueError
        If it is not an integer in ``1 .. min(n_samples, n_features)``.
    """
    limit = min(n_samples, n_features)
    if not Integer(1, limit).accepts(value):
        raise ValueError(f"{name} must be an integer from 1 to min(n_samples, n_features) = {limit}; got {value!r}")
    return int(value)


def predictions(X: Any, coef: AnyArray, intercept: Any) -> AnyArray:
    """Return ``X @ coef + intercept``, summed in double precision and given in the precision of both.

    Large means would lose the digits of single precision before the intercept takes them off.
    """
    used = np.flatnonzero(coef if coef.ndim == 1 else coef.any(axis=1))
    total = X[:, used].astype(np.float64) @ coef[used].astype(np.float64) + intercept
    return np.asarray(total).astype(np.result_type(X.dtype, coef.dtype), copy=False)


class SparseLinearModel(RegressorMixin, BaseEstimator):
    """A linear model with sparse coefficients: `coef_`, `intercept_`, `support_` and `predict`."""

    # A subclass whose fit shares work between targets sets this.
    _multi_output = False
    _min_samples = 1

    def _check(
        self, X: Any, y: Any, sample_weight: ArrayLike | None = None, *, unpenalised: ArrayLike | None = None
    ) -> LeastSquaresData:
        """Validate what the user passed and prepare it."""
        X, y = self._check_arrays(X, y)
        return prepare(
            X, y, sample_weight, fit_intercept=getattr(self, "fit_intercept", False), unpenalised=unpenalised
        )

    def _check_arrays(self, X: Any, y: Any) -> tuple[Any, Any]:
        refuse_half(X)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csc",
            dtype=[np.float64, np.float32],
            multi_output=self._multi_output,
            y_numeric=True,
            ensure_min_samples=self._min_samples,
        )
        self._dtype = X.dtype
        return canonical(X), y

    def _set_coefficients(self, data: LeastSquaresData, coef: Float64Array) -> Self:
        """Store coefficients, (n_features,) or (n_targets, n_features), and what least squares adds to them."""
        self.coef_, intercept = data.complete(coef, self._dtype)
        self.intercept_ = float(intercept) if coef.ndim == 1 else intercept
        self.support_ = np.flatnonzero(np.atleast_2d(self.coef_).any(axis=0))
        return self

    def predict(self, X: Any) -> AnyArray:
        """Predict the response.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            New rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the number of features is not that of the fit.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=[np.float64, np.float32], reset=False)
        return predictions(X, self.coef_.T, self.intercept_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = self._multi_output
        return tags
