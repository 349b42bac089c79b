"""What is fitted once the anchors are chosen: greedy or l1, on what the anchors leave.

Everything here is ours, in the sense of the two phases of Chandrasekaran, Meka and Stavropoulos (arXiv:2511.06211):
their first phase finds a preconditioner from the design alone, the second solves the regression. Here the span of the
anchors takes the place of the preconditioner: it is fitted by least squares, and the rest is a regression with small
l1 norm.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.model_selection import KFold

from sparsetheory.penalties.separable import L1
from sparsetheory.regression.greedy.stepwise import (
    ForwardPath,
    backward,
    choose_length,
    feature_cost,
    forward_path,
    refit,
)
from sparsetheory.regression.lasso.path import data_path
from sparsetheory.regression.lasso.working_set import solve_lasso
from sparsetheory.regression.least_squares import prepare
from sparsetheory.regression.random_supports.anchored_design import AnchoredDesign
from sparsetheory.regression.theory import universal_alpha
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AnchoredFit", "cross_validated_alpha", "default_alpha", "fit_greedy", "fit_lasso", "fit_response"]

# Contiguous folds, and the grid of strengths, of cross-validation.
_FOLDS, _N_ALPHAS, _MIN_RATIO = 5, 40, 1e-3


@dataclass(frozen=True)
class AnchoredFit:
    """One fitted response.

    Attributes
    ----------
    coef : ndarray of shape (n_features,)
        Coefficients; parts that are always in the model are completed by the caller.
    noise_std : float
        Standard deviation of the noise, given or estimated.
    rss : float
        Residual sum of squares.
    n_parameters : int
        Features in the model.
    path : ForwardPath or None
        Greedy steps.
    alpha, gap : float
        Strength and duality gap of the l1 solvers, else NaN.
    cost : float
        What every feature saves of the residual sum of squares, where some were deleted; else zero.
    """

    coef: Float64Array
    noise_std: float
    rss: float
    n_parameters: int
    path: ForwardPath | None = None
    alpha: float = np.nan
    gap: float = np.nan
    cost: float = 0.0

    def score(self, n_features: int) -> float:
        """Return the penalised residual by which draws are compared."""
        return self.rss + feature_cost(self.noise_std, n_features) * self.n_parameters


def default_alpha(noise_std: float, n_samples: int, n_features: int) -> float:
    """Return the strength that exceeds the noise of all unit columns with probability 0.9."""
    return universal_alpha(noise_std, n_samples, n_features, 0.1)


def fit_response(
    problem: AnchoredDesign,
    y: Float64Array,
    noise_std: float | None,
    *,
    solver: str,
    alpha: str | float,
    max_steps: int,
    prune: bool,
    tol: float,
) -> AnchoredFit:
    """Fit one response by a solver of :class:`RandomSupportRegressor`, whose parameters these are.

    Parameters
    ----------
    problem : AnchoredDesign
        The design.
    y : ndarray of shape (n_samples,)
        Response without the parts that are always in the model.
    noise_std : float or None
        Standard deviation of the noise; None estimates it.
    solver : {"foba", "omp", "lasso", "lasso+prune"}
        Which one.
    alpha : {"universal", "cv"} or float
        Strength of the l1 norm.
    max_steps, prune, tol : int, bool, float
        As in :func:`fit_greedy`.

    Returns
    -------
    AnchoredFit
    """
    if solver in ("foba", "omp"):
        fixed_norms = solver == "omp"
        return fit_greedy(problem, y, noise_std, max_steps=max_steps, fixed_norms=fixed_norms, prune=prune, tol=tol)
    if noise_std is None:
        # The strength of the l1 norm needs the noise; the greedy solver estimates it best.
        greedy = fit_greedy(problem, y, None, max_steps=max_steps, fixed_norms=False, prune=True, tol=tol)
        noise_std = greedy.noise_std
    if alpha == "universal":
        strength = default_alpha(noise_std, *problem.base.X.shape)
    elif alpha == "cv":
        strength = cross_validated_alpha(problem, y, tol=tol)
    else:
        strength = float(alpha)
    return fit_lasso(problem, y, noise_std, strength, tol=tol, prune=solver == "lasso+prune")


def fit_greedy(
    problem: AnchoredDesign,
    y: Float64Array,
    noise_std: float | None,
    *,
    max_steps: int,
    fixed_norms: bool,
    prune: bool,
    tol: float,
) -> AnchoredFit:
    """Select forward from the anchors, delete backward what does not pay, anchors included, and refit.

    Parameters
    ----------
    problem : AnchoredDesign
        The design.
    y : ndarray of shape (n_samples,)
        Response without the parts that are always in the model.
    noise_std : float or None
        Standard deviation of the noise; None estimates it.
    max_steps : int
        Largest number of forward steps.
    fixed_norms : bool
        Compare features by their distance to the anchors (orthogonal matching pursuit) instead of to all selected.
    prune : bool
        Whether to delete.
    tol : float
        Tolerance, relative to the norm of the response: a step must explain more than this, whatever the noise.

    Returns
    -------
    AnchoredFit
    """
    n_features = problem.base.n_features
    steps = min(max_steps, max(int(problem.n_free // 5), 1))
    least = tol**2 * float(y @ y)
    cost = least if noise_std is None else max(feature_cost(noise_std, n_features), least)
    residual = problem.columns.project(y)
    path = forward_path(
        problem.columns, residual, problem.squares, max_steps=steps, fixed_norms=fixed_norms, stop_gain=cost
    )
    chosen = path.indices
    if noise_std is None:
        length, noise_std = choose_length(path, problem.n_free, n_features)
        chosen = chosen[:length]
    members = np.concatenate([problem.anchors, chosen])
    cost = max(feature_cost(noise_std, n_features), least) if prune else 0.0
    if prune and members.size:
        members = members[backward(problem.base.take(members), y, cost)]
    return replace(_refit(problem, y, members, noise_std, path), cost=cost)


def fit_lasso(
    problem: AnchoredDesign, y: Float64Array, noise_std: float, alpha: float, *, tol: float, prune: bool
) -> AnchoredFit:
    """Minimise the l1 norm of the coefficients times their distances to the anchors, anchors free.

    Parameters
    ----------
    problem, y
        As in :func:`fit_greedy`.
    noise_std : float
        Standard deviation of the noise.
    alpha : float
        Strength, for columns of unit distance (in root mean square).
    tol : float
        As in :func:`sparsetheory.regression.lasso_path`.
    prune : bool
        Delete backward from the active set and the anchors, and refit.

    Returns
    -------
    AnchoredFit
    """
    n_features = problem.base.n_features
    weights = np.sqrt(problem.squares / problem.base.n_samples)
    residual = problem.columns.project(y)
    solution = solve_lasso(problem.columns, residual, alpha * weights, squares=problem.squares, tol=tol)
    if prune:
        cost = feature_cost(noise_std, n_features)
        members = np.concatenate([problem.anchors, solution.indices])
        if members.size:
            members = members[backward(problem.base.take(members), y, cost)]
        pruned = _refit(problem, y, members, noise_std, None)
        return replace(pruned, alpha=alpha, gap=solution.gap, cost=cost)
    coef = np.zeros(n_features)
    coef[solution.indices] = solution.values
    left = y - problem.base.apply(solution.indices, solution.values)
    coef[problem.anchors] = refit(problem.base.take(problem.anchors), left)
    rss = float(np.sum(problem.columns.project(left) ** 2))
    return AnchoredFit(coef, noise_std, rss, problem.anchors.size + solution.indices.size, None, alpha, solution.gap)


def _refit(
    problem: AnchoredDesign, y: Float64Array, members: IndexArray, noise_std: float, path: ForwardPath | None
) -> AnchoredFit:
    coef = np.zeros(problem.base.n_features)
    block = problem.base.take(members)
    coef[members] = refit(block, y)
    rss = float(np.sum((y - block @ coef[members]) ** 2))
    return AnchoredFit(coef, noise_std, rss, members.size, path)


def cross_validated_alpha(problem: AnchoredDesign, y: Float64Array, *, tol: float) -> float:
    """Return the strength with the least mean squared error over five contiguous folds.

    The anchors and the weights, which depend on the design alone, stay; the span of the anchors and of what is always
    in the model is projected out afresh on every training fold.

    Parameters
    ----------
    problem : AnchoredDesign
        The design; parts that are always in the model are already projected out of the response.
    y : ndarray of shape (n_samples,)
        Response.
    tol : float
        As in :func:`sparsetheory.regression.lasso_path`.

    Returns
    -------
    float
    """
    n = problem.base.n_samples
    alive = np.flatnonzero(problem.squares > 0)
    weights = np.concatenate([np.sqrt(problem.squares[alive] / n), np.zeros(problem.anchors.size)])
    if alive.size == 0:
        return 1.0
    residual = problem.columns.project(y)
    largest = float(np.max(np.abs(problem.columns.correlate(residual)[alive]) / (n * weights[: alive.size])))
    if largest == 0.0:
        return 1.0
    alphas = largest * np.geomspace(1.0, _MIN_RATIO, _N_ALPHAS)
    used = _with_columns(problem.base.X[:, np.concatenate([alive, problem.anchors])], problem.base.basis)
    weights = np.concatenate([weights, np.zeros(used.shape[1] - weights.size)])
    free = np.arange(alive.size, weights.size)
    errors = np.zeros(_N_ALPHAS)
    for train, test in KFold(_FOLDS).split(np.empty(n)):
        data = prepare(_rows(used, train), y[train], unpenalised=free)
        path = data_path(data, L1(1.0), weights, alphas, _N_ALPHAS, _MIN_RATIO, tol, 100)
        errors += np.sum((path.predict(_rows(used, test)) - y[test][:, None]) ** 2, axis=0)
    return float(alphas[np.argmin(errors)])


def _rows(X: Any, rows: IndexArray) -> Any:
    return X[rows].tocsc() if hasattr(X, "tocsc") else X[rows]


def _with_columns(X: Any, basis: Float64Array | None) -> Any:
    """Return a design followed by what is always in the model."""
    if basis is None:
        return X
    return sparse.hstack([X, sparse.csc_array(basis)], format="csc") if sparse.issparse(X) else np.hstack([X, basis])
