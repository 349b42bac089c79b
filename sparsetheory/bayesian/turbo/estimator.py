"""Turbo-VBI: sparse Bayesian recovery with Markov supports."""

import warnings
from dataclasses import fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from sparsetheory.bayesian.turbo.certificate import TurboCertificate
from sparsetheory.bayesian.turbo.checks import make_model, make_prior, make_problem, read_arrays, read_rows
from sparsetheory.bayesian.turbo.fit import TurboFit, TurboSchedule, fit_starts
from sparsetheory.bayesian.turbo.prediction_interval import PredictionInterval, prediction_interval
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import FRACTION, generator
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["TurboVBI"]


class TurboVBI(RegressorMixin, BaseEstimator):
    r"""Sparse regression with a Markov prior on the support, by variational Bayes.

    The model is :math:`y = F x + n` with noise of precision :math:`\kappa`, :math:`x_i \sim N(0, 1/\rho_i)`, and
    :math:`\rho_i` from one Gamma distribution if :math:`s_i = 1` and from another, of much larger mean, if
    :math:`s_i = 0`. The support s is a binary Markov chain, or one of its relatives. A sweep updates x, the precisions
    with the evidence about s, and :math:`\kappa`; the chain answers the evidence by exact forward-backward messages.

    Parameters
    ----------
    prior : {"chain", "iid", "chain2d_rows", "grid_bp", "grid_rows_mf"}
        One chain along the coefficients; independent coefficients; on a grid: independent rows, or the geometric mean
        of chains along rows and chains along columns (ours), by loopy sum-product or by exact rows that see each other
        in the mean.
    p01, p10 : float
        Probabilities of switching on and off along a line: runs have mean length ``1 / p10``, gaps ``1 / p01``, and the
        density is ``p01 / (p01 + p10)``, which is all that "iid" uses.
    a, a_off : float or array-like of shape (n_features,)
        Shapes of the Gamma distributions of precisions.
    b : "auto", float or array-like of shape (n_features,)
        Rate of those that are on; ``b / a`` is the expected square of a coefficient. "auto" gives the data the energy
        that they have, so that the fit does not depend on units.
    b_off_ratio : float
        Rate of those that are off, over `b`; below ``a_off / a``.
    coupling : {"collapsed", "meanfield"}
        "meanfield" is the published factorisation, in which precisions and support are independent. Once a coefficient
        is off, its evidence is then so strong that neighbours cannot switch it on, and the Markov prior is inert. The
        default lets a precision depend on its state, at the same cost: the evidence is then bounded, and the prior
        acts (ours).
    noise : "learn" or float
        Variance of the noise per observation (of complex noise, both parts together).
    c, d : float
        Shape and rate of the Gamma prior of the noise precision, for learned noise; `d` in units of the mean square of
        y.
    init : {"anneal", "anneal_quiet", "sbl", "group"}
        Start: lower the rate of the off state step by step, from noise at a tenth or a hundredth of the energy of y if
        it is learned; sweeps of sparse Bayesian learning; or that of the published code, for densities below 0.05.
    anneal_steps : int
        Steps of the annealing.
    n_init : int
        Number of starts: `init`, then the others in this order, then annealing from random precisions. The largest
        evidence lower bound wins.
    learn_chain : bool
        Learn `p01` and `p10` (Baum-Welch), with the first node of a chain apart, from the second half of the annealing
        on.
    inner_sweeps : int
        Sweeps between two exchanges with the support. With one, all rounds ascend the bound.
    convention : {"auto", "paper"}, 0.5 or 1.0
        Exponent of the Gaussian in the updates: that of the data (1/2 if real, 1 if complex), or always 1 as in the
        published code, which is not an ascent for real data.
    grid_shape : tuple of int, optional
        Rows and columns, in C order of the coefficients; a grid of a single line is a chain.
    max_iter : int
        Rounds after the start.
    tol : float
        Stop once a round moves the mean and a learned noise precision, relatively, and all support probabilities by at
        most this.
    compute_elbo : bool
        Evaluate the bound in every round, rather than at the end.
    random_state : int, RandomState, Generator or None
        For starts beyond the third.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Posterior means, in the precision of F.
    var_ : ndarray of shape (n_features,)
        Posterior variances, the same for all targets.
    support_proba_ : ndarray of shape (n_features,)
        Posterior probabilities of being on.
    support_ : ndarray of int
        Coefficients that are on with a probability above one half.
    noise_precision_ : float
        Expected noise precision.
    p01_, p10_, density_ : float
        Probabilities of the chain and its density, learned or given; with "iid" only the density can be learned.
    elbo_ : ndarray
        Bound after each round with the final prior; of the last one only without `compute_elbo`.
    n_iter_ : int
        Rounds with the final prior.
    converged_ : bool
        Whether `tol` was reached.
    bp_converged_ : bool
        Whether messages on the grid came to rest in the last round; always true for other priors.
    state_ : TurboState
        All factors, for :func:`sparsetheory.bayesian.turbo_elbo`.
    certificate_ : TurboCertificate
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
    sparsetheory.regression.RandomSupportRegressor : Sparse regression without a prior, for ill-conditioned designs.

    Notes
    -----
    O(M^2 N) per round for M observations of N > M coefficients, O(N^3) otherwise. Several targets share support and
    precisions. There is no intercept. The fit follows the unit of y and, with ``b="auto"``, that of F; coefficients
    that share a rate have a unit in common, and so have their columns. Prior and published updates: Liu, Liu, Lian, Lau
    and Zhao, "Robust recovery of structured sparse signals with uncertain sensing matrix: a Turbo-VBI approach", IEEE
    Trans. Wireless Communications 19(5), 2020, and the authors' code; the collapsed coupling, annealing and the rule
    for `b` are ours. Interval and support probabilities are those of the variational posterior, which is over-confident
    between 0.05 and 0.95.

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

    def __init__(
        self,
        *,
        prior: str = "chain",
        p01: float = 0.02,
        p10: float = 0.1,
        a: ArrayLike = 1.0,
        b: ArrayLike | Literal["auto"] = "auto",
        a_off: ArrayLike = 1.0,
        b_off_ratio: float = 1e-5,
        coupling: str = "collapsed",
        noise: float | Literal["learn"] = "learn",
        c: float = 1e-6,
        d: float = 1e-6,
        init: str = "anneal",
        anneal_steps: int = 40,
        n_init: int = 1,
        learn_chain: bool = False,
        inner_sweeps: int = 1,
        convention: str | float = "auto",
        grid_shape: tuple[int, int] | None = None,
        max_iter: int = 150,
        tol: float = 1e-4,
        compute_elbo: bool = True,
        random_state: Any = None,
    ) -> None:
        self.prior = prior
        self.p01 = p01
        self.p10 = p10
        self.a = a
        self.b = b
        self.a_off = a_off
        self.b_off_ratio = b_off_ratio
        self.coupling = coupling
        self.noise = noise
        self.c = c
        self.d = d
        self.init = init
        self.anneal_steps = anneal_steps
        self.n_init = n_init
        self.learn_chain = learn_chain
        self.inner_sweeps = inner_sweeps
        self.convention = convention
        self.grid_shape = grid_shape
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
        if not isinstance(self.random_state, np.random.RandomState):
            generator(self.random_state)
        F, y = read_arrays(self, F, y, multi_output=True)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, F.real, dtype=np.float64, ensure_non_negative=True)
        schedule = TurboSchedule(**{f.name: getattr(self, f.name) for f in fields(TurboSchedule)})
        problem = make_problem(F, y, weights)
        prior = make_prior(self.prior, self.p01, self.p10, self.grid_shape, problem.n_total)
        if self.learn_chain and self.prior in ("grid_bp", "grid_rows_mf"):
            raise ValueError(f"learn_chain needs prior='iid', 'chain' or 'chain2d_rows'; got {self.prior!r}")
        model = make_model(
            problem,
            prior.density,
            a=self.a,
            b=self.b,
            a_off=self.a_off,
            b_off_ratio=self.b_off_ratio,
            c=self.c,
            d=self.d,
            noise=self.noise,
            coupling=self.coupling,
            convention=self.convention,
        )
        with blas_threads(gram_work(F.shape, is_complex=np.iscomplexobj(F))):
            fit = fit_starts(problem, model.take(problem.live), prior, schedule, self.random_state)
        self._keep(problem, fit, model.prior_squares(fit.state.support.post), F.dtype, y.ndim)
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

    def predict_interval(self, F: Any, level: float = 0.95) -> PredictionInterval:
        """Return intervals for new data, with noise of weight one.

        Parameters
        ----------
        F : array-like of shape (n_samples, n_features)
            New rows.
        level : float
            Probability, in (0, 1).

        Returns
        -------
        PredictionInterval
            ``lower`` and ``upper``, shaped like predictions. Real and imaginary parts have intervals of their own,
            each with this level.

        Raises
        ------
        NotFittedError, ValueError
            As in `predict`, or if `level` is not in (0, 1).

        Notes
        -----
        Normal for known noise; for learned noise Student's t with twice the shape of the noise factor as degrees of
        freedom. O(min(M, N) N) per row.
        """
        FRACTION.check("level", level)
        check_is_fitted(self)
        rows = read_rows(self, F)
        return prediction_interval(rows, np.asarray(rows @ self.coef_.T), self.state_, self.var_, level)

    def _keep(self, problem: TurboProblem, fit: TurboFit, prior_squares: Float64Array, dtype: Any, y_ndim: int) -> None:
        """Store what was found; coefficients whose columns are zero keep the scale of their prior."""
        state, live = fit.state, problem.live
        post, real = state.support.post, np.empty(0, dtype).real.dtype
        mean = np.zeros((problem.n_total, problem.n_snapshots), state.x.mean.dtype)
        mean[live] = state.x.mean
        var = prior_squares.copy()
        var[live] = state.x.var
        self.coef_ = (mean[:, 0] if y_ndim == 1 else mean.T).astype(dtype)
        self.var_, self.support_proba_ = var.astype(real), post.astype(real)
        self.support_ = np.flatnonzero(post > 0.5)
        self.noise_precision_ = state.noise.mean
        self.density_ = fit.prior.density
        self.p01_, self.p10_ = getattr(fit.prior, "p01", self.p01), getattr(fit.prior, "p10", self.p10)
        self.elbo_, self.n_iter_, self.converged_ = fit.elbo, fit.n_iter, fit.converged
        self.bp_converged_ = state.support.settled
        self.state_ = state
        self.certificate_ = TurboCertificate.of(fit, self.coef_, self.tol, bool(self.learn_chain))

    def _warn(self, fit: TurboFit) -> None:
        if not fit.converged:
            warnings.warn(
                f"Turbo-VBI still moves by {fit.change:.2g} after max_iter={self.max_iter} rounds; "
                f"raise max_iter, or tol={self.tol:g}",
                ConvergenceWarning,
                stacklevel=3,
            )
        if not self.bp_converged_:
            warnings.warn(
                "messages on the grid did not come to rest; prior='grid_rows_mf' always does",
                ConvergenceWarning,
                stacklevel=3,
            )
        if fit.state.x.wide and self.support_.size == self.support_proba_.size:
            warnings.warn(
                "every coefficient is on with fewer observations than coefficients: anneal, or check the scale of b",
                RuntimeWarning,
                stacklevel=3,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
