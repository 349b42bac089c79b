"""Warm-started paths of penalised least squares, for every penalty of the package."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_X_y

from sparsetheory.blas_threads import blas_threads
from sparsetheory.coding.penalties import make_penalty
from sparsetheory.coding.penalty import Penalty
from sparsetheory.regression.columns import refuse_half
from sparsetheory.regression.least_squares import LeastSquaresData, prepare
from sparsetheory.regression.levels import level_grid
from sparsetheory.regression.quadratic import DataQuadratic, GramQuadratic, Quadratic
from sparsetheory.regression.working_set import Solution, WorkingSetSolver

__all__ = [
    "RegularizationPath",
    "as_penalty",
    "check_weights",
    "data_path",
    "gram_lasso_path",
    "lasso_path",
    "prepare_penalised",
]

Levels = ArrayLike | Callable[[Quadratic, Penalty, NDArray[np.float64]], NDArray[np.float64]] | None

# Directions that a pass over the design serves at once, more or less: passes pay for threads from 4 million entries on.
_PRODUCTS = 16.0


@dataclass(frozen=True)
class RegularizationPath:
    """Solutions along decreasing penalty levels.

    Attributes
    ----------
    lams : ndarray of shape (n_lams,)
        Levels, decreasing.
    coefs : ndarray of shape (n_features, n_lams)
        Coefficients, in the precision of X.
    intercepts : ndarray of shape (n_lams,)
        Zero without `fit_intercept`.
    objectives : ndarray of shape (n_lams,)
        Loss plus penalty.
    gaps : ndarray of shape (n_lams,)
        Duality gaps for the l1 norm, else the largest violations of the optimality conditions.
    tolerance : float
        What each gap had to reach.
    n_iters : ndarray of int, shape (n_lams,)
        Working sets tried per level.
    n_screened : ndarray of int, shape (n_lams,)
        Features proved to be zero at the minimum, per level (l1 norm).
    """

    lams: NDArray[np.float64]
    coefs: NDArray[Any]
    intercepts: NDArray[np.float64]
    objectives: NDArray[np.float64]
    gaps: NDArray[np.float64]
    tolerance: float
    n_iters: NDArray[np.intp]
    n_screened: NDArray[np.intp]

    def in_precision(self, dtype: Any) -> "RegularizationPath":
        """Return the path with coefficients of the given dtype."""
        return replace(self, coefs=self.coefs.astype(dtype, copy=False))

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return predictions of all levels, shape (n_samples, n_lams)."""
        used = np.flatnonzero(self.coefs.any(axis=1))
        return np.asarray(X[:, used] @ self.coefs[used].astype(np.float64) + self.intercepts)


def as_penalty(penalty: str | Penalty) -> Penalty:
    """Resolve a penalty given by name.

    Raises
    ------
    ValueError
        If no penalty has that name.
    TypeError
        If it is neither a name nor a penalty.
    """
    if isinstance(penalty, Penalty):
        return penalty
    if isinstance(penalty, str):
        return make_penalty(penalty, 1.0)
    raise TypeError(f"penalty must be a name such as 'l1' or a Penalty object; got {type(penalty).__name__}")


def check_weights(weights: ArrayLike | None, n_features: int) -> NDArray[np.float64]:
    """Return one finite, non-negative weight per feature.

    Raises
    ------
    ValueError
        If there are too few or too many, or one is negative, infinite or NaN.
    """
    if weights is None:
        return np.ones(n_features)
    checked = np.asarray(weights, dtype=np.float64)
    if checked.shape != (n_features,) or not np.all(np.isfinite(checked)) or np.any(checked < 0):
        raise ValueError(
            f"weights must be {n_features} finite non-negative numbers, one per feature; "
            f"got shape {checked.shape} with minimum {np.min(checked, initial=np.inf):g}"
        )
    return checked


def lasso_path(
    X: Any,
    y: ArrayLike,
    *,
    penalty: str | Penalty = "l1",
    lams: ArrayLike | None = None,
    n_lams: int = 100,
    min_ratio: float = 1e-3,
    weights: ArrayLike | None = None,
    unpenalised: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = False,
    tol: float = 1e-6,
    max_iter: int = 100,
) -> RegularizationPath:
    r"""Minimise :math:`\frac{1}{2n}\|y - Xw\|^2 + \sum_j \phi(w_j; \lambda u_j)` along decreasing levels.

    Each level starts from the last. For the l1 norm every solution carries its duality gap; for the others the solution
    is coordinate-wise optimal along the path, not globally.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        float32 or float64; sparse input is used in CSC form. Fortran order is fastest.
    y : array-like of shape (n_samples,)
        Response.
    penalty : str or Penalty
        Its level is set by the path; its other numbers are kept.
    lams : array-like of shape (n_lams,), optional
        Positive levels, sorted here in decreasing order. By default a geometric grid of `n_lams` values from the
        smallest level at which all coefficients are zero down to `min_ratio` times it.
    n_lams, min_ratio : int, float
        The default grid.
    weights : array-like of shape (n_features,), optional
        Factors u of the levels. Zero means not penalised.
    unpenalised : array-like of int, optional
        Features fitted by least squares.
    sample_weight : array-like of shape (n_samples,), optional
        Row weights; they are normalised to mean one.
    fit_intercept : bool
        Whether a constant is fitted.
    tol : float
        Duality gap at most ``tol * |y|^2 / (2n)`` for the l1 norm; for other penalties the largest violation of the
        optimality conditions is at most ``tol * max |X'y| / n``.
    max_iter : int
        Working sets per level.

    Returns
    -------
    RegularizationPath

    Raises
    ------
    ValueError
        For data that are not finite, in half precision or of unequal lengths, levels that are not positive, weights
        that are negative.

    Warns
    -----
    ConvergenceWarning
        If a level misses the tolerance.

    Notes
    -----
    Working sets grow by violated conditions; on each, Gram-based coordinate descent finds the pattern and Newton steps
    with an updated Cholesky factor finish it. Memory O(n k + k^2) for k features ever active. Gap-safe spheres:
    O. Fercoq, A. Gramfort, J. Salmon (2015); strong rules as a guess: R. Tibshirani et al. (2012).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import lasso_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 200))
    >>> path = lasso_path(X, X[:, 3] - X[:, 7], n_lams=10, min_ratio=0.1)
    >>> np.flatnonzero(path.coefs[:, -1]).tolist()
    [3, 7]
    >>> bool(np.all(path.gaps <= path.tolerance))
    True
    """
    refuse_half(X)
    X, target = check_X_y(X, y, accept_sparse="csc", dtype=[np.float64, np.float32], y_numeric=True)
    checked = check_weights(weights, X.shape[1])
    data = prepare_penalised(X, target, sample_weight, checked, fit_intercept=fit_intercept, unpenalised=unpenalised)
    return data_path(data, as_penalty(penalty), checked, lams, n_lams, min_ratio, tol, max_iter).in_precision(X.dtype)


def prepare_penalised(
    X: Any,
    y: NDArray[Any],
    sample_weight: ArrayLike | None,
    weights: NDArray[np.float64],
    *,
    fit_intercept: bool,
    unpenalised: ArrayLike | None,
) -> LeastSquaresData:
    """Project out what is not penalised, features of weight zero included."""
    free = np.flatnonzero(weights == 0)
    if unpenalised is not None:
        given = np.asarray(unpenalised)
        free = np.union1d(free, np.flatnonzero(given) if given.dtype == bool else given)
    return prepare(X, y, sample_weight, fit_intercept=fit_intercept, unpenalised=free)


def data_path(
    data: LeastSquaresData,
    penalty: Penalty,
    weights: NDArray[np.float64],
    lams: Levels,
    n_lams: int,
    min_ratio: float,
    tol: float,
    max_iter: int,
) -> RegularizationPath:
    """Compute a path on prepared data; unpenalised coefficients and intercepts are filled in.

    Levels may be a function of the loss, the penalty and the weights.
    """
    quadratic = DataQuadratic(data.columns, data.y)
    with blas_threads(_PRODUCTS * data.y.shape[0] * data.n_features):
        levels, solutions = _solve_levels(quadratic, penalty, weights, lams, n_lams, min_ratio, tol, max_iter)
    coefs = np.zeros((data.n_features, levels.size))
    intercepts = np.zeros(levels.size)
    for i, solution in enumerate(solutions):
        coefs[solution.indices, i] = solution.values
        coefs[:, i], intercepts[i] = data.complete(coefs[:, i])
    return _collect(levels, coefs, intercepts, solutions)


def gram_lasso_path(
    gram: ArrayLike,
    correlations: ArrayLike,
    energy: float,
    *,
    penalty: str | Penalty = "l1",
    lams: ArrayLike | None = None,
    n_lams: int = 100,
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
    penalty, lams, n_lams, min_ratio, weights, tol, max_iter
        As in :func:`lasso_path`; weights must be positive.

    Returns
    -------
    RegularizationPath

    Raises
    ------
    ValueError
        If the shapes disagree, the matrix is not symmetric, or a weight is zero.
    """
    G = check_array(gram, dtype=np.float64)
    b = check_array(correlations, dtype=np.float64, ensure_2d=False)
    if G.shape != (b.size, b.size) or b.ndim != 1:
        raise ValueError(f"gram must be square with as many rows as correlations; got {G.shape} and {b.shape}")
    if not np.allclose(G, G.T, rtol=1e-10, atol=1e-10 * float(np.abs(G).max())):
        raise ValueError("gram must be symmetric")
    checked = check_weights(weights, b.size)
    if np.any(checked == 0):
        raise ValueError("weights must be positive here: project unpenalised features out of the statistics first")
    quadratic = GramQuadratic(G, b, float(energy))
    levels, solutions = _solve_levels(quadratic, as_penalty(penalty), checked, lams, n_lams, min_ratio, tol, max_iter)
    coefs = np.zeros((b.size, levels.size))
    for i, solution in enumerate(solutions):
        coefs[solution.indices, i] = solution.values
    return _collect(levels, coefs, np.zeros(levels.size), solutions)


def _solve_levels(
    quadratic: Quadratic,
    penalty: Penalty,
    weights: NDArray[np.float64],
    lams: Levels,
    n_lams: int,
    min_ratio: float,
    tol: float,
    max_iter: int,
) -> tuple[NDArray[np.float64], list[Solution]]:
    if not tol > 0:
        raise ValueError(f"tol must be positive; got {tol!r}")
    if lams is None:
        levels = level_grid(quadratic, penalty, weights, n_lams, min_ratio)
    elif callable(lams):
        levels = lams(quadratic, penalty, weights)
    else:
        levels = -np.sort(-np.atleast_1d(np.asarray(lams, dtype=np.float64)))
        if levels.ndim != 1 or levels.size == 0 or not np.all(np.isfinite(levels)) or levels[-1] <= 0:
            raise ValueError(f"lams must be positive finite levels; got {lams!r}")
    solver = WorkingSetSolver(quadratic, penalty, tol=tol, max_iter=max_iter)
    solutions = [solver.solve(level * weights) for level in levels]
    missed = [i for i, s in enumerate(solutions) if not s.converged]
    if missed:
        worst = max(missed, key=lambda i: solutions[i].gap)
        warnings.warn(
            f"{len(missed)} of {levels.size} levels missed the tolerance; the worst, lam={levels[worst]:.3g}, reached "
            f"{solutions[worst].gap:.3g} instead of {solutions[worst].tolerance:.3g}. Raise max_iter or tol, or stop "
            "the path at a larger level",
            ConvergenceWarning,
            stacklevel=4,
        )
    return levels, solutions


def _collect(
    levels: NDArray[np.float64],
    coefs: NDArray[np.float64],
    intercepts: NDArray[np.float64],
    solutions: list[Solution],
) -> RegularizationPath:
    return RegularizationPath(
        levels,
        coefs,
        intercepts,
        np.array([s.objective for s in solutions]),
        np.array([s.gap for s in solutions]),
        solutions[0].tolerance,
        np.array([s.n_iter for s in solutions]),
        np.array([s.screened.sum() for s in solutions]),
    )
