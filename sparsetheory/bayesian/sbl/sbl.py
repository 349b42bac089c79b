"""Sparse Bayesian learning with one variance per coefficient."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.data_units import DataUnits, mode_names
from sparsetheory.bayesian.kronecker.algebra import kron_matvec
from sparsetheory.bayesian.kronecker.factor_checks import check_factors, check_noise, check_record
from sparsetheory.bayesian.sbl.certificates.flat import FlatStationarityCertificate
from sparsetheory.bayesian.sbl.evidence_maximisation import EvidenceFit, maximise_evidence
from sparsetheory.bayesian.sbl.flat_data import FlatData
from sparsetheory.bayesian.sbl.flat_model import FlatBayesianModel
from sparsetheory.bayesian.sbl.initialisation import plain_start
from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.bayesian.sbl.posterior.dense import FlatMeasurements
from sparsetheory.bayesian.sbl.pruning import Pruning
from sparsetheory.bayesian.sbl.updates.loop import InnerLoop
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import COUNT, NONNEGATIVE

__all__ = ["SBL"]

_STEPS = {"em": "ksbl", "mm": "mm"}


class SBL(FlatBayesianModel):
    r"""Sparse Bayesian learning: :math:`y = Ax + n` with independent :math:`x_n \sim N(0, \gamma_n)`.

    The variances minimise :math:`\log\det C + y^H C^{-1} y`, :math:`C = \sigma^2 I + A\,\mathrm{diag}(\gamma)A^H`.
    A list of mode dictionaries stands for their Kronecker product, which is not formed.

    Parameters
    ----------
    update : {"em", "mm"}
        Expectation-maximisation, :math:`\gamma = v + |\mu|^2`, or majorise-minimise,
        :math:`\gamma |S| / \sqrt q`, which needs far fewer steps.
    noise : float or "learn"
        Variance of the noise, or to learn it.
    prune_rel, prune_abs : float
        Variances below this share of the largest, in units in which columns have unit norm, or below this value, in
        the units of X and y, are dropped. Those that the data ask for at the end come back, for good: if they raise
        the log evidence by more than the logarithm of the number of columns.
    max_iter : int
        Largest number of updates.
    tol : float
        Stop once the variances change by at most this share of their norm, in those units, and no derivative of the
        cost by the logarithm of a variance exceeds this per measurement. Zero runs all updates, unless the noise
        explains y and "mm" has shrunk all variances to nothing, which always ends the loop.
    init : array-like of shape (N,), optional
        First variances; by default each column alone could explain the mean square of y. Zeros stay zero.
    record : sequence of {"cost", "noise", "kept", "gammas"}
        What to keep of every iteration.
    fit_intercept : bool
        Whether to learn a constant, with a flat prior; for a single matrix X.

    Attributes
    ----------
    coef_ : ndarray of shape (N,) or (N, n_snapshots)
        Posterior mean.
    coef_var_, gamma_ : ndarray of shape (N,)
        Posterior and prior variances.
    support_ : ndarray of int
        Coefficients above a thousandth of the largest, in any snapshot.
    kept_ : ndarray of int
        Columns that were not pruned.
    intercept_ : float or ndarray of shape (n_snapshots,)
        The constant; 0.0 without `fit_intercept`.
    noise_variance_, log_evidence_ : float
    cost_path_ : ndarray of shape (n_iter_ + 1,)
    cost_rises_ : ndarray of int
        Iterations after which the cost was higher than before; empty unless entries were pruned there.
    noise_path_, kept_path_, gammas_path_
        If in `record`.
    n_iter_ : int
    converged_ : bool
    certificate_ : FlatStationarityCertificate
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
    >>> model = SBL("mm", noise=1e-4, max_iter=500).fit(A, y)
    >>> model.coef_[[3, 7]].round(1).tolist(), bool(model.certificate_.check(A, y).valid)
    ([1.0, -2.0], True)
    """

    def __init__(
        self,
        update: str = "em",
        noise: float | str = "learn",
        prune_rel: float = 1e-2,
        prune_abs: float = 0.0,
        max_iter: int = 150,
        tol: float = 1e-4,
        init: ArrayLike | None = None,
        record: Sequence[str] = ("cost",),
        fit_intercept: bool = False,
    ) -> None:
        self.update = update
        self.noise = noise
        self.prune_rel = prune_rel
        self.prune_abs = prune_abs
        self.max_iter = max_iter
        self.tol = tol
        self.init = init
        self.record = record
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
        """
        data = self._check_data(X, y)
        noise, pruning = self._check_parameters()
        (init,) = check_factors("init", [np.ones(data.n_columns) if self.init is None else self.init], [data.n_columns])
        matrices, Y = self._seen(data)
        if not kron_matvec(matrices, _of_unit_size(Y), adjoint=True)[init > 0].any():
            return self._keep_nothing(data, Y, init, noise)
        units = DataUnits.of(mode_names(len(matrices)), matrices, Y, [True] * len(matrices))
        fit = self._maximise(matrices, Y, init, noise, pruning, units)
        if not fit.converged and self.tol > 0:
            warnings.warn(
                f"the variances still changed by more than {self.tol:g} of their norm, or a derivative of the cost was "
                f"{fit.residual:.2g} per measurement, after {self.max_iter} updates; raise max_iter or tol, or take "
                "update='mm'",
                ConvergenceWarning,
                stacklevel=2,
            )
        self._keep(fit, data, Y, units)
        self._certify(fit.converged, fit.residual, init, noise is None)
        return self

    def _maximise(
        self, matrices: list[Any], Y: Any, init: Any, noise: float | None, pruning: Pruning, units: DataUnits
    ) -> EvidenceFit:
        """Run the loop in units of the data and of the columns."""
        first = np.ones(init.size) if self.init is None else init / units.coefficients().reshape(-1) ** 2
        usable = reduce(np.logical_and.outer, [np.any(A != 0, axis=0) for A in matrices]).reshape(-1) & (init > 0)
        start = plain_start(_STEPS[self.update], InnerLoop(0.0, True, 1), [first], [usable])
        scale = units.coefficients().reshape(-1)[start.columns[0]] ** -2.0
        with blas_threads(gram_work((Y.shape[0], init.size), is_complex=np.iscomplexobj(Y))):
            return maximise_evidence(
                FlatMeasurements(units.matrices(matrices), Y / units.data, start.columns[0]),
                start,
                NoiseVariance.of(units.noise_in(noise), Y / units.data),
                replace(pruning, scales=[scale]),
                max_iter=self.max_iter,
                tol=self.tol,
                keep_gammas="gammas" in self.record,
            )

    def _keep(self, fit: EvidenceFit, data: FlatData, Y: Any, units: DataUnits) -> None:
        """Store what the loop found, on all columns, in the units of the user."""
        (kept,), posterior, sizes = fit.kept, fit.posterior, units.coefficients().reshape(-1)
        self.kept_, self.gamma_ = kept, np.zeros(data.n_columns)
        self.gamma_[kept] = posterior.prior * sizes[kept] ** 2
        self.noise_variance_, self.converged_ = posterior.noise_variance * units.data**2, fit.converged
        self.n_iter_ = fit.n_inner.size
        self._keep_costs(fit.cost_path, Y, units.log_volume(Y.shape[0]))
        pairs = zip(fit.gammas_path, fit.places_path, strict=True)
        gammas = [[g * sizes[at] ** 2 for g, at in zip(*pair, strict=True)] for pair in pairs]
        noises = fit.noise_path * units.data**2
        self._keep_paths({"noise": noises, "kept": fit.kept_path[:, 0], "gammas": gammas})
        coef, var = np.zeros((data.n_columns, *Y.shape[1:]), dtype=Y.dtype), np.zeros(data.n_columns)
        coef[kept] = posterior.mean * (sizes[kept] if Y.ndim == 1 else sizes[kept, None])
        var[kept] = posterior.var * sizes[kept] ** 2
        self._keep_coefficients(data, coef, var)

    def _keep_paths(self, paths: dict[str, Any]) -> None:
        for name, path in paths.items():
            if name in self.record:
                setattr(self, f"{name}_path_", path)

    def _certify(self, converged: bool, residual: float, init: Any, noise_learned: bool) -> None:
        self.certificate_ = FlatStationarityCertificate.of(
            converged,
            residual,
            self.tol,
            gamma=self.gamma_,
            noise_variance=self.noise_variance_,
            noise_learned=noise_learned,
            coef=self.coef_,
            intercept=self.intercept_,
            fit_intercept=bool(self.fit_intercept),
            held=init == 0,
        )

    def _check_parameters(self) -> tuple[float | None, Pruning]:
        if self.update not in _STEPS:
            raise ValueError(f"update must be 'em' or 'mm'; got {self.update!r}")
        check_record(self.record)
        COUNT.check("max_iter", self.max_iter)
        NONNEGATIVE.check("tol", self.tol)
        relative, absolute = (
            NONNEGATIVE.check("prune_rel", self.prune_rel),
            NONNEGATIVE.check("prune_abs", self.prune_abs),
        )
        if relative >= 1:
            raise ValueError(f"prune_rel must be below 1, the share of the largest entry; got {self.prune_rel!r}")
        learn = isinstance(self.noise, str) and self.noise == "learn"
        return None if learn else check_noise(self.noise), Pruning([relative], [absolute])

    def _keep_nothing(self, data: FlatData, Y: Any, init: Any, noise: float | None) -> Self:
        """Store x = 0, which is all there is where y is orthogonal to all columns, or zero."""
        square = float(np.mean(np.abs(Y) ** 2))
        self.noise_variance_ = square if noise is None else noise
        self.kept_, self.gamma_ = np.empty(0, dtype=np.intp), np.zeros(data.n_columns)
        self.n_iter_, self.converged_ = 0, True
        known = self.noise_variance_ > 0
        cost = math.log(self.noise_variance_) + square / self.noise_variance_ if known else -math.inf
        self._keep_costs([Y.shape[0] * cost], Y, 0.0)
        self._keep_paths({"noise": np.array([self.noise_variance_]), "kept": np.zeros(1, int), "gammas": [[]]})
        zeros = np.zeros((data.n_columns, *Y.shape[1:]), dtype=Y.dtype)
        self._keep_coefficients(data, zeros, np.zeros(data.n_columns))
        self._certify(True, 0.0, init, noise is None)
        return self


def _of_unit_size(Y: Any) -> Any:
    """Return measurements with a largest entry of one, whose products do not underflow."""
    largest = float(np.abs(Y).max(initial=0.0))
    return Y / largest if largest > 0 else Y
