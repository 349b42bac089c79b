"""Sparse regression on random supports: anchors from the design, then a fit of what they leave."""

import warnings
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE, POSITIVE, Choice, Integer, generator
from sparsetheory.regression.certificates.support import SupportCertificate
from sparsetheory.regression.certificates.support_rules import SupportRule, Worthwhile
from sparsetheory.regression.distances import extend_basis
from sparsetheory.regression.least_squares import LeastSquaresData, check_indices, prepare
from sparsetheory.regression.linear_model import SparseLinearModel, check_sparsity
from sparsetheory.regression.random_supports.anchor_search import check_rank
from sparsetheory.regression.random_supports.anchored_fit import (
    Anchored,
    PhaseTwo,
    fit_greedy,
    fit_lasso,
    universal_level,
)
from sparsetheory.regression.random_supports.anchored_level import cross_validated_level
from sparsetheory.regression.random_supports.anchors import Anchors, find_anchors, project_out
from sparsetheory.regression.random_supports.certificate import PredictionCertificate
from sparsetheory.typing import Float64Array

__all__ = ["RandomSupportRegressor"]

_CHOICES = {
    "solver": ("foba", "omp", "lasso", "lasso+prune"),
    "anchors": ("adaptive", "random", "none"),
    "ensemble": ("best", "mean"),
}
# Squared distances down to this share of a squared norm rank features well enough; the greedy solver recomputes those
# of its candidates, and weights of the l1 norm are recomputed below the sharper share.
_GREEDY_SHARE, _L1_SHARE = 1e-10, 1e-7
_RTOL = 1e-11


class RandomSupportRegressor(SparseLinearModel):
    r"""Sparse regression for ill-conditioned designs whose true support is random.

    A two-phase random-support method in the sense of Chandrasekaran, Meka and Stavropoulos. Phase 1 looks at the design
    alone and picks anchors: few columns such that for most k-subsets S every column of S is about as close to the
    anchors' span as to the span of the rest of S. Phase 2 fits that span by least squares and selects among what it
    leaves of the other columns. Neither the bounds nor the accuracy depend on the condition number of the design.

    Parameters
    ----------
    k : int
        Number of non-zero coefficients that the design is prepared for; the fit may use fewer or more.
    solver : {"foba", "lasso", "omp", "lasso+prune"}
        Forward-backward selection started from the anchors, the l1 norm weighted by distances to the anchors (the
        solver with a theorem), matching pursuit, or the l1 norm followed by backward deletion.
    anchors : {"adaptive", "random", "none"}, Anchors or array-like of int
        How anchors are chosen; those of :func:`select_anchors` or indices are used as they are. What was certified
        for X alone is not certified for X with an intercept, forced features or row weights, and what was certified
        for smaller supports or a larger compatibility is not certified for these.
    n_draws : int
        Fits with different anchors.
    delta : float
        Share of supports that the anchors may fail, in (0, 1).
    sigma : float, optional
        Noise level of a row of weight one; estimated by default. Zero is allowed for "foba" and "omp".
    alpha : {"universal", "cv"} or float
        Level of the l1 norm, for columns whose distance to the anchors has root mean square one.
    max_steps : int
        Forward steps.
    prune : bool
        Delete backward what does not pay, anchors included (greedy solvers).
    ensemble : {"best", "mean"}
        Keep the draw with the least penalised residual, or average the coefficients.
    fit_intercept : bool
        Whether a constant is always in the model.
    tol : float
        As in :func:`lasso_path` for the l1 solvers; greedy steps must explain at least this share of the response
        (its square, of the energy), which alone stops them when ``sigma=0``.
    random_state : int, RandomState, Generator or None
        Anchors are random; they never depend on y.
    support_prior : array-like of shape (n_features,), optional
        Relative probabilities with which features enter the true support, where they are not all alike.
    forced : array-like of int, optional
        Features that are always in the model.
    max_compatibility, beta, m_max
        As in :func:`select_anchors`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, in the precision of X.
    intercept_ : float or ndarray of shape (n_targets,)
    support_ : ndarray of int
        Features in the model.
    anchors_ : Anchors
        Anchors of the draw that was kept.
    sigma_ : float or ndarray of shape (n_targets,)
        Noise level, given or estimated.
    path_ : ForwardPath or list of ForwardPath
        Greedy steps (one per target), None for the l1 solvers.
    alpha_, gap_ : float or ndarray of shape (n_targets,)
        Level and duality gap of the l1 solvers, else NaN.
    n_iter_ : int
        Draws.
    ill_conditioned_samples_ : int
        Supports with a condition number beyond 1e12 among those that chose the anchors; their ratios are not reliable.
    certificate_ : PredictionCertificate
        ``certificate_.error_bound(B)`` is proved, and ``certificate_.check(X, y)`` recomputes from the data all that it
        rests on; "not applicable", with the reason, where no theorem covers the fit (all solvers but "lasso").
    support_certificate_ : SupportCertificate or None
        ``support_certificate_.check(X, y)`` verifies that the coefficients are least squares on their support, and with
        `prune` that each feature pays; None for "lasso" and averages. Anchors have a certificate of their own:
        :func:`certify_anchors`.

    See Also
    --------
    select_anchors : Phase 1 alone.
    certify_anchors : How hard a design is for random supports, without any response.

    Notes
    -----
    Cost: anchors O(N k (k + m)) per test, one product N m d, and one pass over X per forward step. Where columns are
    exact copies, coefficients are not unique, predictions are. Single precision perturbs distances near 1e-6 of a
    column's norm by more than themselves.

    G. Chandrasekaran, R. Meka, K. Stavropoulos, arXiv:2511.06211 (problem, two phases, and that random supports are
    easy); the anchors, the weights, the solvers and all bounds here are ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import RandomSupportRegressor, adversarial_coefficients, make_design
    >>> from sparsetheory.regression import sample_support
    >>> X = make_design("clusters", 200, 400, G=15, lo=1e-5, hi=1e-1, random_state=0)
    >>> S = sample_support(X, 5, random_state=1)
    >>> w = np.zeros(400)
    >>> w[S] = adversarial_coefficients(X, S)  # cancels almost completely
    >>> y = X @ w + 0.1 * np.random.default_rng(2).standard_normal(200)
    >>> model = RandomSupportRegressor(5, random_state=0).fit(X, y)
    >>> bool(np.mean((model.predict(X) - X @ w) ** 2) < 0.1 * 0.1**2)
    True
    """

    _multi_output = True
    _min_samples = 2

    def __init__(
        self,
        k: int,
        *,
        solver: str = "foba",
        anchors: str | Anchors | ArrayLike = "adaptive",
        n_draws: int = 1,
        delta: float = 0.05,
        sigma: float | None = None,
        alpha: str | float = "universal",
        max_steps: int = 30,
        prune: bool = True,
        ensemble: str = "best",
        fit_intercept: bool = True,
        tol: float = 1e-6,
        random_state: Any = None,
        support_prior: ArrayLike | None = None,
        forced: ArrayLike | None = None,
        max_compatibility: float | None = None,
        beta: float = 0.05,
        m_max: int | None = None,
    ) -> None:
        self.k = k
        self.solver = solver
        self.anchors = anchors
        self.n_draws = n_draws
        self.delta = delta
        self.sigma = sigma
        self.alpha = alpha
        self.max_steps = max_steps
        self.prune = prune
        self.ensemble = ensemble
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.random_state = random_state
        self.support_prior = support_prior
        self.forced = forced
        self.max_compatibility = max_compatibility
        self.beta = beta
        self.m_max = m_max

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Choose anchors and fit.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design; memory maps with contiguous columns are read in blocks.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Response; all targets share the anchors.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights; a row of weight 2 counts as two rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range, or anchors and forced features span almost the whole sample space.
        """
        X, y = self._check_arrays(X, y)
        self._check_parameters(X)
        forced = check_indices("forced", self.forced, X.shape[1])
        data = prepare(X, y, sample_weight, fit_intercept=self.fit_intercept, unpenalised=forced)
        rng = _random_source(self.random_state)
        draws = [self._draw(data, rng) for _ in range(self.n_draws)]
        targets = data.y if data.y.ndim == 2 else data.y[:, None]
        # Rows are scaled to a mean weight of one, and their noise with them.
        sigma = None if self.sigma is None else float(self.sigma / np.sqrt(data.mean_weight))
        fits = [[self._fit_one(problem, target, sigma) for target in targets.T] for _, problem in draws]
        return self._keep(data, draws, fits, targets)

    def _check_parameters(self, X: Any) -> None:
        check_sparsity("k", self.k, *X.shape)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if name != "anchors" or isinstance(value, str):
                Choice(*choices).check(name, value)
        FLAG.require(prune=self.prune, fit_intercept=self.fit_intercept)
        Integer(1, 100_000).check("n_draws", self.n_draws)
        COUNT.check("max_steps", self.max_steps)
        POSITIVE.check("tol", self.tol)
        if self.sigma is not None:
            (POSITIVE if self.solver.startswith("lasso") else NONNEGATIVE).check("sigma", self.sigma)
        if not (isinstance(self.alpha, str) and self.alpha in ("universal", "cv")):
            POSITIVE.check("alpha", self.alpha)

    def _choose(self, data: LeastSquaresData, rng: Any) -> Anchors:
        """Return anchors whose basis also spans what is always in the model."""
        if isinstance(self.anchors, str) and self.anchors != "none":
            return find_anchors(
                data.columns,
                self.k,
                method=self.anchors,
                delta=self.delta,
                max_compatibility=self.max_compatibility,
                beta=self.beta,
                m_max=self.m_max,
                support_prior=self.support_prior,
                random_state=rng,
            )
        if isinstance(self.anchors, Anchors):
            given = self.anchors
            check_indices("anchors", given.indices, data.n_features)
        else:
            chosen = None if isinstance(self.anchors, str) else self.anchors
            indices = check_indices("anchors", chosen, data.n_features)
            given = Anchors(indices, np.empty(0), np.empty(0), False, self.delta, 1.0)
        basis = data.columns.basis
        always = np.empty((data.n_samples, 0)) if basis is None else basis
        return replace(
            given,
            Q=extend_basis(always, data.columns.raw(given.indices), _RTOL)[0],
            certified=given.certified
            and data.roots is None
            and _same(given.always, basis)
            and given.serves(self.k, self._compatibility),
            always=basis,
        )

    @property
    def _compatibility(self) -> float:
        return float(2 * self.k if self.max_compatibility is None else self.max_compatibility)

    def _draw(self, data: LeastSquaresData, rng: Any) -> tuple[Anchors, Anchored]:
        """Choose anchors and project them out."""
        anchors = self._choose(data, rng)
        if anchors.indices.size or data.free.size:
            check_rank(anchors.Q.shape[1], data.n_samples)
        known = anchors.weights
        share = _GREEDY_SHARE if self.solver in ("foba", "omp") else _L1_SHARE
        columns, squares = project_out(data.columns, anchors, recompute_below=share)
        squares[data.free] = 0.0
        free = np.setdiff1d(anchors.indices, data.free)
        anchors = replace(anchors, weights=np.sqrt(squares / data.n_samples))
        if isinstance(self.anchors, Anchors) and anchors.certified and not _like(known, anchors.weights, data):
            warnings.warn(
                "anchors are of another design: their distances to the columns of X differ, so that nothing is "
                "certified. Select anchors for this X",
                UserWarning,
                stacklevel=3,
            )
            anchors = replace(anchors, certified=False)
        return anchors, Anchored(data.columns, free, columns, squares, data.n_observations)

    def _fit_one(self, problem: Anchored, y: Float64Array, sigma: float | None) -> PhaseTwo:
        if self.solver in ("foba", "omp"):
            frozen = self.solver == "omp"
            return fit_greedy(
                problem, y, sigma, max_steps=self.max_steps, frozen=frozen, prune=self.prune, tol=self.tol
            )
        if sigma is None:
            # The l1 level needs a noise level; the greedy solver estimates it best.
            sigma = fit_greedy(problem, y, None, max_steps=self.max_steps, frozen=False, prune=True, tol=self.tol).sigma
        alpha = self._level(problem, y, sigma)
        return fit_lasso(problem, y, sigma, alpha, tol=self.tol, prune=self.solver == "lasso+prune")

    def _level(self, problem: Anchored, y: Float64Array, sigma: float) -> float:
        if self.alpha == "universal":
            return universal_level(sigma, *problem.base.X.shape)
        if self.alpha == "cv":
            return cross_validated_level(problem, y, tol=self.tol)
        return float(self.alpha)

    def _keep(
        self,
        data: LeastSquaresData,
        draws: list[tuple[Anchors, Anchored]],
        fits: list[list[PhaseTwo]],
        targets: Float64Array,
    ) -> Self:
        """Store the best draw, or the mean of all."""
        totals = [sum(fit.score(data.n_features) for fit in row) for row in fits]
        best = int(np.argmin(totals))
        chosen = fits[best]
        coef = np.stack([fit.coef for fit in chosen])
        if self.ensemble == "mean":
            coef = np.mean([[fit.coef for fit in row] for row in fits], axis=0)
        self.anchors_ = draws[best][0]
        self.n_iter_ = self.n_draws
        self.ill_conditioned_samples_ = self.anchors_.n_ill_conditioned
        single = data.y.ndim == 1
        self.sigma_, self.alpha_, self.gap_ = (
            values[0] if single else np.array(values)
            for values in (
                [f.sigma * np.sqrt(data.mean_weight) for f in chosen],
                [f.alpha for f in chosen],
                [f.gap for f in chosen],
            )
        )
        paths = [fit.path for fit in chosen]
        self.path_ = paths[0] if single else paths
        self._set_coefficients(data, coef[0] if single else coef)
        self._certify(data, draws[best], chosen)
        return self

    def _certify(self, data: LeastSquaresData, draw: tuple[Anchors, Anchored], fits: list[PhaseTwo]) -> None:
        anchors, problem = draw
        levels = [np.array([getattr(fit, name) for fit in fits]) for name in ("sigma", "alpha")]
        sigma, alpha = (values if data.y.ndim == 2 else float(values[0]) for values in levels)
        self.certificate_ = PredictionCertificate.of(
            data,
            self._exempt(data, anchors, fits),
            anchors=anchors,
            k=self.k,
            compatibility=self._compatibility,
            sigma=sigma,
            alpha=alpha,
            rank=problem.rank,
            coef=self.coef_,
            intercept=self.intercept_,
            tol=float(self.tol),
        )
        self.support_certificate_ = None
        if self.solver != "lasso" and self.ensemble == "best":
            rules: tuple[SupportRule, ...] = ()
            if len(fits) == 1 and (self.prune or self.solver == "lasso+prune"):
                rules = (Worthwhile(fits[0].price),)
            self.support_certificate_ = SupportCertificate.of(data, self, rules=rules)

    def _exempt(self, data: LeastSquaresData, anchors: Anchors, fits: list[PhaseTwo]) -> str:
        """Return why no theorem bounds the error of this fit."""
        if self.solver != "lasso":
            return f"no theorem bounds the error of solver={self.solver!r}"
        if self.sigma is None:
            return "the noise level is estimated; a bound needs sigma"
        if self.ensemble != "best" or self.n_draws > 1:
            return "several draws: the bound is one for a single draw"
        if any(fit.alpha < universal_level(fit.sigma, data.n_samples, data.n_features) * (1 - 1e-12) for fit in fits):
            return "the level of the l1 norm is below the universal one"
        return "" if anchors.certified else "the anchors are not certified for such supports"

    def error_bound(self, B: float | None = None) -> Any:
        """Return the proved bound on the mean squared prediction error, NaN where no theorem applies.

        With row weights the mean is weighted, and the noise of a row of weight w has variance ``sigma**2 / w``.

        Parameters
        ----------
        B : float, optional
            Root mean square of the true signal; an upper bound from the data by default.

        Returns
        -------
        float or ndarray of shape (n_targets,)
        """
        check_is_fitted(self)
        return self.certificate_.error_bound(B)


def _random_source(random_state: Any) -> Any:
    """Return a source of randomness that goes on from draw to draw."""
    fresh = generator(random_state)
    legacy = random_state is None or (isinstance(random_state, int | np.integer) and random_state < 2**32)
    # A seed means the same stream as in scikit-learn.
    return check_random_state(random_state) if legacy or isinstance(random_state, np.random.RandomState) else fresh


def _same(a: Float64Array | None, b: Float64Array | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _like(known: Float64Array, weights: Float64Array, data: LeastSquaresData) -> bool:
    """Whether distances that came with anchors are those in this design, up to rounding."""
    if known.shape != weights.shape:
        return False
    sizes = np.sqrt(data.columns.raw_squares() / data.n_samples)
    return bool(np.all(np.abs(known - weights) <= 1e-4 * weights + 1e-6 * sizes))
