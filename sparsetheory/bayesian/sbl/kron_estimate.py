"""What an estimate in the Kronecker space keeps, and predicts."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sparsetheory.bayesian.data_units import DataUnits
from sparsetheory.bayesian.kronecker.algebra import kron_matvec
from sparsetheory.bayesian.kronecker.checks import Dictionaries, Layout, check_dictionaries
from sparsetheory.bayesian.kronecker.support import significant
from sparsetheory.bayesian.sbl.cost_rises import cost_rises
from sparsetheory.bayesian.sbl.posterior.kronecker import KronPosterior
from sparsetheory.typing import Float64Array, IndexArray, InexactArray

__all__ = ["KronEstimate"]


class KronEstimate(BaseEstimator):
    """A posterior for a vector seen through mode dictionaries, and how it came about."""

    record: Sequence[str]
    kept_: list[IndexArray]
    noise_variance_: float
    _dictionaries: Dictionaries
    _posterior: KronPosterior | None
    _units: DataUnits | None

    def _set_paths(
        self,
        costs: Float64Array,
        volume: float,
        noises: Float64Array,
        sizes: IndexArray,
        gammas: list[list[Float64Array]],
    ) -> None:
        """Store paths; the unit of the data adds a constant to the costs."""
        self.cost_path_, self.cost_rises_ = costs + volume, cost_rises(costs)
        for name, path in (("noise", noises), ("kept", sizes), ("gammas", gammas)):
            if name in self.record:
                setattr(self, f"{name}_path_", path)

    def _set_estimate(self, dictionaries: Dictionaries, data: Layout, coef: InexactArray, var: Float64Array) -> None:
        n_rows, n_snapshots = math.prod(dictionaries.rows), data.n_columns or 1
        is_complex = np.iscomplexobj(dictionaries.matrices[0]) or np.iscomplexobj(data.values)
        constant = n_rows * math.log(math.pi if is_complex else 2.0 * math.pi)
        self.log_evidence_ = -(1.0 if is_complex else 0.5) * n_snapshots * (constant + float(self.cost_path_[-1]))
        self.support_ = significant(coef)
        self.coef_ = dictionaries.with_precision(coef, data.single)
        self.coef_var_ = dictionaries.with_precision(var, data.single)

    def predict(self, As: Sequence[ArrayLike] | None = None, return_std: bool = False) -> Any:
        """Predict measurements.

        Parameters
        ----------
        As : sequence of array-like, of shapes (m_i, N_i), optional
            Dictionaries with the columns of the fit; those of the fit by default.
        return_std : bool
            Whether to return standard deviations too.

        Returns
        -------
        y : ndarray of shape (m,) or (m, n_snapshots)
            Mean.
        std : ndarray of shape (m,)
            If asked for: standard deviations of new measurements, the noise included.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the dictionaries do not have as many columns as those of the fit.
        """
        check_is_fitted(self)
        new = self._dictionaries if As is None else check_dictionaries(As)
        if new.columns != self._dictionaries.columns:
            raise ValueError(f"As must have {self._dictionaries.columns} columns, as in fit; got {new.columns}")
        mean = kron_matvec(new.matrices, self.coef_)
        single = self.coef_.dtype in (np.float32, np.complex64)
        mean = new.with_precision(mean, single)
        if not return_std:
            return mean
        return mean, new.with_precision(self._deviations(new.matrices), single)

    def _deviations(self, matrices: list[InexactArray]) -> Float64Array:
        n_rows = math.prod(A.shape[0] for A in matrices)
        if self._posterior is None or self._units is None:
            return np.full(n_rows, math.sqrt(self.noise_variance_))
        kept = [A[:, indices] for A, indices in zip(self._units.matrices(matrices), self.kept_, strict=True)]
        variances = self._posterior.signal_variances(kept) + self._posterior.noise_variance
        return self._units.data * np.sqrt(variances.reshape(-1))
