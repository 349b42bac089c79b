"""Sparse subspace variational inference of a linear model."""

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsetheory.bayesian.noise import VARIANCE
from sparsetheory.bayesian.subspace.linear.ascent import SubspaceFit, SubspacePlan, fit_starts
from sparsetheory.bayesian.subspace.linear.certificate import SubspaceVICertificate
from sparsetheory.bayesian.subspace.linear.data import SubspaceData, require_dense
from sparsetheory.bayesian.subspace.linear.removal_addition import RemovalAddition
from sparsetheory.bayesian.subspace.linear.search import SubspaceSearch
from sparsetheory.blas_threads import blas_threads
from sparsetheory.certificates import Status
from sparsetheory.constraints import (
    COUNT,
    FLAG,
    NONNEGATIVE,
    POSITIVE,
    SEED,
    Choice,
    Constraint,
    Real,
    check_parameters,
    generator,
)
from sparsetheory.typing import FloatArray, IndexArray

__all__ = ["SparseSubspaceVI"]

_CRITERIA = ("mean", "snr", "mean_abs", "snr_abs", "exp_abs", "snr_exp_abs", "savage_dickey")


class SparseSubspaceVI(RegressorMixin, BaseEstimator):
    r"""Bayesian linear regression on a fixed number of columns, found by exchanges that raise the evidence.

    The model is :math:`y = F\theta + n` with noise of variance :math:`1/\kappa`, and all but `n_nonzero` coefficients
    are zero; the others have the prior :math:`N(0, \sigma_p^2)` and independent normal factors. For every set of
    columns the best factors, and the evidence lower bound with them, have a closed form. The search raises that bound.

    Parameters
    ----------
    n_nonzero : int
        Number of columns of the subspace, at most that of X. Columns of zeros never enter.
    prior_std : float or "auto"
        Standard deviation of the prior, in the unit of y over that of the columns, which have it in common.
    noise_variance : float or "auto"
        Variance of the noise. What is "auto" maximises the bound on the subspace; noise is at least 1e-8 times the
        mean square of y. The result then follows the unit of y and, with an automatic prior, a common unit of X.
    method : {"best_swap", "removal_addition"}
        Make the exchange of two columns that gains most, until none gains more than `tol`; or remove and add several at
        once by the scores below, as sparse subspace inference does in networks, wherever that raises the bound.
    criterion : str
        Score of :func:`sparsetheory.bayesian.removal_score` by which columns leave with "removal_addition".
    rule : {"gain", "grad"}
        Score of :func:`sparsetheory.bayesian.addition_score` by which they enter. Gradients alone favour columns with
        large norms.
    drop_fraction : float
        Share of the columns in the first move of "removal_addition"; it is halved where a move gains nothing.
    init : {"greedy", "random"}
        First subspace: add the column that gains most, again and again; or draw the columns.
    n_init : int
        Number of starts: `init`, then random ones. The largest bound wins.
    max_iter : int
        Most moves of a start.
    tol : float
        Absolute tolerance, in nats: gains up to here, or of the size of rounding, do not count.
    fit_intercept : bool
        Whether to learn a constant, with a flat prior.
    random_state : int, RandomState, Generator or None
        For random starts.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Posterior means, zero off the subspace; in the precision of X.
    sigma_ : ndarray of shape (n_features,)
        Standard deviations of the factors, zero off the subspace. They are never above those of the exact posterior.
    support_ : ndarray of int
        Columns of the subspace.
    intercept_ : float
        The constant; 0.0 without `fit_intercept`.
    elbo_ : float
        Evidence lower bound, in nats.
    noise_variance_, prior_std_ : float
        Given or learned.
    history_ : dict of ndarray
        "elbo": the bound at the start and after every move, of the subspace or of noise and prior; it never falls.
    n_iter_ : int
        Rounds: moves of the subspace, and the last round, in which none gains enough.
    converged_ : bool
        Whether they came to rest.
    certificate_ : SubspaceVICertificate
        ``certificate_.check(X, y)`` recomputes the posterior, and all exchanges as differences of bounds.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` moves were not enough.
    RuntimeWarning
        If there are fewer columns that are not zero than `n_nonzero`.

    See Also
    --------
    swap_gains : The gains of all exchanges, for any factors.
    TurboVBI : Learns how many coefficients are not zero, and their pattern.
    SBL : One prior variance for each coefficient.

    Notes
    -----
    The bound of a subspace A is that of ridge regression less
    :math:`\frac12\sum_{i\in A}\log(1 + \kappa\sigma_p^2\|f_i\|^2)`. An exchange is judged with the other factors fixed,
    exactly; the mean is then solved anew, which can only raise the bound further. So it rises strictly, no subspace
    comes twice, and the search ends. O(MN) for every column that is ever considered, and O(sN + s^2) for an exchange.

    References
    ----------
    Li, Miao, Qiu, Zhang, "Training Bayesian neural networks with sparse subspace variational inference", ICLR 2024,
    arXiv:2402.11025: the model, and removal and addition, in networks. Bound, gains and exchanges are ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import SparseSubspaceVI
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 100))
    >>> y = X[:, 3] - 2 * X[:, 7] + 0.1 * rng.standard_normal(50)
    >>> model = SparseSubspaceVI(2).fit(X, y)
    >>> model.support_.tolist(), model.coef_[model.support_].round(1).tolist(), model.certificate_.check(X, y).valid
    ([3, 7], [1.0, -2.0], True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_nonzero": COUNT,
        "prior_std": POSITIVE | Choice("auto"),
        "noise_variance": VARIANCE | Choice("auto"),
        "method": Choice("best_swap", "removal_addition"),
        "criterion": Choice(*_CRITERIA),
        "rule": Choice("gain", "grad"),
        "drop_fraction": Real(0.0, 1.0, closed="right"),
        "init": Choice("greedy", "random"),
        "n_init": COUNT,
        "max_iter": COUNT,
        "tol": NONNEGATIVE,
        "fit_intercept": FLAG,
        "random_state": SEED,
    }

    def __init__(
        self,
        n_nonzero: int = 10,
        *,
        prior_std: float | str = "auto",
        noise_variance: float | str = "auto",
        method: str = "best_swap",
        criterion: str = "savage_dickey",
        rule: str = "gain",
        drop_fraction: float = 0.3,
        init: str = "greedy",
        n_init: int = 1,
        max_iter: int = 500,
        tol: float = 1e-9,
        fit_intercept: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.prior_std = prior_std
        self.noise_variance = noise_variance
        self.method = method
        self.criterion = criterion
        self.rule = rule
        self.drop_fraction = drop_fraction
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Find a subspace and the posterior on it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Design, real.
        y : array-like of shape (n_samples,)
            Data.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data are not finite, shapes do not fit, a parameter is out of its range, or `n_nonzero` exceeds the
            number of columns.
        TypeError
            If X is sparse.
        """
        check_parameters(self)
        require_dense(X)
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True)
        if self.n_nonzero > X.shape[1]:
            raise ValueError(f"n_nonzero must be at most the {X.shape[1]} columns of X; got {self.n_nonzero}")
        data = SubspaceData.of(X, np.asarray(y), fit_intercept=bool(self.fit_intercept))
        with blas_threads(float(data.F.size) * min(int(self.n_nonzero), 16)):
            search = SubspaceSearch(data.F, data.y, min(int(self.n_nonzero), data.n_usable), data.column_unit)
            fit = fit_starts(search, data.n_rows, self._plan(data), self._starts(data))
        self._keep(data, fit)
        self._certify(fit)
        self._warn(data.n_usable)
        return self

    def predict(self, X: Any) -> FloatArray:
        """Predict data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
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
        require_dense(X)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return np.asarray(X @ self.coef_ + self.intercept_)

    def _plan(self, data: SubspaceData) -> SubspacePlan:
        """Return how a run goes, in units of the data."""
        kappa = None if isinstance(self.noise_variance, str) else data.precision_in(float(self.noise_variance))
        prior = None if isinstance(self.prior_std, str) else data.prior_in(float(self.prior_std))
        moves = SubspaceSearch.swap
        if self.method == "removal_addition":
            fraction = float(self.drop_fraction)
            moves = RemovalAddition(self.criterion, self.rule, fraction, data.coefficient_unit)  # type: ignore[assignment]
        return SubspacePlan(moves, self.method == "best_swap", kappa, prior, int(self.max_iter), float(self.tol))

    def _starts(self, data: SubspaceData) -> Iterator[IndexArray | None]:
        rng, size = generator(self.random_state), min(int(self.n_nonzero), data.n_usable)
        for k in range(int(self.n_init)):
            greedy = k == 0 and self.init == "greedy"
            yield None if greedy else rng.choice(data.usable, size, replace=False)

    def _keep(self, data: SubspaceData, fit: SubspaceFit) -> None:
        """Store what was found, in the units of the user."""
        unit, n = data.coefficient_unit, data.F.shape[1]
        coef, sigma = np.zeros(n), np.zeros(n)
        coef[fit.active], sigma[fit.active] = unit * fit.mean, unit * np.sqrt(fit.variance)
        self.coef_, self.sigma_, self.support_ = coef.astype(data.dtype), sigma.astype(data.dtype), fit.active
        self.intercept_ = data.intercept(self.coef_)
        volume = data.n_rows * math.log(data.unit)
        self.elbo_ = fit.elbo - volume
        self.noise_variance_ = data.unit**2 / fit.kappa
        self.prior_std_ = unit * math.sqrt(fit.prior)
        self.history_ = {"elbo": fit.bounds - volume}
        self.n_iter_, self.converged_ = fit.n_iter, fit.at_rest

    def _certify(self, fit: SubspaceFit) -> None:
        """Certify the subspace by the gains of the search."""
        certificate = SubspaceVICertificate(
            "",
            float(self.tol),
            None,
            Status.INVALID,
            coef=self.coef_,
            sigma=self.sigma_,
            support=self.support_,
            intercept=float(self.intercept_),
            noise_variance=self.noise_variance_,
            prior_std=self.prior_std_,
            elbo=self.elbo_,
            n_nonzero=int(self.n_nonzero),
            tol=float(self.tol),
            method=self.method,
            fit_intercept=bool(self.fit_intercept),
            learn_noise=isinstance(self.noise_variance, str),
            learn_prior=isinstance(self.prior_std, str),
        ).stated()
        self.certificate_ = certificate.judged(fit.largest_gain, fit.rounding, [])

    def _warn(self, n_usable: int) -> None:
        if not self.converged_:
            warnings.warn(
                f"the subspace still moved after max_iter={self.max_iter} moves; increase max_iter",
                ConvergenceWarning,
                stacklevel=3,
            )
        if n_usable < self.n_nonzero:
            warnings.warn(
                f"X has {n_usable} columns that are not zero, fewer than n_nonzero={self.n_nonzero}",
                RuntimeWarning,
                stacklevel=3,
            )
