"""Turbo-VBI: sparse Bayesian recovery with Markov supports."""

import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from sparsetheory.arrays import non_negative_weights
from sparsetheory.bayesian.noise import LEARNED_OR_KNOWN
from sparsetheory.bayesian.turbo.base import TurboEstimator
from sparsetheory.bayesian.turbo.certificate import TurboVBICertificate
from sparsetheory.bayesian.turbo.checks import make_problem, read_arrays, read_rows
from sparsetheory.bayesian.turbo.fit import TurboFit, TurboSchedule, fit_starts
from sparsetheory.bayesian.turbo.initialisation import STARTS
from sparsetheory.bayesian.turbo.prediction_interval import PredictionInterval, prediction_interval
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.bayesian.turbo.sparse_prior import FACTORISATION, GRIDS, SPARSE_PRIOR, UPDATE_EXPONENT, SparsePrior
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import (
    COUNT,
    FLAG,
    FRACTION,
    NONNEGATIVE,
    SEED,
    Choice,
    Constraint,
    check_parameters,
)
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["TurboVBI"]


class TurboVBI(TurboEstimator):
    r"""Sparse regression with a Markov prior on the support, by variational Bayes.

    The model is :math:`y = F x + n` with noise of precision :math:`\kappa`, :math:`x_i \sim N(0, 1/\rho_i)`, and
    :math:`\rho_i` from one Gamma distribution if :math:`s_i = 1` and from another, of much larger mean, if
    :math:`s_i = 0`. The support s is a binary Markov chain, or one of its relatives. A sweep updates x, the precisions
    with the evidence about s, and :math:`\kappa`; the chain answers the evidence by exact forward-backward messages.

    Parameters
    ----------
    prior : SparsePrior or str
        Prior of support, precisions and noise; or the name of its structure, "chain" or "iid" (those on grids need a
        shape), for all else by default.
    factorisation : {"collapsed", "meanfield"}
        "meanfield" is the published factorisation, in which precisions and support are independent. Once a coefficient
        is off, its evidence is then so strong that neighbours cannot switch it on, and the Markov prior is inert. The
        default lets a precision depend on its state, at the same cost: the evidence is then bounded, and the prior
        acts (ours).
    noise_variance : "learn" or float
        Variance of the noise per observation (of complex noise, both parts together).
    init : {"anneal", "anneal_quiet", "sbl", "group"}
        Start: lower the rate of the off state step by step, from noise at a tenth or a hundredth of the energy of y if
        it is learned; sweeps of sparse Bayesian learning; or that of the published code, for densities below 0.05.
    n_anneal_steps : int
        Steps of the annealing.
    n_init : int
        Number of starts: `init`, then the others in this order, then annealing from random precisions. The largest
        evidence lower bound wins.
    learn_prior : bool
        Learn the probabilities of switching on and off (Baum-Welch), with the first node of a chain apart, from the
        second half of the annealing on; with "iid" the density.
    n_inner_sweeps : int
        Sweeps between two exchanges with the support. With one, all rounds ascend the bound.
    update_exponent : {"auto", "published"}, 0.5 or 1.0
        Exponent of the Gaussian in the updates: that of the data (1/2 if real, 1 if complex), or always 1 as in the
        published code, which is not an ascent for real data.
    max_iter : int
        Rounds after the start.
    tol : float
        Tolerance, relative to the norm of the mean and to a learned noise precision, and absolute for support
        probabilities: stop once a round moves each by at most this.
    compute_elbo : bool
        Evaluate the bound in every round, rather than at the end.
    random_state : int, RandomState, Generator or None
        For starts beyond the third.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Posterior means, in the precision of F.
    coef_variance_ : ndarray of shape (n_features,)
        Posterior variances, the same for all targets.
    support_proba_ : ndarray of shape (n_features,)
        Posterior probabilities of being on.
    support_ : ndarray of int
        Coefficients that are on with a probability above one half.
    noise_precision_ : float
        Expected noise precision.
    activation_, deactivation_, density_ : float
        Probabilities of the chain and its density, learned or given; with "iid" only the density can be learned.
    history_ : dict of ndarray
        "elbo": the bound after each round with the final prior; of the last one only without `compute_elbo`.
    n_iter_ : int
        Rounds with the final prior.
    converged_ : bool
        Whether `tol` was reached.
    messages_converged_ : bool
        Whether messages on the grid came to rest in the last round; always true for other priors.
    state_ : TurboState
        All factors, for :func:`sparsetheory.bayesian.turbo_elbo`.
    certificate_ : TurboVBICertificate
        ``certificate_.check(F, y)`` recomputes stationarity and bound with dense matrices.

    Warns
    -----
    ConvergenceWarning
        If the rounds, or the messages on a grid, did not come to rest.
    RuntimeWarning
        If columns are zero, neighbours repel each other, everything is on with fewer observations than coefficients, or
        the bound decreased by more than rounding.

    See Also
    --------
    SparsePrior : The prior, with all its hyper-parameters.
    sparsetheory.regression.RandomSupportRegressor : Sparse regression without a prior, for ill-conditioned designs.

    Notes
    -----
    O(M^2 N) per round for M observations of N > M coefficients, O(N^3) otherwise. Several targets share support and
    precisions. There is no intercept. The fit follows the unit of y and, with an automatic rate, that of F;
    coefficients that share a rate have a unit in common, and so have their columns. Prior and published updates: Liu,
    Liu, Lian, Lau and Zhao, "Robust recovery of structured sparse signals with uncertain sensing matrix: a Turbo-VBI
    approach", IEEE Trans. Wireless Communications 19(5), 2020, and the authors' code; the collapsed factorisation,
    annealing and the automatic rate are ours. Interval and support probabilities are those of the variational
    posterior, which is over-confident between 0.05 and 0.95.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import TurboVBI
    >>> rng = np.random.default_rng(0)
    >>> F = rng.standard_normal((40, 100))
    >>> x = np.zeros(100)
    >>> x[30:38] = rng.standard_normal(8)
    >>> model = TurboVBI().fit(F, F @ x + 0.1 * rng.standard_normal(40))
    >>> model.support_.tolist(), model.certificate_.check(F, F @ x).valid
    ([30, 31, 32, 33, 34, 35, 36, 37], False)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "prior": SPARSE_PRIOR,
        "factorisation": FACTORISATION,
        "noise_variance": LEARNED_OR_KNOWN,
        "init": Choice(*STARTS),
        "n_anneal_steps": COUNT,
        "n_init": COUNT,
        "learn_prior": FLAG,
        "n_inner_sweeps": COUNT,
        "update_exponent": UPDATE_EXPONENT,
        "max_iter": COUNT,
        "tol": NONNEGATIVE,
        "compute_elbo": FLAG,
        "random_state": SEED,
    }

    def __init__(
        self,
        *,
        prior: SparsePrior | str = "chain",
        factorisation: str = "collapsed",
        noise_variance: float | str = "learn",
        init: str = "anneal",
        n_anneal_steps: int = 40,
        n_init: int = 1,
        learn_prior: bool = False,
        n_inner_sweeps: int = 1,
        update_exponent: str | float = "auto",
        max_iter: int = 150,
        tol: float = 1e-4,
        compute_elbo: bool = True,
        random_state: Any = None,
    ) -> None:
        self.prior = prior
        self.factorisation = factorisation
        self.noise_variance = noise_variance
        self.init = init
        self.n_anneal_steps = n_anneal_steps
        self.n_init = n_init
        self.learn_prior = learn_prior
        self.n_inner_sweeps = n_inner_sweeps
        self.update_exponent = update_exponent
        self.max_iter = max_iter
        self.tol = tol
        self.compute_elbo = compute_elbo
        self.random_state = random_state

    def fit(self, F: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        F : array-like of shape (n_samples, n_features)
            Sensing matrix, real or complex.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Data; the coefficients of several targets share support and precisions.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights; a row of weight 2 counts as two rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data are not finite, shapes do not fit, or a parameter is out of its range.
        """
        check_parameters(self)
        sparse_prior = SparsePrior.checked(self.prior)
        if self.learn_prior and sparse_prior.structure in GRIDS:
            raise ValueError(
                f"learn_prior must be False with structure={sparse_prior.structure!r}: "
                "a grid has no closed form; got True"
            )
        F, y = read_arrays(self, F, y, multi_output=True)
        weights = None
        if sample_weight is not None:
            weights = non_negative_weights(sample_weight, F.real)
        schedule = TurboSchedule(**{f.name: getattr(self, f.name) for f in fields(TurboSchedule)})
        problem = make_problem(F, y, weights)
        prior = sparse_prior.of_support(problem.n_total)
        model = sparse_prior.model(
            problem,
            prior.density,
            noise_variance=self.noise_variance,
            factorisation=self.factorisation,
            update_exponent=self.update_exponent,
        )
        with blas_threads(gram_work(F.shape, is_complex=np.iscomplexobj(F))):
            fit = fit_starts(problem, model.take(problem.live), prior, schedule, self.random_state)
        self._keep(problem, fit, model.prior_squares(fit.state.support.probability), F.dtype, y.ndim)
        self._warn(fit)
        return self

    def predict(self, F: Any) -> AnyArray:
        """Predict data.

        Parameters
        ----------
        F : array-like of shape (n_samples, n_features)
            New rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the number of features is not that of the fit.
        """
        check_is_fitted(self)
        return np.asarray(read_rows(self, F) @ self.coef_.T)

    def predict_interval(self, F: Any, *, confidence: float = 0.95) -> PredictionInterval:
        """Return intervals for new data, with noise of weight one.

        Parameters
        ----------
        F : array-like of shape (n_samples, n_features)
            New rows.
        confidence : float
            Probability that an interval covers, in (0, 1).

        Returns
        -------
        PredictionInterval
            ``lower`` and ``upper``, shaped like predictions. Real and imaginary parts have intervals of their own,
            each with this confidence.

        Raises
        ------
        NotFittedError, ValueError
            As in `predict`, or if `confidence` is not in (0, 1).

        Notes
        -----
        Normal for known noise; for learned noise Student's t with twice the shape of the noise factor as degrees of
        freedom. O(min(M, N) N) per row.
        """
        FRACTION.check("confidence", confidence)
        check_is_fitted(self)
        rows = read_rows(self, F)
        return prediction_interval(rows, np.asarray(rows @ self.coef_.T), self.state_, self.coef_variance_, confidence)

    def _keep(self, problem: TurboProblem, fit: TurboFit, prior_squares: Float64Array, dtype: Any, y_ndim: int) -> None:
        """Store what was found; coefficients whose columns are zero keep the scale of their prior."""
        state, live = fit.state, problem.live
        mean = np.zeros((problem.n_total, problem.n_snapshots), state.x.mean.dtype)
        mean[live] = state.x.mean
        variance = prior_squares.copy()
        variance[live] = state.x.var
        self._keep_factors(state, mean, variance, dtype, y_ndim)
        self.density_ = fit.prior.density
        given = SparsePrior.checked(self.prior)
        self.activation_ = getattr(fit.prior, "activation", given.activation)
        self.deactivation_ = getattr(fit.prior, "deactivation", given.deactivation)
        self.history_, self.n_iter_, self.converged_ = {"elbo": fit.elbo}, fit.n_iter, fit.converged
        self.messages_converged_ = state.support.settled
        self.certificate_ = TurboVBICertificate.of(fit, self.coef_, self.tol, bool(self.learn_prior))

    def _warn(self, fit: TurboFit) -> None:
        if not fit.converged:
            warnings.warn(
                f"Turbo-VBI still moves by {fit.change:.2g} after max_iter={self.max_iter} rounds; "
                f"raise max_iter, or tol={self.tol:g}",
                ConvergenceWarning,
                stacklevel=3,
            )
        if not self.messages_converged_:
            warnings.warn(
                "messages on the grid did not come to rest; those of structure='grid_mean_field' always do",
                ConvergenceWarning,
                stacklevel=3,
            )
        if fit.state.x.wide and self.support_.size == self.support_proba_.size:
            warnings.warn(
                "every coefficient is on with fewer observations than coefficients: anneal, or check on_rate",
                RuntimeWarning,
                stacklevel=3,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
