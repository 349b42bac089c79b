"""Sparse regression on random supports: anchors from the design, then a fit of what they leave."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from sparsetheory.constraints import (
    COUNT,
    FLAG,
    FRACTION,
    MISSING,
    NONNEGATIVE,
    POSITIVE,
    SEED,
    SIZE,
    Array,
    Choice,
    Constraint,
    Instance,
    Integer,
    check_parameters,
    generator,
)
from sparsetheory.regression.least_squares import LeastSquaresData, check_indices, prepare
from sparsetheory.regression.linear_model import check_sparsity
from sparsetheory.regression.random_supports.anchored_design import AnchoredDesign, draw_anchors
from sparsetheory.regression.random_supports.anchored_fit import fit_response
from sparsetheory.regression.random_supports.anchored_model import AnchoredModel
from sparsetheory.regression.random_supports.anchors import Anchors

__all__ = ["RandomSupportRegressor"]

# Squared distances down to this fraction of a squared norm rank features well enough; the greedy solver recomputes
# those of its candidates, and weights of the l1 norm are recomputed below the sharper fraction.
_GREEDY_FRACTION, _L1_FRACTION = 1e-10, 1e-7


class RandomSupportRegressor(AnchoredModel):
    r"""Sparse regression for ill-conditioned designs whose true support is random.

    A method in two phases, in the sense of Chandrasekaran, Meka and Stavropoulos. The first looks at the design alone
    and picks anchors: few columns such that for most k-subsets S every column of S is about as close to the span of
    the anchors as to the span of the rest of S. The second fits that span by least squares and selects among what it
    leaves of the other columns. Neither the bounds nor the accuracy depend on the condition number of the design.

    Parameters
    ----------
    n_nonzero : int
        Number k of non-zero coefficients that the design is prepared for; the fit may use fewer or more.
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
        Fraction of supports that the anchors may fail, in (0, 1).
    noise_std : float, optional
        Standard deviation of the noise of a row of weight one; estimated by default. Zero is allowed for "foba" and
        "omp".
    alpha : {"universal", "cv"} or float
        Strength of the l1 norm, for columns whose distance to the anchors has root mean square one.
    max_steps : int
        Forward steps.
    prune : bool
        Delete backward what does not pay, anchors included (greedy solvers).
    ensemble : {"best", "mean"}
        Keep the draw with the least penalised residual, or average the coefficients.
    fit_intercept : bool
        Whether a constant is always in the model.
    tol : float
        Tolerance, relative to half the mean square of what the anchors leave of the response for the duality gap of
        the l1 solvers. Greedy steps must explain more than this, relative to the norm of the response, which alone
        stops them when ``noise_std=0``.
    random_state : int, RandomState, Generator or None
        Anchors are random; they never depend on y.
    support_prior : array-like of shape (n_features,), optional
        Relative probabilities with which features enter the true support, where they are not all alike.
    forced : array-like of int, optional
        Features that are always in the model.
    max_compatibility, confidence, max_anchors
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
    noise_std_ : float or ndarray of shape (n_targets,)
        Standard deviation of the noise, given or estimated.
    path_ : ForwardPath or list of ForwardPath
        Greedy steps (one per target), None for the l1 solvers.
    alpha_, dual_gap_ : float or ndarray of shape (n_targets,)
        Strength and duality gap of the l1 solvers, else NaN.
    n_iter_ : int
        Draws.
    n_ill_conditioned_ : int
        Supports with a condition number beyond 1e12 among those that chose the anchors; their ratios are not reliable.
    certificate_ : PredictionCertificate
        ``certificate_.error_bound()`` is proved, and ``certificate_.check(X, y)`` recomputes from the data all that it
        rests on; "not applicable", with the reason, where no theorem covers the fit (all solvers but "lasso").
    support_certificate_ : SupportCertificate or None
        ``support_certificate_.check(X, y)`` verifies that the coefficients are least squares on their support, and with
        `prune` that each feature pays; None for "lasso" and averages. Anchors have a certificate of their own:
        :func:`certify_anchors`.

    See Also
    --------
    select_anchors : The choice of anchors alone.
    certify_anchors : How hard a design is for random supports, without any response.

    Notes
    -----
    Cost, with N rows, d columns and m anchors: O(N k (k + m)) per test of a support, one product N m d, and one pass
    over X per forward step. Where columns are exact copies, coefficients are not unique, predictions are. Single
    precision perturbs distances near 1e-6 of a column's norm by more than themselves.

    G. Chandrasekaran, R. Meka, K. Stavropoulos, arXiv:2511.06211 (problem, two phases, and that random supports are
    easy); the anchors, the weights, the solvers and all bounds here are ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import RandomSupportRegressor, adversarial_coefficients, make_design
    >>> from sparsetheory.regression import sample_support
    >>> X = make_design("clusters", 200, 400, n_clusters=15, random_state=0)
    >>> S = sample_support(X, n_nonzero=5, random_state=1)
    >>> w = np.zeros(400)
    >>> w[S] = adversarial_coefficients(X, S)  # cancels almost completely
    >>> y = X @ w + 0.1 * np.random.default_rng(2).standard_normal(200)
    >>> model = RandomSupportRegressor(5, random_state=0).fit(X, y)
    >>> bool(np.mean((model.predict(X) - X @ w) ** 2) < 0.1 * 0.1**2)
    True
    """

    _multi_output = True
    _min_samples = 2
    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_nonzero": COUNT,
        "solver": Choice("foba", "omp", "lasso", "lasso+prune"),
        "anchors": Choice("adaptive", "random", "none") | Instance(Anchors, "Anchors") | Array("indices of features"),
        "n_draws": Integer(1, 100_000),
        "delta": FRACTION,
        "noise_std": MISSING | NONNEGATIVE,
        "alpha": Choice("universal", "cv") | POSITIVE,
        "max_steps": COUNT,
        "prune": FLAG,
        "ensemble": Choice("best", "mean"),
        "fit_intercept": FLAG,
        "tol": POSITIVE,
        "random_state": SEED,
        "support_prior": MISSING | Array("one non-negative number per feature"),
        "forced": MISSING | Array("indices of features"),
        "max_compatibility": MISSING | POSITIVE,
        "confidence": FRACTION,
        "max_anchors": MISSING | SIZE,
    }

    def __init__(
        self,
        n_nonzero: int,
        *,
        solver: str = "foba",
        anchors: str | Anchors | ArrayLike = "adaptive",
        n_draws: int = 1,
        delta: float = 0.05,
        noise_std: float | None = None,
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
        confidence: float = 0.95,
        max_anchors: int | None = None,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.solver = solver
        self.anchors = anchors
        self.n_draws = n_draws
        self.delta = delta
        self.noise_std = noise_std
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
        self.confidence = confidence
        self.max_anchors = max_anchors

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
        check_parameters(self)
        if self.noise_std is not None and self.solver.startswith("lasso"):
            POSITIVE.check("noise_std", self.noise_std)
        X, y = self._check_arrays(X, y)
        check_sparsity("n_nonzero", self.n_nonzero, *X.shape)
        forced = check_indices("forced", self.forced, X.shape[1])
        data = prepare(X, y, sample_weight, fit_intercept=self.fit_intercept, unpenalised=forced)
        rng = _random_source(self.random_state)
        draws = [self._draw(data, rng) for _ in range(self.n_draws)]
        targets = data.y if data.y.ndim == 2 else data.y[:, None]
        # Rows are scaled to a mean weight of one, and their noise with them.
        noise_std = None if self.noise_std is None else float(self.noise_std / np.sqrt(data.mean_weight))
        fit_one = partial(
            fit_response,
            noise_std=noise_std,
            solver=self.solver,
            alpha=self.alpha,
            max_steps=self.max_steps,
            prune=self.prune,
            tol=self.tol,
        )
        fits = [[fit_one(problem, target) for target in targets.T] for _, problem in draws]
        return self._keep(data, draws, fits)

    def _draw(self, data: LeastSquaresData, rng: Any) -> tuple[Anchors, AnchoredDesign]:
        """Choose anchors and project them out."""
        anchors = draw_anchors(
            data,
            self.anchors,
            n_nonzero=self.n_nonzero,
            delta=self.delta,
            max_compatibility=self.max_compatibility,
            confidence=self.confidence,
            max_anchors=self.max_anchors,
            support_prior=self.support_prior,
            random_state=rng,
        )
        fraction = _GREEDY_FRACTION if self.solver in ("foba", "omp") else _L1_FRACTION
        return AnchoredDesign.of(data, anchors, fraction)


def _random_source(random_state: Any) -> Any:
    """Return a source of randomness that goes on from draw to draw."""
    fresh = generator(random_state)
    legacy = random_state is None or (isinstance(random_state, int | np.integer) and random_state < 2**32)
    # A seed means the same stream as in scikit-learn.
    return check_random_state(random_state) if legacy or isinstance(random_state, np.random.RandomState) else fresh
