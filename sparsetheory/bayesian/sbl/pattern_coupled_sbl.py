"""Pattern-coupled sparse Bayesian learning: neighbouring coefficients share precisions."""

import math
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.data_units import DataUnits, mode_names
from sparsetheory.bayesian.kronecker.factor_checks import check_noise
from sparsetheory.bayesian.sbl.certificates.pattern import INFINITE, LARGEST_RATIO, PatternCertificate, mean_change
from sparsetheory.bayesian.sbl.flat_data import FlatData
from sparsetheory.bayesian.sbl.flat_model import FlatBayesianModel
from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.bayesian.sbl.posterior.dense import FlatMeasurements, FlatPosterior
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import COUNT, NONNEGATIVE, POSITIVE
from sparsetheory.typing import Float64Array

__all__ = ["PatternCoupledSBL"]


class PatternCoupledSBL(FlatBayesianModel):
    r"""Sparse Bayesian learning whose coefficients share precisions with both neighbours.

    The prior precision of :math:`x_n` is :math:`\alpha_n + \eta(\alpha_{n-1} + \alpha_{n+1})`, with a Gamma(a, b) prior
    on each :math:`\alpha_n`; coefficients are taken in the order of the columns. With mode dictionaries that is the
    order of the vectorised tensor, the last mode fastest.

    Parameters
    ----------
    noise : float or "learn"
        Variance of the noise, or to learn it.
    a, b : float
        Shape and rate of the Gamma prior; the rate in the unit of the square of a coefficient that alone, at a column
        of average norm, would explain the mean square of y.
    eta : float
        Weight of a neighbour.
    max_iter : int
        Largest number of updates.
    tol : float
        Stop once one more update would change the posterior mean, and a learned noise variance, by at most this share.
        Zero runs all updates.
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
    intercept_ : float or ndarray of shape (n_snapshots,)
        The constant; 0.0 without `fit_intercept`.
    noise_variance_, log_evidence_ : float
    cost_path_ : ndarray of shape (n_iter_ + 1,)
        ``log det C + y^H C^-1 y`` of every posterior.
    cost_rises_ : ndarray of int
        Iterations after which it was higher than before: the update is no descent method for it.
    n_iter_ : int
    converged_ : bool
    certificate_ : PatternCertificate
        ``certificate_.check(X, y)`` does one more update, by another route.

    See Also
    --------
    KroneckerSBL : With `coupling`, for Kronecker dictionaries.

    Notes
    -----
    Results follow the unit of y and of X; columns share variances, and hence their unit. O(M^3 + M^2 N) per update, as
    :class:`SBL`. J. Fang, Y. Shen, H. Li, P. Wang, IEEE Trans. Signal Process. 63(2), 360-372 (2015), with a = 0.5,
    b = 1e-4, eta = 0.9, and precisions above a thousand times the smallest set to 1e10.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import PatternCoupledSBL
    >>> rng = np.random.default_rng(0)
    >>> A, x = rng.standard_normal((50, 100)), np.zeros(100)
    >>> x[40:46] = rng.standard_normal(6)
    >>> model = PatternCoupledSBL(noise=1e-4).fit(A, A @ x + 0.01 * rng.standard_normal(50))
    >>> bool(np.linalg.norm(model.coef_ - x) < 0.05 * np.linalg.norm(x))
    True
    """

    def __init__(
        self,
        noise: float | str = "learn",
        a: float = 0.5,
        b: float = 1e-4,
        eta: float = 0.9,
        max_iter: int = 150,
        tol: float = 1e-4,
        fit_intercept: bool = False,
    ) -> None:
        self.noise = noise
        self.a = a
        self.b = b
        self.eta = eta
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
        """
        data = self._check_data(X, y)
        given = self._check_parameters()
        matrices, Y = self._seen(data)
        self.n_iter_, self.converged_ = 0, True
        coef, var = np.zeros((data.n_columns, *Y.shape[1:]), dtype=Y.dtype), np.zeros(data.n_columns)
        if not Y.any() or not any(A.any() for A in matrices):
            square = float(np.mean(np.abs(Y) ** 2))
            self.noise_variance_, self.gamma_ = given or square, np.zeros(data.n_columns)
            known = self.noise_variance_ > 0
            cost = math.log(self.noise_variance_) + square / self.noise_variance_ if known else -math.inf
            self._keep_costs([Y.shape[0] * cost], Y, 0.0)
            return self._keep(data, coef, var, 0.0, given is None)
        units = DataUnits.of(mode_names(len(matrices)), matrices, Y, [False] * len(matrices))
        scale = units.coefficients().reshape(-1)
        measurements = FlatMeasurements(units.matrices(matrices), Y / units.data, np.arange(data.n_columns))
        noise = NoiseVariance.of(units.noise_in(given), Y / units.data)
        with blas_threads(gram_work((Y.shape[0], data.n_columns), is_complex=np.iscomplexobj(Y))):
            posterior, costs, moved = self._iterate(measurements, noise)
        if not self.converged_ and self.tol > 0:
            warnings.warn(
                f"the posterior mean, or the noise variance, still changed by {moved:.2g}, more than {self.tol:g}, "
                f"after {self.max_iter} updates; raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.noise_variance_ = posterior.noise_variance * units.data**2
        self.gamma_ = posterior.prior * scale**2
        self._keep_costs(costs, Y, units.log_volume(Y.shape[0]))
        coef[:] = posterior.mean * (scale if Y.ndim == 1 else scale[:, None])
        return self._keep(data, coef, posterior.var * scale**2, moved, given is None)

    def _keep(self, data: FlatData, coef: Any, var: Float64Array, moved: float, noise_learned: bool) -> Self:
        self._keep_coefficients(data, coef, var)
        self.certificate_ = PatternCertificate.of(
            self.converged_,
            moved,
            self.tol,
            gamma=self.gamma_,
            noise_variance=self.noise_variance_,
            noise_learned=noise_learned,
            coef=self.coef_,
            intercept=self.intercept_,
            fit_intercept=bool(self.fit_intercept),
            a=float(self.a),
            b=float(self.b),
            eta=float(self.eta),
        )
        return self

    def _iterate(
        self, measurements: FlatMeasurements, noise: NoiseVariance
    ) -> tuple[FlatPosterior, list[float], float]:
        """Return the first posterior that one more update changes by at most the tolerance, costs, and that change."""
        posterior = measurements.posterior([np.ones(measurements.columns.size)], noise.value)
        costs, moved = [posterior.cost], math.inf
        self.converged_ = False
        while True:
            noise.update(posterior.noise_em)
            after = measurements.posterior([self._variances(posterior.second_moment)], noise.value)
            moved = mean_change(posterior.mean, after.mean)
            moved = max(moved, abs(after.noise_variance / posterior.noise_variance - 1.0))
            self.converged_ = bool(moved <= self.tol)
            if self.converged_ or self.n_iter_ >= self.max_iter:
                return posterior, costs, moved
            posterior = after
            costs.append(posterior.cost)
            self.n_iter_ += 1

    def _variances(self, energy: Float64Array) -> Float64Array:
        return coupled_variances(energy, self.a, self.b, self.eta)

    def _check_parameters(self) -> float | None:
        COUNT.check("max_iter", self.max_iter)
        for name in ("tol", "a", "b", "eta"):
            (POSITIVE if name == "b" else NONNEGATIVE).check(name, getattr(self, name))
        learn = isinstance(self.noise, str) and self.noise == "learn"
        return None if learn else check_noise(self.noise)


def coupled_variances(energy: Float64Array, a: float, b: float, eta: float) -> Float64Array:
    """Return prior variances after one update of the precisions.

    Parameters
    ----------
    energy : ndarray of shape (N,)
        Posterior second moments.
    a, b, eta : float
        As in :class:`PatternCoupledSBL`.

    Returns
    -------
    ndarray of shape (N,)
    """
    rate = 0.5 * _with_neighbours(energy, eta) + b
    precisions = (a + 0.5) / rate
    precisions[precisions > LARGEST_RATIO * precisions.min()] = INFINITE
    return 1.0 / _with_neighbours(precisions, eta)


def _with_neighbours(values: Float64Array, weight: float) -> Float64Array:
    """Add a multiple of both neighbours to every entry; outside there is nothing."""
    total = values.copy()
    total[1:] += weight * values[:-1]
    total[:-1] += weight * values[1:]
    return total
