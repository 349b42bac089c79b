"""Turbo compressed sensing as an estimator."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from sparsetheory.bayesian.data_units import require_coefficients
from sparsetheory.bayesian.noise import LEARNED_OR_KNOWN, known_noise
from sparsetheory.bayesian.turbo.checks import read_arrays, read_rows
from sparsetheory.bayesian.turbo_cs.certificate import TurboCSCertificate
from sparsetheory.bayesian.turbo_cs.denoiser import BernoulliGaussian
from sparsetheory.bayesian.turbo_cs.message_passing import (
    SMALLEST,
    LinearModule,
    Message,
    TurboCSRules,
    TurboCSRun,
    TurboCSState,
    run_turbo_cs,
)
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import (
    COUNT,
    FLAG,
    FRACTION,
    NONNEGATIVE,
    POSITIVE,
    Choice,
    Constraint,
    Real,
    check_parameters,
)
from sparsetheory.ranges import require_squares
from sparsetheory.typing import AnyArray

__all__ = ["TurboCS"]

# Energy of the data over that of the noise to start from, where the noise is learned.
_LOUD = 10.0


class TurboCS(RegressorMixin, BaseEstimator):
    r"""Turbo compressed sensing: :math:`y = F x + n` with independent Bernoulli-Gaussian coefficients.

    A linear minimum mean square error estimator, which takes the coefficients for uncorrelated ones of a common
    variance, and a denoiser, which takes their estimates for the truth in white noise, exchange extrinsic messages.

    Parameters
    ----------
    density : float
        Probability that a coefficient is not zero.
    signal_variance : "auto" or float
        Variance of coefficients that are not zero; "auto" gives the data the energy that they have.
    noise_variance : "learn" or float
        Variance of the noise per observation (of complex noise, both parts together), or to learn it by
        expectation-maximisation.
    learn_prior : bool
        Learn density and variance in the same way.
    damping : float
        Fraction of the last message in the next one, below 1.
    max_iter : int
        Most exchanges.
    tol : float
        Tolerance, relative to the sizes of the message, and of noise and prior where they are learned: stop once an
        exchange changes each by at most this.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Posterior means, in the precision of F.
    coef_variance_, support_proba_ : ndarray of shape (n_features,)
        Posterior variances, and probabilities of being on.
    support_ : ndarray of int
        Coefficients that are on with a probability above one half.
    noise_variance_, density_, signal_variance_ : float
        Given or learned.
    history_ : dict of ndarray
        Per exchange: "linear_variance" and "denoiser_variance" of the messages, "mse" that the denoiser expects,
        "noise_variance", and the largest relative "change" of message, noise and prior.
    n_iter_ : int
    converged_ : bool
    certificate_ : TurboCSCertificate
        ``certificate_.check(F, y)`` does one more exchange, by another route.

    Warns
    -----
    ConvergenceWarning
        If `tol` was not reached.

    See Also
    --------
    turbo_cs_evolution : What it achieves for row-orthogonal matrices, in closed form.
    TurboVBI : For supports with structure, and with a bound that ascends.

    Notes
    -----
    Results follow the units of y and of F; coefficients share a variance, and columns therefore a unit. One singular
    value decomposition, then O(M N) per exchange. There is no intercept. J. Ma, X. Yuan and L. Ping,
    "Turbo compressed sensing with partial DFT sensing matrix", IEEE Signal Process. Lett. 22(2), 2015; for matrices
    whose rows are not orthogonal the linear estimator uses the singular values. It is exact for large random matrices
    with invariant right singular vectors; for others it may fail to come to rest, for which there is `damping`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import TurboCS, partial_pilots
    >>> rng = np.random.default_rng(0)
    >>> F, x = partial_pilots(100, 200, random_state=rng), np.zeros(200)
    >>> x[:20] = rng.standard_normal(20)
    >>> model = TurboCS(noise_variance=1e-6).fit(F, F @ x + 1e-3 * rng.standard_normal(100))
    >>> bool(np.linalg.norm(model.coef_ - x) < 0.01 * np.linalg.norm(x))
    True
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "density": FRACTION,
        "signal_variance": POSITIVE | Choice("auto"),
        "noise_variance": LEARNED_OR_KNOWN,
        "learn_prior": FLAG,
        "damping": Real(0.0, 1.0, closed="left"),
        "max_iter": COUNT,
        "tol": NONNEGATIVE,
    }

    def __init__(
        self,
        *,
        density: float = 0.1,
        signal_variance: float | Literal["auto"] = "auto",
        noise_variance: float | Literal["learn"] = "learn",
        learn_prior: bool = False,
        damping: float = 0.0,
        max_iter: int = 100,
        tol: float = 1e-4,
    ) -> None:
        self.density = density
        self.signal_variance = signal_variance
        self.noise_variance = noise_variance
        self.learn_prior = learn_prior
        self.damping = damping
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, F: Any, y: Any) -> Self:
        """Estimate the coefficients.

        Parameters
        ----------
        F : array-like of shape (n_samples, n_features)
            Sensing matrix, real or complex.
        y : array-like of shape (n_samples,)
            Data.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data are not finite, shapes do not fit, or a parameter is out of its range.
        """
        check_parameters(self)
        F, y = self._check(F, y)
        noise = known_noise(self.noise_variance)
        kind = np.complex128 if np.iscomplexobj(F) else np.float64
        matrix, data = F.astype(kind), y.astype(kind)
        # Largest entries of one, so that no square overflows.
        unit, largest = float(np.abs(data).max()), float(np.abs(matrix).max())
        if unit == 0 or largest == 0 or not np.any(matrix.conj().T @ (data / unit)):
            return self._keep_nothing(float(np.mean(np.abs(data) ** 2)) if noise is None else noise, F)
        require_squares("y", data)
        require_squares("F", matrix)
        size = math.log10(unit) - math.log10(largest)
        require_coefficients("F", math.log10(unit), size, size)
        coefficient = unit / largest
        matrix, data = matrix / largest, data / unit
        energy, size = float(np.mean(np.abs(data) ** 2)), float(np.mean(np.abs(matrix) ** 2) * F.shape[1])
        start = energy / _LOUD if noise is None else noise / unit**2
        variance = self._variance(max(energy - start, 0.01 * energy) / size, (largest / unit) ** 2)
        prior = BernoulliGaussian(self.density, variance, 1.0 if kind == np.complex128 else 0.5)
        rules = TurboCSRules(noise is None, bool(self.learn_prior), float(self.damping), self.max_iter, self.tol)
        state = TurboCSState(Message(np.zeros(F.shape[1], kind), prior.density * prior.variance), start, prior)
        with blas_threads(gram_work(F.shape, is_complex=kind == np.complex128)):
            run = run_turbo_cs(LinearModule(matrix, data), state, rules)
        self._keep(run, F.dtype, unit, coefficient)
        least = SMALLEST * prior.density * prior.variance * coefficient**2
        self.certificate_ = TurboCSCertificate.of(run, rules, self.coef_, (unit, coefficient), least)
        return self

    def predict(self, F: Any) -> AnyArray:
        """Predict data.

        Parameters
        ----------
        F : array-like of shape (n_samples, n_features)
            New rows.

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the number of features is not that of the fit.
        """
        check_is_fitted(self)
        return np.asarray(read_rows(self, F) @ self.coef_)

    def _check(self, F: Any, y: Any) -> tuple[AnyArray, AnyArray]:
        F, y = read_arrays(self, F, y)
        if y.ndim != 1:
            raise ValueError(f"y must be a vector; got shape {y.shape}")
        return F, y

    def _variance(self, per_coefficient: float, unit: float) -> float:
        """Return the variance of coefficients that are on, times `unit` if it is given."""
        if isinstance(self.signal_variance, str):
            return per_coefficient / self.density
        return self.signal_variance * unit

    def _keep(self, run: TurboCSRun, dtype: Any, data_unit: float, unit: float) -> None:
        """Store a run, in the units of the user: of the data, and of the coefficients."""
        real = np.empty(0, dtype).real.dtype
        self.coef_ = (unit * run.posterior.mean).astype(dtype)
        self.coef_variance_, self.support_proba_ = (
            (unit**2 * run.posterior.var).astype(real),
            run.posterior.probability.astype(real),
        )
        self.support_ = np.flatnonzero(run.posterior.probability > 0.5)
        self.noise_variance_ = data_unit**2 * run.noise
        self.density_, self.signal_variance_ = run.state.prior.density, unit**2 * run.state.prior.variance
        units = {name: data_unit**2 if name == "noise_variance" else unit**2 for name in run.history} | {"change": 1.0}
        self.history_ = {name: units[name] * values for name, values in run.history.items()}
        self.converged_ = run.converged
        self.n_iter_ = run.history["change"].size
        if not run.converged:
            warnings.warn(
                f"an exchange still changes messages by {run.history['change'][-1]:.2g} of their size after "
                f"max_iter={self.max_iter} exchanges; raise it, tol={self.tol:g}, or damping={self.damping:g}",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _keep_nothing(self, noise: float, F: AnyArray) -> Self:
        """Store x = 0, where no column has anything to do with the data."""
        real, n = F.real.dtype, F.shape[1]
        self.coef_, self.coef_variance_ = np.zeros(n, F.dtype), np.zeros(n, real)
        self.support_proba_, self.support_ = np.zeros(n, real), np.empty(0, np.intp)
        self.noise_variance_, self.density_, self.signal_variance_ = (
            noise,
            float(self.density),
            self._variance(0.0, 1.0),
        )
        names = ("linear_variance", "denoiser_variance", "mse", "noise_variance", "change")
        self.history_, self.n_iter_, self.converged_ = {name: np.empty(0) for name in names}, 0, True
        self.certificate_ = TurboCSCertificate.of_zero(self.coef_, self.tol, noise)
        return self
