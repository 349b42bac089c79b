"""What Bayesian models without a structured support share: their data, what they keep, prediction."""

import math
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsetheory.bayesian.kronecker.algebra import kron_matvec
from sparsetheory.bayesian.kronecker.checks import check_dictionaries
from sparsetheory.bayesian.kronecker.support import significant
from sparsetheory.bayesian.sbl.cost_rises import cost_rises
from sparsetheory.bayesian.sbl.flat_data import FlatData, are_dictionaries, contrasts, read_flat
from sparsetheory.typing import AnyArray, Float64Array, InexactArray

__all__ = ["FlatBayesianModel"]


class FlatBayesianModel(RegressorMixin, BaseEstimator):
    """A linear model whose dictionary is a matrix or a list of mode dictionaries, with a Gaussian posterior."""

    fit_intercept: bool

    def _check_data(self, X: Any, y: Any) -> FlatData:
        """Return the data as given, after checks that all these models share."""
        if not isinstance(self.fit_intercept, bool | np.bool_):
            raise ValueError(f"fit_intercept must be True or False; got {self.fit_intercept!r}")
        data = read_flat(X, y, self)
        if self.fit_intercept and len(data.dictionaries.matrices) > 1:
            raise ValueError("fit_intercept=True needs a single matrix X: a centred Kronecker product is none any more")
        if self.fit_intercept and data.Y.shape[0] < 2:
            raise ValueError("fit_intercept=True needs at least two rows; got n_samples=1")
        self.n_features_in_, self._dictionaries = data.n_columns, data.dictionaries
        return data

    def _seen(self, data: FlatData) -> tuple[list[InexactArray], InexactArray]:
        """Return matrices and measurements that the variances are learned from: contrasts beside an intercept."""
        if not self.fit_intercept:
            return data.dictionaries.matrices, data.Y
        A, Y = data.centred()
        return [contrasts(A)], contrasts(Y)

    def _keep_coefficients(self, data: FlatData, coef: InexactArray, var: Float64Array) -> None:
        """Store moments of all coefficients, and the intercept that goes with them."""
        self.coef_ = data.dictionaries.with_precision(coef, data.single)
        self.coef_var_ = data.dictionaries.with_precision(var, data.single)
        self.support_ = significant(coef)
        self.intercept_ = self._intercept(data)

    def _intercept(self, data: FlatData) -> Any:
        if not self.fit_intercept:
            return 0.0
        (A,) = data.dictionaries.matrices
        value = data.Y.mean(axis=0) - A.mean(axis=0) @ self.coef_
        return data.dictionaries.with_precision(np.asarray(value), data.single)[()]

    def _keep_costs(self, costs: list[float] | Float64Array, Y: InexactArray, volume: float) -> None:
        """Store costs, to which the unit of the data adds a constant."""
        self.cost_path_ = np.array(costs) + volume
        self.cost_rises_ = cost_rises(costs)
        is_complex, n_snapshots = np.iscomplexobj(Y), math.prod(Y.shape[1:])
        constant = Y.shape[0] * math.log(math.pi if is_complex else 2.0 * math.pi)
        self.log_evidence_ = -(1.0 if is_complex else 0.5) * n_snapshots * (constant + float(self.cost_path_[-1]))

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
            dictionaries = self._dictionaries
        elif are_dictionaries(X):
            dictionaries = check_dictionaries(X)
        elif sparse.issparse(X):
            raise TypeError("X must be dense: sparse data were passed, make them dense with X.toarray()")
        elif np.iscomplexobj(np.asarray(X)):
            dictionaries = check_dictionaries([X], names=["X"])
        else:
            dictionaries = check_dictionaries([validate_data(self, X, dtype=[np.float64, np.float32], reset=False)])
        if math.prod(dictionaries.columns) != self.n_features_in_:
            raise ValueError(f"X has {math.prod(dictionaries.columns)} columns; the fit had {self.n_features_in_}")
        single = self.coef_.dtype in (np.float32, np.complex64)
        fitted = kron_matvec(dictionaries.matrices, self.coef_) + self.intercept_
        return dictionaries.with_precision(fitted, single)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
