"""Pattern-coupled sparse Bayesian learning: neighbouring coefficients share precisions."""

import math
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.arguments import check_count, check_number
from sparsetheory.bayesian.evidence_loop import NoiseVariance
from sparsetheory.bayesian.factor_arguments import check_noise
from sparsetheory.bayesian.flat_model import FlatBayesianModel
from sparsetheory.bayesian.unstructured import FlatMeasurements, FlatPosterior
from sparsetheory.blas_threads import blas_threads, gram_work

__all__ = ["PatternCoupledSBL"]

_Real = NDArray[np.float64]
# Precisions this many times above the smallest are taken for infinite, and set to this value.
_LARGEST_RATIO, _INFINITE = 1e3, 1e10


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
        Shape and rate of the Gamma prior.
    eta : float
        Weight of a neighbour.
    max_iter : int
        Largest number of updates.
    tol : float
        Stop once the posterior mean changes by at most this share of its norm. Zero runs all updates.

    Attributes
    ----------
    coef_ : ndarray of shape (N,) or (N, n_snapshots)
        Posterior mean.
    coef_var_, gamma_ : ndarray of shape (N,)
        Posterior and prior variances.
    support_ : ndarray of int
        Coefficients above a thousandth of the largest, in any snapshot.
    noise_variance_, log_evidence_ : float
    cost_path_ : ndarray of shape (n_iter_ + 1,)
        ``log det C + y^H C^-1 y`` of every posterior.
    cost_rises_ : ndarray of int
        Iterations after which it was higher than before: the update is no descent method for it.
    n_iter_ : int
    converged_ : bool

    See Also
    --------
    KroneckerSBL : With `coupling`, for Kronecker dictionaries.

    Notes
    -----
    O(M^3 + M^2 N) per update, as :class:`SBL`. J. Fang, Y. Shen, H. Li, P. Wang, IEEE Trans. Signal Process. 63(2),
    360-372 (2015), with a = 0.5, b = 1e-4, eta = 0.9, and precisions above a thousand times the smallest set to 1e10.

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
    ) -> None:
        self.noise = noise
        self.a = a
        self.b = b
        self.eta = eta
        self.max_iter = max_iter
        self.tol = tol

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
        dictionaries, Y, single = self._check_data(X, y)
        given = self._check_parameters()
        everything = np.arange(self.n_features_in_)
        self.n_iter_, self.converged_ = 0, True
        if not Y.any():
            self.noise_variance_, self.gamma_ = given or 0.0, np.zeros(self.n_features_in_)
            self._keep_costs([Y.shape[0] * math.log(given) if given else -math.inf], Y)
            return self._keep_posterior(None, everything, Y, single)
        measurements = FlatMeasurements(dictionaries.matrices, Y, everything)
        noise = NoiseVariance.of(given, Y)
        with blas_threads(gram_work((Y.shape[0], self.n_features_in_), is_complex=np.iscomplexobj(Y))):
            posterior, costs = self._iterate(measurements, noise)
        if not self.converged_ and self.tol > 0:
            warnings.warn(
                f"the posterior mean still changed by more than {self.tol:g} of its norm after {self.max_iter} "
                "updates; raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.noise_variance_, self.gamma_ = posterior.noise_variance, posterior.prior
        self._keep_costs(costs, Y)
        return self._keep_posterior(posterior, everything, Y, single)

    def _iterate(self, measurements: FlatMeasurements, noise: NoiseVariance) -> tuple[FlatPosterior, list[float]]:
        posterior = measurements.posterior([np.ones(self.n_features_in_)], noise.value)
        costs, mean = [posterior.cost], posterior.mean
        self.converged_ = False
        while self.n_iter_ < self.max_iter and not self.converged_:
            variances = self._variances(posterior.second_moment)
            noise.update(posterior.noise_em)
            posterior = measurements.posterior([variances], noise.value)
            costs.append(posterior.cost)
            self.n_iter_ += 1
            moved = posterior.mean
            self.converged_ = bool(np.linalg.norm(moved - mean) <= self.tol * np.linalg.norm(mean))
            mean = moved
        return posterior, costs

    def _variances(self, energy: _Real) -> _Real:
        """Return prior variances after one update of the precisions."""
        rate = 0.5 * _with_neighbours(energy, self.eta) + self.b
        precisions = (self.a + 0.5) / rate
        precisions[precisions > _LARGEST_RATIO * precisions.min()] = _INFINITE
        return 1.0 / _with_neighbours(precisions, self.eta)

    def _check_parameters(self) -> float | None:
        check_count("max_iter", self.max_iter)
        for name in ("tol", "a", "b", "eta"):
            check_number(name, getattr(self, name), positive=name == "b")
        learn = isinstance(self.noise, str) and self.noise == "learn"
        return None if learn else check_noise(self.noise)


def _with_neighbours(values: _Real, weight: float) -> _Real:
    """Add a multiple of both neighbours to every entry; outside there is nothing."""
    total = values.copy()
    total[1:] += weight * values[:-1]
    total[:-1] += weight * values[1:]
    return total
