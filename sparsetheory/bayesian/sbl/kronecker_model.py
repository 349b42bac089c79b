"""Linear models with Kronecker-structured dictionaries: what they keep, and prediction."""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from sparsetheory.bayesian.data_units import DataUnits
from sparsetheory.bayesian.kronecker.algebra import kron_matvec, outer_product
from sparsetheory.bayesian.kronecker.checks import Layout, ModeDictionaries, check_dictionaries
from sparsetheory.bayesian.kronecker.support import significant
from sparsetheory.bayesian.noise import known_noise
from sparsetheory.bayesian.sbl.base import SBLEstimator
from sparsetheory.bayesian.sbl.certificates.kronecker import KroneckerSBLCertificate
from sparsetheory.bayesian.sbl.evidence_maximisation import EvidenceFit
from sparsetheory.bayesian.sbl.posterior.kronecker import KronPosterior
from sparsetheory.bayesian.sbl.updates.scaling import balanced
from sparsetheory.typing import BoolArray, Float64Array, IndexArray, InexactArray

__all__ = ["KroneckerModel", "explains"]


class KroneckerModel(SBLEstimator):
    """A posterior for a vector seen through mode dictionaries, and how it came about."""

    keep_iterates: bool
    noise_variance_: float
    kept_: list[IndexArray]
    variances_: list[Float64Array]
    _modes: ModeDictionaries
    _posterior: KronPosterior | None
    _units: DataUnits | None

    def _keep_coefficients(
        self, modes: ModeDictionaries, data: Layout, coef: InexactArray, variance: Float64Array
    ) -> None:
        """Store moments of all coefficients in the precision of the data."""
        self.support_ = significant(coef)
        self.coef_ = modes.with_precision(coef, data.single)
        self.coef_variance_ = modes.with_precision(variance, data.single)

    def _keep_zero(self, modes: ModeDictionaries, data: Layout) -> None:
        """Store x = 0, which is all there is where y is orthogonal to all columns, or zero."""
        self.variances_ = [np.zeros(n) for n in modes.columns]
        self.kept_ = [np.empty(0, dtype=np.intp) for _ in modes.columns]
        columns: dict[str, Any] = {
            "n_kept": np.zeros((1, len(self.kept_)), dtype=np.intp), "n_inner": np.empty(0, dtype=np.intp)
        }  # fmt: skip
        if self.keep_iterates:
            columns["variances"] = [[np.empty(0) for _ in modes.columns]]
        self._keep_noise_alone(_measured(modes, data), **columns)
        self._posterior, self._units = None, None
        shape = (math.prod(modes.columns), *data.values.shape[data.n_modes :])
        self._keep_coefficients(modes, data, np.zeros(shape), np.zeros(shape[0]))

    def _keep(self, fit: EvidenceFit, modes: ModeDictionaries, data: Layout, units: DataUnits) -> None:
        """Store what the loop found, on all columns, in the units of the user."""
        posterior, grid, unit = fit.posterior, np.ix_(*fit.kept), units.data**2
        self.noise_variance_, self.kept_ = posterior.noise_variance * unit, fit.kept
        self.variances_ = [np.zeros(n) for n in modes.columns]
        kept_variances = balanced(units.variances_out(posterior.variances, fit.kept))
        for full, indices, values in zip(self.variances_, fit.kept, kept_variances, strict=True):
            full[indices] = values
        self.n_iter_, self.converged_ = fit.n_inner.size, fit.converged
        columns: dict[str, Any] = {
            "noise_variance": fit.noise_path * unit, "n_kept": fit.kept_path, "n_inner": fit.n_inner
        }  # fmt: skip
        if self.keep_iterates:
            pairs = zip(fit.variances_path, fit.places_path, strict=True)
            columns["variances"] = [balanced(units.variances_out(variances, at)) for variances, at in pairs]
        self._keep_history(fit.cost_path, _measured(modes, data), units.log_volume(math.prod(modes.rows)), **columns)
        self._posterior, self._units = posterior, units
        mean = np.zeros((*modes.columns, *data.values.shape[data.n_modes :]), dtype=posterior.S.dtype)
        variance, sizes = np.zeros(modes.columns), units.coefficients()[grid]
        mean[grid] = posterior.mean * (sizes if mean.ndim == variance.ndim else sizes[..., None])
        variance[grid] = posterior.exact_var() * sizes**2
        coef = mean.reshape(variance.size, *mean.shape[data.n_modes :])
        self._keep_coefficients(modes, data, coef, variance.reshape(-1))

    def _certify(self, residual: float, init: list[Float64Array], details: dict[str, Any]) -> Self:
        """Store the certificate of the variances, of which the solver found this largest derivative."""
        self.certificate_ = KroneckerSBLCertificate.of(
            self.converged_,
            residual,
            self.tol,
            variances=self.variances_,
            noise_variance=self.noise_variance_,
            learn_noise=known_noise(self.noise_variance) is None,
            coef=self.coef_,
            fixed_zeros=np.concatenate(init) == 0,
            **details,
        )
        return self

    def predict(self, dictionaries: Sequence[ArrayLike] | None = None, return_std: bool = False) -> Any:
        """Predict measurements.

        Parameters
        ----------
        dictionaries : sequence of array-like, of shapes (m_i, N_i), optional
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
        new = self._modes if dictionaries is None else check_dictionaries(dictionaries)
        if new.columns != self._modes.columns:
            raise ValueError(f"dictionaries must have {self._modes.columns} columns, as in fit; got {new.columns}")
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


def _measured(modes: ModeDictionaries, data: Layout) -> InexactArray:
    """Return the measurements as one vector per snapshot, of the dtype of the model."""
    values = data.values.astype(np.result_type(data.values, modes.matrices[0]), copy=False)
    return values.reshape(math.prod(modes.rows), *values.shape[data.n_modes :])


def explains(
    matrices: Sequence[InexactArray], Y: InexactArray, masks: Sequence[BoolArray], factors: Sequence[Float64Array]
) -> bool:
    """Whether a column with a positive variance has anything to do with the measurements.

    Parameters
    ----------
    matrices : sequence of ndarray of shape (M_i, N_i)
        Mode dictionaries.
    Y : ndarray of shape (M_1, ..., M_d) or (M_1, ..., M_d, n_snapshots)
        Measurements.
    masks : sequence of ndarray of bool, shape (N_i,)
        Entries of the factors in use.
    factors : sequence of ndarray of shape (N_i,)
        Factors of the variances.

    Returns
    -------
    bool
    """
    largest = float(np.abs(Y).max(initial=0.0))
    if largest == 0.0 or not all(mask.any() for mask in masks):
        return False
    seen = kron_matvec(matrices, Y / largest, adjoint=True)
    free = outer_product([(factor > 0).astype(np.float64) for factor in factors])
    return bool(np.any(seen.reshape(free.size, -1)[free.reshape(-1) > 0]))
