"""Warm-started paths of penalised least squares, for every penalty of the package."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_X_y

from sparsetheory.blas_threads import blas_threads
from sparsetheory.constraints import COUNT, FLAG, FRACTION, POSITIVE, Array
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.separable import make_penalty
from sparsetheory.penalties.zero_solution import alpha_max
from sparsetheory.regression.columns import refuse_half
from sparsetheory.regression.gram_statistics import check_statistics
from sparsetheory.regression.lasso.quadratic import DataQuadratic, GramQuadratic, Quadratic
from sparsetheory.regression.lasso.working_set import Solution, WorkingSetSolver
from sparsetheory.regression.least_squares import LeastSquaresData, check_indices, prepare
from sparsetheory.regression.linear_model import predictions
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = [
    "RegularizationPath",
    "check_weights",
    "data_path",
    "gram_lasso_path",
    "largest_alpha",
    "lasso_path",
    "penalty_for",
    "prepare_penalised",
]

Alphas = ArrayLike | Callable[[Quadratic, Penalty, Float64Array], Float64Array] | None

# Directions that a pass over the design serves at once, more or less: passes pay for threads from 4 million entries on.
_PRODUCTS = 16.0
# Rounding errors of a correlation, as a share of the norms of its factors.
_ROUNDINGS = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class RegularizationPath:
    """Solutions along decreasing strengths of the penalty.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,)
        Strengths of the penalty, decreasing.
    coefs : ndarray of shape (n_features, n_alphas)
        Coefficients, in the precision of X.
    intercepts : ndarray of shape (n_alphas,)
        Zero without `fit_intercept`.
    objectives : ndarray of shape (n_alphas,)
        Loss plus penalty.
    gaps : ndarray of shape (n_alphas,)
        Duality gaps for convex penalties, else the largest violations of the optimality conditions.
    gap_bound : float
        What each gap had to reach.
    n_iter : ndarray of int, shape (n_alphas,)
        Working sets tried for each alpha.
    n_screened : ndarray of int, shape (n_alphas,)
        Features proved to be zero at the minimum, for each alpha (convex penalties).
    """

    alphas: Float64Array
    coefs: AnyArray
    intercepts: Float64Array
    objectives: Float64Array
    gaps: Float64Array
    gap_bound: float
    n_iter: IndexArray
    n_screened: IndexArray

    def predict(self, X: Any) -> AnyArray:
        """Return predictions for all alphas, shape (n_samples, n_alphas).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            New rows.

        Raises
        ------
        ValueError
            If the number of features is not that of the path, or X is not finite.
        """
        X = check_array(X, accept_sparse=["csr", "csc"], dtype=[np.float64, np.float32])
        if X.shape[1] != self.coefs.shape[0]:
            raise ValueError(
                f"X has {X.shape[1]} features, but RegularizationPath is expecting {self.coefs.shape[0]} features"
            )
        return predictions(X, self.coefs, self.intercepts)


def penalty_for(penalty: str | Penalty, n_features: int, *, positive: bool = False) -> Penalty:
    """Resolve a penalty given by name; `positive` may forbid negative entries that an object allows.

    Raises
    ------
    ValueError
        If no penalty has that name, it needs a further number, or has one for each of other than `n_features`.
    TypeError
        If it is neither a name nor a penalty.
    """
    FLAG.check("positive", positive)
    if isinstance(penalty, Penalty):
        if np.ndim(penalty.shape) and np.size(penalty.shape) != n_features:
            raise ValueError(f"penalty must have one number per feature, {n_features}; got {np.size(penalty.shape)}")
        return replace(penalty, positive=True) if positive else penalty
    if isinstance(penalty, str):
        try:
            return make_penalty(penalty, 1.0, positive=positive)
        except TypeError as error:
            raise ValueError(f"{error}; pass an object such as Lq(1.0, q=0.5) instead of its name") from error
    raise TypeError(f"penalty must be a name such as 'l1' or a Penalty object; got {type(penalty).__name__}")


def check_weights(weights: ArrayLike | None, n_features: int) -> Float64Array:
    """Return one finite, non-negative weight per feature.

    Raises
    ------
    ValueError
        If there are too few or too many, or one is negative, infinite or NaN.
    """
    if weights is None:
        return np.ones(n_features)
    words = f"{n_features} finite non-negative numbers, one per feature"
    checked = np.asarray(Array(words).check("weights", weights), dtype=np.float64)
    if checked.shape != (n_features,) or not np.all(np.isfinite(checked)) or np.any(checked < 0):
        raise ValueError(
            f"weights must be {words}; got shape {checked.shape} with minimum {np.min(checked, initial=np.inf):g}"
        )
    return checked


def lasso_path(
    X: Any,
    y: ArrayLike,
    *,
    penalty: str | Penalty = "l1",
    positive: bool = False,
    alphas: ArrayLike | None = None,
    n_alphas: int = 100,
    min_ratio: float = 1e-3,
    weights: ArrayLike | None = None,
    unpenalised: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = False,
    tol: float = 1e-6,
    max_iter: int = 100,
) -> RegularizationPath:
    r"""Minimise :math:`\frac{1}{2n}\|y - Xw\|^2 + \sum_j \phi(w_j; \lambda u_j)` along decreasing strengths.

    Each solution starts from the last. For convex penalties every solution carries its duality gap; for the others the
    solution is coordinate-wise optimal along the path, not globally.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        float32 or float64; sparse input is used in CSC form. Fortran order is fastest.
    y : array-like of shape (n_samples,)
        Response.
    penalty : str or Penalty
        One of the names "l1", "elastic_net", "l0", "cel0", "mcp" and "scad", or an object. Its strength is set by the
        path; its other numbers are kept. Penalties that need a number have no default for it: pass ``Lq(1.0, q=0.5)``,
        ``LogSum(1.0, eps=0.1)`` or ``CappedL1(1.0, theta=1.0)``.
    positive : bool
        Whether penalised coefficients must be at least zero, as they must where the object says so.
    alphas : array-like of shape (n_alphas,), optional
        Positive strengths, sorted here in decreasing order. By default a geometric grid of `n_alphas` values from the
        smallest strength at which all coefficients are zero down to `min_ratio` times it.
    n_alphas, min_ratio : int, float
        The default grid.
    weights : array-like of shape (n_features,), optional
        Factors u of the strength. Zero means not penalised.
    unpenalised : array-like of int, optional
        Features fitted by least squares.
    sample_weight : array-like of shape (n_samples,), optional
        Row weights; they are normalised to mean one.
    fit_intercept : bool
        Whether a constant is fitted.
    tol : float
        Tolerance, relative to half the mean square of the response for the duality gap of convex penalties; for other
        penalties relative to ``max |X'y| / n`` for the largest violation of the optimality conditions.
    max_iter : int
        Working sets for each alpha.

    Returns
    -------
    RegularizationPath

    Raises
    ------
    ValueError
        For data that are not finite, in half precision or of unequal lengths, strengths that are not positive, weights
        that are negative.

    Warns
    -----
    ConvergenceWarning
        If a solution misses the tolerance.

    Notes
    -----
    Working sets grow by violated conditions; on each, Gram-based coordinate descent finds the pattern and Newton steps
    with an updated Cholesky factor finish it. Memory O(n k + k^2) for k features ever active. Gap-safe spheres:
    O. Fercoq, A. Gramfort, J. Salmon (2015); strong rules as a guess: R. Tibshirani et al. (2012). The gap of the
    elastic net is that of the l1 norm on a design with more rows, one per feature, that are never formed.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import lasso_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 200))
    >>> path = lasso_path(X, X[:, 3] - X[:, 7], n_alphas=10, min_ratio=0.1)
    >>> np.flatnonzero(path.coefs[:, -1]).tolist()
    [3, 7]
    >>> bool(np.all(path.gaps <= path.gap_bound))
    True
    """
    refuse_half(X)
    X, target = check_X_y(X, y, accept_sparse="csc", dtype=[np.float64, np.float32], y_numeric=True)
    checked = check_weights(weights, X.shape[1])
    data = prepare_penalised(X, target, sample_weight, checked, fit_intercept=fit_intercept, unpenalised=unpenalised)
    kind = penalty_for(penalty, X.shape[1], positive=positive)
    return data_path(data, kind, checked, alphas, n_alphas, min_ratio, tol, max_iter, dtype=X.dtype)


def prepare_penalised(
    X: Any,
    y: AnyArray,
    sample_weight: ArrayLike | None,
    weights: Float64Array,
    *,
    fit_intercept: bool,
    unpenalised: ArrayLike | None,
) -> LeastSquaresData:
    """Project out what is not penalised, features of weight zero included."""
    free = np.union1d(np.flatnonzero(weights == 0), check_indices("unpenalised", unpenalised, X.shape[1]))
    return prepare(X, y, sample_weight, fit_intercept=fit_intercept, unpenalised=free)


def data_path(
    data: LeastSquaresData,
    penalty: Penalty,
    weights: Float64Array,
    alphas: Alphas,
    n_alphas: int,
    min_ratio: float,
    tol: float,
    max_iter: int,
    *,
    dtype: DTypeLike = np.float64,
) -> RegularizationPath:
    """Compute a path on prepared data; unpenalised coefficients and intercepts are filled in.

    `alphas` may be a function of the loss, the penalty and the weights. Coefficients are kept in precision `dtype`, and
    intercepts are those of the coefficients as they are kept.
    """
    quadratic = DataQuadratic(data.columns, data.y)
    with blas_threads(_PRODUCTS * data.y.shape[0] * data.n_features):
        strengths, solutions = _solve_path(quadratic, penalty, weights, alphas, n_alphas, min_ratio, tol, max_iter)
    coefs = np.zeros((data.n_features, strengths.size), dtype=dtype)
    intercepts = np.zeros(strengths.size)
    for i, solution in enumerate(solutions):
        values = np.zeros(data.n_features)
        values[solution.indices] = solution.values
        coefs[:, i], intercepts[i] = data.complete(values, dtype)
    return _collect(strengths, coefs, intercepts, solutions)


def gram_lasso_path(
    gram: ArrayLike,
    correlations: ArrayLike,
    energy: float,
    *,
    penalty: str | Penalty = "l1",
    positive: bool = False,
    alphas: ArrayLike | None = None,
    n_alphas: int = 100,
    min_ratio: float = 1e-3,
    weights: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iter: int = 100,
) -> RegularizationPath:
    """Compute the path from sufficient statistics, when the data are too many or gone.

    Parameters
    ----------
    gram : array-like of shape (n_features, n_features)
        ``X'X / n``, symmetric positive semidefinite.
    correlations : array-like of shape (n_features,)
        ``X'y / n``.
    energy : float
        ``y'y / n``.
    penalty, positive, alphas, n_alphas, min_ratio, weights, tol, max_iter
        As in :func:`lasso_path`; weights must be positive.

    Returns
    -------
    RegularizationPath

    Raises
    ------
    ValueError
        If the shapes disagree, a weight is zero, or no data have such statistics: `gram` must be symmetric and
        positive semidefinite, and `correlations` and `energy` must fit it (see
        :func:`sparsetheory.regression.gram_statistics.check_statistics`).
    """
    G, b, energy = check_statistics(gram, correlations, energy)
    checked, kind = check_weights(weights, b.size), penalty_for(penalty, b.size, positive=positive)
    if np.any(checked == 0):
        raise ValueError("weights must be positive here: project unpenalised features out of the statistics first")
    quadratic = GramQuadratic(G, b, energy)
    strengths, solutions = _solve_path(quadratic, kind, checked, alphas, n_alphas, min_ratio, tol, max_iter)
    coefs = np.zeros((b.size, strengths.size))
    for i, solution in enumerate(solutions):
        coefs[solution.indices, i] = solution.values
    return _collect(strengths, coefs, np.zeros(strengths.size), solutions)


def largest_alpha(quadratic: Quadratic, penalty: Penalty, weights: Float64Array) -> float:
    """Return the smallest strength from which on zero is optimal in every coordinate; 1 if it always is."""
    correlation, curvature = np.where(weights > 0, quadratic.linear, 0.0), quadratic.curvature
    if not penalty.convex:
        # Where a coefficient jumps, the path must not find another sum of the same correlation on the other side.
        rounding = _ROUNDINGS * np.sqrt(curvature) * np.sqrt(quadratic.energy)
        correlation = correlation + rounding * np.sign(correlation)
    return alpha_max(correlation, curvature, penalty, weights) or 1.0


def _solve_path(
    quadratic: Quadratic,
    penalty: Penalty,
    weights: Float64Array,
    alphas: Alphas,
    n_alphas: int,
    min_ratio: float,
    tol: float,
    max_iter: int,
) -> tuple[Float64Array, list[Solution]]:
    POSITIVE.check("tol", tol)
    COUNT.check("max_iter", max_iter)
    if alphas is None:
        count = COUNT.check("n_alphas", n_alphas)
        FRACTION.check("min_ratio", min_ratio)
        strengths = largest_alpha(quadratic, penalty, weights) * np.geomspace(1.0, min_ratio, count)
    elif callable(alphas):
        strengths = alphas(quadratic, penalty, weights)
    else:
        given = Array("positive finite numbers").check("alphas", alphas)
        strengths = -np.sort(-np.atleast_1d(np.asarray(given, dtype=np.float64)))
        if strengths.ndim != 1 or strengths.size == 0 or not np.all(np.isfinite(strengths)) or strengths[-1] <= 0:
            raise ValueError(f"alphas must be positive finite numbers; got {alphas!r}")
    solver = WorkingSetSolver(quadratic, penalty, tol=tol, max_iter=max_iter)
    solutions = [solver.solve(strength * weights) for strength in strengths]
    missed = [i for i, s in enumerate(solutions) if not s.converged]
    if missed:
        worst = max(missed, key=lambda i: solutions[i].gap)
        warnings.warn(
            f"{len(missed)} of {strengths.size} fits missed the tolerance; the worst, alpha={strengths[worst]:.3g}, "
            f"reached {solutions[worst].gap:.3g} instead of {solutions[worst].tolerance:.3g}. Raise max_iter or tol, "
            "or stop the path at a larger alpha",
            ConvergenceWarning,
            stacklevel=4,
        )
    return strengths, solutions


def _collect(
    strengths: Float64Array,
    coefs: Float64Array,
    intercepts: Float64Array,
    solutions: list[Solution],
) -> RegularizationPath:
    return RegularizationPath(
        strengths,
        coefs,
        intercepts,
        np.array([s.objective for s in solutions]),
        np.array([s.gap for s in solutions]),
        solutions[0].tolerance,
        np.array([s.n_iter for s in solutions]),
        np.array([s.screened.sum() for s in solutions]),
    )
