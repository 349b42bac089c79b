"""What Bayesian models without a structured support share: their data, what they keep, prediction."""

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsetheory.bayesian.cost_rises import cost_rises
from sparsetheory.bayesian.kron_algebra import kron_matvec
from sparsetheory.bayesian.kron_arguments import Dictionaries, as_tensor, check_dictionaries
from sparsetheory.bayesian.support import significant
from sparsetheory.bayesian.unstructured import FlatPosterior

__all__ = ["FlatBayesianModel", "are_dictionaries"]

_Array = NDArray[np.inexact]
_Real = NDArray[np.float64]


def are_dictionaries(X: Any) -> bool:
    """Whether an argument is a sequence of matrices and not one matrix.

    Parameters
    ----------
    X : Any
        A matrix, possibly as nested lists, or a list or tuple of matrices, not necessarily valid ones.

    Returns
    -------
    bool
    """
    return isinstance(X, list | tuple) and any(np.ndim(A) >= 2 for A in X)


class FlatBayesianModel(RegressorMixin, BaseEstimator):
    """A linear model whose dictionary is a matrix or a list of mode dictionaries, with a Gaussian posterior."""

    def _check_data(self, X: Any, y: Any) -> tuple[Dictionaries, _Array, bool]:
        """Return dictionaries, measurements of their dtype (M,) or (M, n_snapshots), and whether y was single."""
        if are_dictionaries(X):
            dictionaries = check_dictionaries(X)
        elif np.iscomplexobj(np.asarray(X)) or np.iscomplexobj(np.asarray(y)):
            dictionaries = check_dictionaries([X])
        else:
            X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
            dictionaries = check_dictionaries([X])
        self.n_features_in_ = math.prod(dictionaries.columns)
        # Integer responses, as any that scikit-learn admits, do not decide the precision.
        single = np.asarray(y).dtype in (np.float32, np.complex64) or np.asarray(y).dtype.kind in "biu"
        data = as_tensor(y, dictionaries.rows, "y")
        dtype = np.result_type(data.values, dictionaries.matrices[0])
        self._dictionaries = Dictionaries(
            [A.astype(dtype, copy=False) for A in dictionaries.matrices], dictionaries.single
        )
        n_rows = math.prod(dictionaries.rows)
        values = data.values.astype(dtype, copy=False)
        return self._dictionaries, values.reshape(n_rows, *values.shape[data.n_modes :]), single

    def _keep_posterior(self, posterior: FlatPosterior | None, kept: NDArray[np.intp], Y: _Array, single: bool) -> Self:
        """Store moments on all columns; no posterior means zero."""
        n = self.n_features_in_
        coef, var = np.zeros((n, *Y.shape[1:]), dtype=Y.dtype), np.zeros(n)
        if posterior is not None:
            coef[kept], var[kept] = posterior.mean, posterior.var
        self.coef_ = self._dictionaries.with_precision(coef, single)
        self.coef_var_ = self._dictionaries.with_precision(var, single)
        self.support_ = significant(coef)
        return self

    def _keep_costs(self, costs: list[float] | _Real, Y: _Array) -> None:
        self.cost_path_ = np.array(costs)
        self.cost_rises_ = cost_rises(self.cost_path_)
        is_complex, n_snapshots = np.iscomplexobj(Y), math.prod(Y.shape[1:])
        constant = Y.shape[0] * math.log(math.pi if is_complex else 2.0 * math.pi)
        self.log_evidence_ = -(1.0 if is_complex else 0.5) * n_snapshots * (constant + float(self.cost_path_[-1]))

    def predict(self, X: Any = None) -> NDArray[Any]:
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
        elif np.iscomplexobj(np.asarray(X)):
            dictionaries = check_dictionaries([X])
        else:
            dictionaries = check_dictionaries([validate_data(self, X, dtype=[np.float64, np.float32], reset=False)])
        if math.prod(dictionaries.columns) != self.n_features_in_:
            raise ValueError(f"X has {math.prod(dictionaries.columns)} columns; the fit had {self.n_features_in_}")
        single = self.coef_.dtype in (np.float32, np.complex64)
        return dictionaries.with_precision(kron_matvec(dictionaries.matrices, self.coef_), single)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
