"""Sparse Bayesian learning with one variance per coefficient."""

from collections.abc import Mapping
from functools import reduce
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.data_units import DataUnits, mode_names
from sparsetheory.bayesian.kronecker.algebra import kron_matvec
from sparsetheory.bayesian.kronecker.factor_checks import check_factors
from sparsetheory.bayesian.noise import LEARNED_OR_KNOWN, known_noise
from sparsetheory.bayesian.sbl.certificates.sbl import SBLCertificate
from sparsetheory.bayesian.sbl.data import LinearData
from sparsetheory.bayesian.sbl.evidence_maximisation import EvidenceFit, maximise_evidence
from sparsetheory.bayesian.sbl.linear_model import LinearSBL
from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.bayesian.sbl.posterior.dense import DenseMeasurements
from sparsetheory.bayesian.sbl.pruning import Pruning
from sparsetheory.bayesian.sbl.updates.factor_update import plain_update
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import (
    COUNT,
    FLAG,
    MISSING,
    NONNEGATIVE,
    Array,
    Choice,
    Constraint,
    Real,
    check_parameters,
)
from sparsetheory.typing import Float64Array, InexactArray

__all__ = ["SBL"]

_UPDATES = {"em": "ksbl", "mm": "mm"}


class SBL(LinearSBL):
    r"""Sparse Bayesian learning: :math:`y = Ax + n` with independent :math:`x_n \sim N(0, \gamma_n)`.

    The variances minimise :math:`\log\det C + y^H C^{-1} y`, :math:`C = \sigma^2 I + A\,\mathrm{diag}(\gamma)A^H`.
    A list of mode dictionaries stands for their Kronecker product, which is not formed.

    Parameters
    ----------
    update : {"em", "mm"}
        Expectation-maximisation, :math:`\gamma = v + |\mu|^2`, or majorise-minimise,
        :math:`\gamma |S| / \sqrt q`, which needs far fewer steps.
    noise_variance : float or "learn"
        Variance of the noise, or to learn it.
    relative_threshold, absolute_threshold : float
        Variances below this fraction of the largest, in units in which columns have unit norm, or below this value, in
        the units of X and y, are dropped. Those that the data ask for at the end come back, for good: if they raise
        the log evidence by more than the logarithm of the number of columns.
    max_iter : int
        Largest number of updates.
    tol : float
        Tolerance, relative to the norm of the variances: stop once an update changes them by at most this, in those
        units, and no derivative of the cost by the logarithm of a variance exceeds this per measurement. Zero runs all
        updates, unless the noise explains y and "mm" has shrunk all variances to nothing, which always ends the loop.
    init : array-like of shape (N,), optional
        First variances; by default each column alone could explain the mean square of y. Zeros stay zero.
    keep_iterates : bool
        Whether `history_` has the variances too.
    fit_intercept : bool
        Whether to learn a constant, with a flat prior; for a single matrix X.

    Attributes
    ----------
    coef_ : ndarray of shape (N,) or (N, n_snapshots)
        Posterior mean.
    coef_variance_, variances_ : ndarray of shape (N,)
        Posterior and prior variances.
    support_ : ndarray of int
        Coefficients above a thousandth of the largest, in any snapshot.
    kept_ : ndarray of int
        Columns that were not pruned.
    intercept_ : float or ndarray of shape (n_snapshots,)
        The constant; 0.0 without `fit_intercept`.
    noise_variance_, log_evidence_ : float
        Noise variance, known or learned, and the log density of all measurements at the learned variances.
    history_ : dict
        Before each update and at the end: "cost", "noise_variance", "n_kept"; with `keep_iterates` also "variances", a
        list of the variances on the kept columns.
    cost_rises_ : ndarray of int
        Iterations after which the cost was higher than before; empty unless entries were pruned there.
    n_iter_ : int
        Updates.
    converged_ : bool
        Whether `tol` was reached.
    certificate_ : SBLCertificate
        ``certificate_.check(X, y)`` recomputes the derivatives of the cost, pruned variances included, and the mean.

    See Also
    --------
    KroneckerSBL : Variances that are an outer product.
    PatternCoupledSBL : Variances that neighbours share.

    Notes
    -----
    Results follow the unit of y and that of every column of X. O(M^3 + M^2 N) per update; for mode dictionaries a
    contraction takes the place of the second term, tens of millions of operations instead of billions at N = 3375,
    M = 1440. Tipping (2001); Wipf and Rao (2004), whose expectation-maximisation is the default here as a baseline.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import SBL
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((50, 100))
    >>> y = A[:, 3] - 2 * A[:, 7] + 0.01 * rng.standard_normal(50)
    >>> model = SBL("mm", noise_variance=1e-4, max_iter=500).fit(A, y)
    >>> model.coef_[[3, 7]].round(1).tolist(), bool(model.certificate_.check(A, y).valid)
    ([1.0, -2.0], True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "update": Choice(*_UPDATES),
        "noise_variance": LEARNED_OR_KNOWN,
        "relative_threshold": Real(0.0, 1.0, closed="left"),
        "absolute_threshold": NONNEGATIVE,
        "max_iter": COUNT,
        "tol": NONNEGATIVE,
        "init": MISSING | Array("a vector of variances"),
        "keep_iterates": FLAG,
        "fit_intercept": FLAG,
    }

    def __init__(
        self,
        update: str = "em",
        *,
        noise_variance: float | str = "learn",
        relative_threshold: float = 1e-2,
        absolute_threshold: float = 0.0,
        max_iter: int = 150,
        tol: float = 1e-4,
        init: ArrayLike | None = None,
        keep_iterates: bool = False,
        fit_intercept: bool = False,
    ) -> None:
        self.update = update
        self.noise_variance = noise_variance
        self.relative_threshold = relative_threshold
        self.absolute_threshold = absolute_threshold
        self.max_iter = max_iter
        self.tol = tol
        self.init = init
        self.keep_iterates = keep_iterates
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Learn the variances and estimate x.

        Parameters
        ----------
        X : array-like of shape (M, N), or sequence of array-like of shapes (M_i, N_i)
            Dictionary, or mode dictionaries of a Kronecker product; real or complex.
        y : array-like of shape (M,) or (M, n_snapshots)
            Measurements. Snapshots share variances.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a shape does not fit, a value is not finite, or a parameter is out of range.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` updates were not enough.
        """
        check_parameters(self)
        data = self._check_data(X, y)
        (init,) = check_factors("init", [np.ones(data.n_columns) if self.init is None else self.init], [data.n_columns])
        matrices, Y = self._seen(data)
        if not kron_matvec(matrices, _of_unit_size(Y), adjoint=True)[init > 0].any():
            return self._keep_zero(data, Y, init)
        units = DataUnits.of(mode_names(len(matrices)), matrices, Y, [True] * len(matrices))
        fit = self._maximise(matrices, Y, init, units)
        if not fit.converged:
            self._warn_that_it_moves(
                f"the variances still changed by more than {self.tol:g} of their norm, or a derivative of the cost was "
                f"{fit.residual:.2g} per measurement (update='mm' needs far fewer updates than 'em')"
            )
        self._keep(fit, data, Y, units)
        self._certify(fit.residual, init)
        return self

    def _maximise(
        self, matrices: list[InexactArray], Y: InexactArray, init: Float64Array, units: DataUnits
    ) -> EvidenceFit:
        """Run the loop in units of the data and of the columns."""
        sizes = units.coefficients().reshape(-1)
        usable = reduce(np.logical_and.outer, [np.any(A != 0, axis=0) for A in matrices]).reshape(-1) & (init > 0)
        columns = np.flatnonzero(usable)
        # By default one in these units: each column alone could explain the mean square of the data.
        first = np.ones(columns.size) if self.init is None else init[columns] / sizes[columns] ** 2
        pruning = Pruning(
            [float(self.relative_threshold)], [float(self.absolute_threshold)], scales=[sizes[columns] ** -2.0]
        )
        with blas_threads(gram_work((Y.shape[0], init.size), is_complex=np.iscomplexobj(Y))):
            return maximise_evidence(
                DenseMeasurements(units.matrices(matrices), Y / units.data, columns),
                plain_update(_UPDATES[self.update]),
                [first],
                [columns],
                NoiseVariance.of(units.noise_in(known_noise(self.noise_variance)), Y / units.data),
                pruning,
                max_iter=self.max_iter,
                tol=self.tol,
                keep_variances=self.keep_iterates,
            )

    def _keep(self, fit: EvidenceFit, data: LinearData, Y: InexactArray, units: DataUnits) -> None:
        """Store what the loop found, on all columns, in the units of the user."""
        (kept,), posterior, sizes = fit.kept, fit.posterior, units.coefficients().reshape(-1)
        self.kept_, self.variances_ = kept, np.zeros(data.n_columns)
        self.variances_[kept] = posterior.prior * sizes[kept] ** 2
        self.noise_variance_, self.converged_ = posterior.noise_variance * units.data**2, fit.converged
        self.n_iter_ = fit.n_inner.size
        columns: dict[str, Any] = {"noise_variance": fit.noise_path * units.data**2, "n_kept": fit.kept_path[:, 0]}
        if self.keep_iterates:
            pairs = zip(fit.variances_path, fit.places_path, strict=True)
            columns["variances"] = [variances * sizes[at] ** 2 for (variances,), (at,) in pairs]
        self._keep_history(fit.cost_path, Y, units.log_volume(Y.shape[0]), **columns)
        coef, variance = np.zeros((data.n_columns, *Y.shape[1:]), dtype=Y.dtype), np.zeros(data.n_columns)
        coef[kept] = posterior.mean * (sizes[kept] if Y.ndim == 1 else sizes[kept, None])
        variance[kept] = posterior.var * sizes[kept] ** 2
        self._keep_coefficients(data, coef, variance)

    def _keep_zero(self, data: LinearData, Y: InexactArray, init: Float64Array) -> Self:
        """Store x = 0, which is all there is where y is orthogonal to all columns, or zero."""
        self.kept_, self.variances_ = np.empty(0, dtype=np.intp), np.zeros(data.n_columns)
        iterates = {"variances": [np.empty(0)]} if self.keep_iterates else {}
        self._keep_noise_alone(Y, n_kept=np.zeros(1, dtype=np.intp), **iterates)
        zeros = np.zeros((data.n_columns, *Y.shape[1:]), dtype=Y.dtype)
        self._keep_coefficients(data, zeros, np.zeros(data.n_columns))
        self._certify(0.0, init)
        return self

    def _certify(self, residual: float, init: Float64Array) -> None:
        self.certificate_ = SBLCertificate.of(
            self.converged_,
            residual,
            self.tol,
            variances=self.variances_,
            noise_variance=self.noise_variance_,
            learn_noise=known_noise(self.noise_variance) is None,
            coef=self.coef_,
            intercept=self.intercept_,
            fit_intercept=bool(self.fit_intercept),
            fixed_zeros=init == 0,
        )


def _of_unit_size(Y: InexactArray) -> InexactArray:
    """Return measurements with a largest entry of one, whose products do not underflow."""
    largest = float(np.abs(Y).max(initial=0.0))
    return Y / largest if largest > 0 else Y
