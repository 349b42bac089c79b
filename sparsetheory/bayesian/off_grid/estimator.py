"""Turbo-VBI for a sensing matrix whose columns depend on unknown parameters."""

import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from sparsetheory.bayesian.noise import LEARNED_OR_KNOWN
from sparsetheory.bayesian.off_grid.certificate import OffGridTurboVBICertificate
from sparsetheory.bayesian.off_grid.checks import check_off_grid, require_parametric
from sparsetheory.bayesian.off_grid.fit import OffGridFit, OffGridSchedule, fit_off_grid
from sparsetheory.bayesian.off_grid.grid_step import DynamicGrid
from sparsetheory.bayesian.off_grid.parametric_matrix import ParametricMatrix
from sparsetheory.bayesian.turbo.base import TurboEstimator
from sparsetheory.bayesian.turbo.initialisation import STARTS
from sparsetheory.bayesian.turbo.sparse_prior import FACTORISATION, SparsePrior
from sparsetheory.blas_threads import blas_threads, gram_work
from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE, POSITIVE, Choice, Constraint, Instance, check_parameters
from sparsetheory.typing import AnyArray

__all__ = ["OffGridTurboVBI"]


class OffGridTurboVBI(TurboEstimator):
    r"""Sparse recovery with an uncertain sensing matrix, by Turbo-VBI on a grid that moves.

    The model is that of :class:`TurboVBI` with :math:`y = F(\theta) x + n`, where column q depends on
    :math:`\theta_q` alone, which lies in a cell about a point of a grid. Rounds of Turbo-VBI for the matrix at hand and
    gradient steps of the parameters of columns that are on take turns, each from where the other stopped.

    Parameters
    ----------
    prior : SparsePrior or {"chain", "iid"}
        Prior of support, precisions and noise, or the name of its structure for all else by default: a Markov chain
        along the columns, or independent coefficients, which makes this off-grid sparse Bayesian inference. An
        automatic rate takes the matrix on the grid.
    factorisation, noise_variance
        As in :class:`TurboVBI`.
    init : {"anneal", "anneal_quiet", "sbl", "group"}
        As in :class:`TurboVBI`.
    n_anneal_steps : int
        Steps of the annealing.
    anneal_grid : bool
        Whether the grid moves during the annealing already. A path between two points otherwise switches on columns
        beside it that hardly ever go off again (ours).
    step : {"ascent", "surrogate"} or float
        Rule of the grid. "ascent": gradient steps over a diagonal curvature, with backtracking on the bound in which
        the factor of the coefficients follows the matrix (ours). "surrogate": the same on the bound with that factor
        fixed, whose steps shrink as the noise does. Neither lowers the bound. A number is a step of this fraction of a
        cell along the sign of the gradient, as in the published code, whose steps are about 0.04 for as many
        directions as antennas; it may lower the bound, and hardly ever comes to rest.
    max_inner_rounds : int
        Most rounds between two steps of the grid.
    max_iter : int
        Most outer iterations.
    tol : float
        Tolerance, relative to the norm of the mean and to a learned noise precision, absolute for support
        probabilities, and in cells for offsets: stop once an outer iteration moves each by at most this. Offsets count
        with the gradient over the curvature, however short steps of fixed size are.
    keep_iterates : bool
        Whether `history_` has coefficients and offsets too.

    Attributes
    ----------
    coef_ : ndarray of shape (N,) or (n_targets, N)
        Posterior means for the final matrix.
    parameters_ : ndarray of shape (N,)
        Parameters of the columns; those of columns that were never on are still the grid's.
    offsets_ : ndarray of shape (N,)
        Their distances from the grid, in cells, between -0.5 and 0.5.
    coef_variance_, support_proba_ : ndarray of shape (N,)
        Posterior variances, and probabilities of being on.
    support_ : ndarray of int
        Columns that are on with a probability above one half.
    noise_precision_ : float
        Expected noise precision.
    history_ : dict of ndarray
        Per outer iteration, before its step of the grid: "elbo", "move" (largest proposed step, in cells), "change"
        (that of the last round), "n_rounds", "n_on", "noise_precision"; with `keep_iterates` also "coef", one row per
        target, and "offsets".
    elbo_falls_ : ndarray of int
        Outer iterations in which the bound was lower than in the one before, beyond rounding; empty but for steps of
        fixed size.
    n_iter_ : int
        Outer iterations.
    converged_ : bool
        Whether `tol` was reached.
    state_ : TurboState
        All factors.
    certificate_ : OffGridTurboVBICertificate
        ``certificate_.check(F, y)`` recomputes fit and slope of the grid with dense matrices.

    Warns
    -----
    ConvergenceWarning
        If `tol` was not reached.
    RuntimeWarning
        If the bound decreased though no step may lower it.

    See Also
    --------
    TurboVBI : For a matrix that is known.
    half_wavelength_array : The matrix of an antenna array.

    Notes
    -----
    O(M^2 N) per round and per trial of a step for N > M, O(N^3) otherwise, O(M N Q) per step of Q columns. Model and
    alternation: Liu, Liu, Lian, Lau and Zhao, "Robust recovery of structured sparse signals with uncertain sensing
    matrix: a Turbo-VBI approach", IEEE Trans. Wireless Communications 19(5), 2020, and the authors' code. The bound,
    its ascent and the annealed grid are ours. With learned noise and little signal (at most some 5 dB per observation)
    too many columns are on; give its variance where it is known. Both factorisations are
    compared on two lone paths in ``benchmarks/bayesian_turbo.py --only channel``.

    Examples
    --------
    >>> from sparsetheory.bayesian import OffGridTurboVBI, make_off_grid_channel
    >>> problem = make_off_grid_channel(snr_db=20, random_state=0)
    >>> model = OffGridTurboVBI(noise_variance=problem.noise_variance).fit(problem.F, problem.y)
    >>> model.support_.tolist(), model.elbo_falls_.size, model.certificate_.check(problem.F, problem.y).valid
    ([30, 80], 0, True)
    >>> bool(abs(model.offsets_[[30, 80]] - problem.offsets).max() < 0.05)
    True
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "prior": Instance(SparsePrior) | Choice("chain", "iid"),
        "factorisation": FACTORISATION,
        "noise_variance": LEARNED_OR_KNOWN,
        "init": Choice(*STARTS),
        "n_anneal_steps": COUNT,
        "anneal_grid": FLAG,
        "step": Choice("ascent", "surrogate") | POSITIVE,
        "max_inner_rounds": COUNT,
        "max_iter": COUNT,
        "tol": NONNEGATIVE,
        "keep_iterates": FLAG,
    }

    def __init__(
        self,
        *,
        prior: SparsePrior | str = "chain",
        factorisation: str = "collapsed",
        noise_variance: float | str = "learn",
        init: str = "anneal",
        n_anneal_steps: int = 40,
        anneal_grid: bool = True,
        step: str | float = "ascent",
        max_inner_rounds: int = 10,
        max_iter: int = 50,
        tol: float = 1e-3,
        keep_iterates: bool = False,
    ) -> None:
        self.prior = prior
        self.factorisation = factorisation
        self.noise_variance = noise_variance
        self.init = init
        self.n_anneal_steps = n_anneal_steps
        self.anneal_grid = anneal_grid
        self.step = step
        self.max_inner_rounds = max_inner_rounds
        self.max_iter = max_iter
        self.tol = tol
        self.keep_iterates = keep_iterates

    def fit(self, F: ParametricMatrix, y: ArrayLike) -> Self:
        """Fit coefficients and parameters of the columns.

        Parameters
        ----------
        F : ParametricMatrix
            The sensing matrix, real or complex.
        y : array-like of shape (M,) or (M, n_targets)
            Data; several targets share support, precisions and parameters.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If F is no ParametricMatrix.
        ValueError
            If data are not finite, shapes do not fit, derivatives are not those of the columns, a column is zero on the
            grid, or a parameter is out of its range.
        """
        check_parameters(self)
        sparse_prior = SparsePrior.checked(self.prior)
        if sparse_prior.structure not in ("chain", "iid"):
            raise ValueError(f"prior must have the structure 'chain' or 'iid'; got {sparse_prior.structure!r}")
        data, dtype = check_off_grid(F, y)
        schedule = OffGridSchedule(**{f.name: getattr(self, f.name) for f in fields(OffGridSchedule)})
        prior = sparse_prior.of_support(F.n_columns)
        grid = DynamicGrid.of(F, data.reshape(data.shape[0], -1))
        model = sparse_prior.model(
            grid.problem, prior.density, noise_variance=self.noise_variance, factorisation=self.factorisation
        )
        with blas_threads(gram_work(grid.problem.F.shape, is_complex=np.iscomplexobj(data))):
            fit = fit_off_grid(grid, model, prior, schedule)
        self._keep(fit, schedule.rule, dtype, data.ndim)
        return self

    def predict(self, F: ParametricMatrix) -> AnyArray:
        """Predict data from the fitted coefficients and parameters.

        Parameters
        ----------
        F : ParametricMatrix
            Another matrix of the same parameters, such as the array itself or other pilots, or that of the fit.

        Returns
        -------
        ndarray of shape (M,) or (M, n_targets)

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            If F is no ParametricMatrix.
        ValueError
            If it has another number of columns.
        """
        check_is_fitted(self)
        require_parametric(F)
        if F.n_columns != self.n_features_in_:
            raise ValueError(f"F must have the {self.n_features_in_} columns of the fit; got {F.n_columns}")
        return np.asarray(F.matrix(self.parameters_) @ self.coef_.T)

    def _keep(self, fit: OffGridFit, rule: str | float, dtype: Any, y_ndim: int) -> None:
        state, matrix = fit.inner.state, fit.grid.matrix
        self.n_features_in_ = matrix.n_columns
        self._keep_factors(state, state.x.mean, state.x.var, dtype, y_ndim)
        self.parameters_ = fit.grid.parameters.copy()
        self.offsets_ = (self.parameters_ - matrix.grid) / matrix.spacing
        self.history_, self.elbo_falls_ = fit.history, fit.falls
        self.n_iter_ = self.history_["elbo"].size
        self.converged_ = fit.change <= self.tol
        self.certificate_ = OffGridTurboVBICertificate.of(fit, self.coef_, self.tol, rule)
        if not self.converged_:
            warnings.warn(
                f"off-grid Turbo-VBI still moves by {fit.change:.2g} after {self.n_iter_} outer iterations; "
                + (
                    "steps of fixed size hardly ever come to rest: take step='ascent'"
                    if isinstance(rule, float)
                    else f"raise max_iter={self.max_iter}, or tol={self.tol:g}"
                ),
                ConvergenceWarning,
                stacklevel=3,
            )
