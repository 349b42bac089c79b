"""Linear models with one variance per coefficient: their data, what they keep, and prediction."""

import math
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsetheory.bayesian.kronecker.algebra import kron_matvec
from sparsetheory.bayesian.kronecker.checks import check_dictionaries
from sparsetheory.bayesian.kronecker.support import significant
from sparsetheory.bayesian.sbl.base import SBLEstimator
from sparsetheory.bayesian.sbl.data import LinearData, are_dictionaries, contrasts, read_data
from sparsetheory.typing import AnyArray, Float64Array, InexactArray

__all__ = ["LinearSBL"]


class LinearSBL(RegressorMixin, SBLEstimator):
    """A linear model whose dictionary is a matrix or a list of mode dictionaries, with a Gaussian posterior."""

    fit_intercept: bool

    def _check_data(self, X: Any, y: Any) -> LinearData:
        """Return the data as given, after checks that all these models share."""
        data = read_data(X, y, self)
        if self.fit_intercept and len(data.modes.matrices) > 1:
            raise ValueError("fit_intercept=True needs a single matrix X: a centred Kronecker product is none any more")
        if self.fit_intercept and data.Y.shape[0] < 2:
            raise ValueError("fit_intercept=True needs at least two rows; got n_samples=1")
        self.n_features_in_, self._modes = data.n_columns, data.modes
        return data

    def _seen(self, data: LinearData) -> tuple[list[InexactArray], InexactArray]:
        """Return matrices and measurements that the variances are learned from: contrasts beside an intercept."""
        if not self.fit_intercept:
            return data.modes.matrices, data.Y
        A, Y = data.centred()
        return [contrasts(A)], contrasts(Y)

    def _keep_coefficients(self, data: LinearData, coef: InexactArray, var: Float64Array) -> None:
        """Store moments of all coefficients, and the intercept that goes with them."""
        self.coef_ = data.modes.with_precision(coef, data.single)
        self.coef_variance_ = data.modes.with_precision(var, data.single)
        self.support_ = significant(coef)
        self.intercept_ = self._intercept(data)

    def _intercept(self, data: LinearData) -> Any:
        if not self.fit_intercept:
            return 0.0
        (A,) = data.modes.matrices
        value = data.Y.mean(axis=0) - A.mean(axis=0) @ self.coef_
        return data.modes.with_precision(np.asarray(value), data.single)[()]

    def predict(self, X: Any = None) -> AnyArray:
        """Predict measurements.

        Parameters
        ----------
        X : array-like of shape (m, N), or sequence of array-like of shapes (m_i, N_i), optional
            Dictionary or mode dictionaries; those of the fit by default.

        Returns
        -------
        ndarray of shape (m,) or (m, n_snapshots)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the columns are not those of the fit.
        """
        check_is_fitted(self)
        if X is None:
            modes = self._modes
        elif are_dictionaries(X):
            modes = check_dictionaries(X)
        elif sparse.issparse(X):
            raise TypeError("X must be dense: sparse data were passed, make them dense with X.toarray()")
        elif np.iscomplexobj(np.asarray(X)):
            modes = check_dictionaries([X], names=["X"])
        else:
            modes = check_dictionaries([validate_data(self, X, dtype=[np.float64, np.float32], reset=False)])
        if math.prod(modes.columns) != self.n_features_in_:
            raise ValueError(f"X has {math.prod(modes.columns)} columns; the fit had {self.n_features_in_}")
        single = self.coef_.dtype in (np.float32, np.complex64)
        fitted = kron_matvec(modes.matrices, self.coef_) + self.intercept_
        return modes.with_precision(fitted, single)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
