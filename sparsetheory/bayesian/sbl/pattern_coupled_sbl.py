"""Pattern-coupled sparse Bayesian learning: neighbouring coefficients share precisions."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.data_units import DataUnits, mode_names
from sparsetheory.bayesian.noise import LEARNED_OR_KNOWN, known_noise
from sparsetheory.bayesian.sbl.certificates.pattern_coupled import (
    INFINITE,
    LARGEST_RATIO,
    PatternCoupledSBLCertificate,
    mean_change,
)
from sparsetheory.bayesian.sbl.data import LinearData
from sparsetheory.bayesian.sbl.linear_model import LinearSBL
from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.bayesian.sbl.posterior.dense import DenseMeasurements, DensePosterior
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE, POSITIVE, Constraint, check_parameters
from sparsetheory.typing import Float64Array, InexactArray

__all__ = ["PatternCoupledSBL", "coupled_variances"]


class PatternCoupledSBL(LinearSBL):
    r"""Sparse Bayesian learning whose coefficients share precisions with both neighbours.

    The prior precision of :math:`x_n` is :math:`\alpha_n + \eta(\alpha_{n-1} + \alpha_{n+1})`, with a Gamma(a, b) prior
    on each :math:`\alpha_n`; coefficients are taken in the order of the columns. With mode dictionaries that is the
    order of the vectorised tensor, the last mode fastest.

    Parameters
    ----------
    noise_variance : float or "learn"
        Variance of the noise, or to learn it.
    shape, rate : float
        Shape a and rate b of the Gamma prior; the rate in the unit of the square of a coefficient that alone, at a
        column of average norm, would explain the mean square of y.
    coupling : float
        Weight :math:`\eta` of a neighbour.
    max_iter : int
        Largest number of updates.
    tol : float
        Tolerance, relative to the norm of the posterior mean, and to a learned noise variance: stop once one more
        update would change either by at most this. Zero runs all updates.
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
    intercept_ : float or ndarray of shape (n_snapshots,)
        The constant; 0.0 without `fit_intercept`.
    noise_variance_, log_evidence_ : float
        Noise variance, known or learned, and the log density of all measurements at the learned variances.
    history_ : dict of ndarray of shape (n_iter_ + 1,)
        Of every posterior: "cost", ``log det C + y^H C^-1 y``, and "noise_variance".
    cost_rises_ : ndarray of int
        Iterations after which the cost was higher than before: the update is no descent method for it.
    n_iter_ : int
        Updates.
    converged_ : bool
        Whether `tol` was reached.
    certificate_ : PatternCoupledSBLCertificate
        ``certificate_.check(X, y)`` does one more update, by another route.

    See Also
    --------
    KroneckerSBL : With `coupling`, for Kronecker dictionaries.

    Notes
    -----
    Results follow the unit of y and of X; columns share variances, and hence their unit. O(M^3 + M^2 N) per update, as
    :class:`SBL`. J. Fang, Y. Shen, H. Li, P. Wang, IEEE Trans. Signal Process. 63(2), 360-372 (2015), with
    a = 0.5, b = 1e-4, eta = 0.9, and precisions above a thousand times the smallest set to 1e10.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import PatternCoupledSBL
    >>> rng = np.random.default_rng(0)
    >>> A, x = rng.standard_normal((50, 100)), np.zeros(100)
    >>> x[40:46] = rng.standard_normal(6)
    >>> model = PatternCoupledSBL(noise_variance=1e-4).fit(A, A @ x + 0.01 * rng.standard_normal(50))
    >>> bool(np.linalg.norm(model.coef_ - x) < 0.05 * np.linalg.norm(x))
    True
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "noise_variance": LEARNED_OR_KNOWN,
        "shape": NONNEGATIVE,
        "rate": POSITIVE,
        "coupling": NONNEGATIVE,
        "max_iter": COUNT,
        "tol": NONNEGATIVE,
        "fit_intercept": FLAG,
    }

    def __init__(
        self,
        *,
        noise_variance: float | str = "learn",
        shape: float = 0.5,
        rate: float = 1e-4,
        coupling: float = 0.9,
        max_iter: int = 150,
        tol: float = 1e-4,
        fit_intercept: bool = False,
    ) -> None:
        self.noise_variance = noise_variance
        self.shape = shape
        self.rate = rate
        self.coupling = coupling
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Learn the precisions and estimate x.

        Parameters
        ----------
        X : array-like of shape (M, N), or sequence of array-like of shapes (M_i, N_i)
            Dictionary, or mode dictionaries of a Kronecker product; real or complex.
        y : array-like of shape (M,) or (M, n_snapshots)
            Measurements. Snapshots share precisions.

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
        matrices, Y = self._seen(data)
        coef, variance = np.zeros((data.n_columns, *Y.shape[1:]), dtype=Y.dtype), np.zeros(data.n_columns)
        if not Y.any() or not any(A.any() for A in matrices):
            self.variances_ = np.zeros(data.n_columns)
            self._keep_noise_alone(Y)
            return self._keep(data, coef, variance, 0.0)
        units = DataUnits.of(mode_names(len(matrices)), matrices, Y, [False] * len(matrices))
        scale = units.coefficients().reshape(-1)
        measurements = DenseMeasurements(units.matrices(matrices), Y / units.data, np.arange(data.n_columns))
        noise = NoiseVariance.of(units.noise_in(known_noise(self.noise_variance)), Y / units.data)
        with blas_threads(gram_work((Y.shape[0], data.n_columns), is_complex=np.iscomplexobj(Y))):
            posterior, costs, noises, moved = self._iterate(measurements, noise)
        self.n_iter_, self.converged_ = costs.size - 1, bool(moved <= self.tol)
        if not self.converged_:
            self._warn_that_it_moves(
                f"the posterior mean, or the noise variance, still changed by {moved:.2g}, more than {self.tol:g}"
            )
        self.noise_variance_ = posterior.noise_variance * units.data**2
        self.variances_ = posterior.prior * scale**2
        self._keep_history(costs, Y, units.log_volume(Y.shape[0]), noise_variance=noises * units.data**2)
        coef[:] = posterior.mean * (scale if Y.ndim == 1 else scale[:, None])
        return self._keep(data, coef, posterior.var * scale**2, moved)

    def _keep(self, data: LinearData, coef: InexactArray, variance: Float64Array, moved: float) -> Self:
        """Store coefficients, and the certificate of variances that one more update moved by this much."""
        self._keep_coefficients(data, coef, variance)
        self.certificate_ = PatternCoupledSBLCertificate.of(
            self.converged_,
            moved,
            self.tol,
            variances=self.variances_,
            noise_variance=self.noise_variance_,
            learn_noise=known_noise(self.noise_variance) is None,
            coef=self.coef_,
            intercept=self.intercept_,
            fit_intercept=bool(self.fit_intercept),
            shape=float(self.shape),
            rate=float(self.rate),
            coupling=float(self.coupling),
        )
        return self

    def _iterate(
        self, measurements: DenseMeasurements, noise: NoiseVariance
    ) -> tuple[DensePosterior, Float64Array, Float64Array, float]:
        """Return the first posterior that one more update changes by at most the tolerance.

        Also the costs and the noise variances of all posteriors up to it, and how far one more update moves.
        """
        posterior = measurements.posterior([np.ones(measurements.columns.size)], noise.value)
        costs, noises = [posterior.cost], [noise.value]
        while True:
            noise.update(posterior.noise_em)
            variances = coupled_variances(posterior.second_moment, self.shape, self.rate, self.coupling)
            after = measurements.posterior([variances], noise.value)
            moved = mean_change(posterior.mean, after.mean)
            moved = max(moved, abs(after.noise_variance / posterior.noise_variance - 1.0))
            if moved <= self.tol or len(costs) > self.max_iter:
                return posterior, np.array(costs), np.array(noises), moved
            posterior = after
            costs.append(posterior.cost)
            noises.append(posterior.noise_variance)


def coupled_variances(energy: Float64Array, shape: float, rate: float, coupling: float) -> Float64Array:
    """Return prior variances after one update of the precisions.

    Parameters
    ----------
    energy : ndarray of shape (N,)
        Posterior second moments.
    shape, rate, coupling : float
        As in :class:`PatternCoupledSBL`.

    Returns
    -------
    ndarray of shape (N,)
    """
    precisions = (shape + 0.5) / (0.5 * _with_neighbours(energy, coupling) + rate)
    precisions[precisions > LARGEST_RATIO * precisions.min()] = INFINITE
    return 1.0 / _with_neighbours(precisions, coupling)


def _with_neighbours(values: Float64Array, weight: float) -> Float64Array:
    """Add a multiple of both neighbours to every entry; outside there is nothing."""
    total = values.copy()
    total[1:] += weight * values[:-1]
    total[:-1] += weight * values[1:]
    return total
