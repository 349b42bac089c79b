"""What is fitted once the anchors are chosen: greedy or l1, on what the anchors leave.

Everything here is ours, in the sense of the two phases of Chandrasekaran, Meka and Stavropoulos (arXiv:2511.06211):
their phase 1 finds a preconditioner from the design alone, phase 2 solves the regression. The anchors' span plays the
preconditioner: it is fitted by least squares, and the rest is a regression with small l1 norm.
"""

from dataclasses import dataclass, replace

import numpy as np

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.greedy.stepwise import (
    ForwardPath,
    backward,
    choose_length,
    feature_price,
    forward_path,
    refit,
)
from sparsetheory.regression.lasso.working_set import solve_lasso
from sparsetheory.regression.theory import universal_alpha
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["Anchored", "PhaseTwo", "fit_greedy", "fit_lasso", "universal_level"]


@dataclass(frozen=True)
class Anchored:
    """A response and a design before and after the anchors are projected out.

    Attributes
    ----------
    base : Columns
        Design without the parts that are always in the model (intercept, forced features).
    anchors : ndarray of int
        Anchor features that may be dropped again.
    columns : Columns
        Design with the anchors projected out too.
    squares : ndarray of shape (n_features,)
        Squared norms of its columns; zero where they are rounding.
    n_observations : float
        Number of observations: rows, each as often as its weight says.
    """

    base: Columns
    anchors: IndexArray
    columns: Columns
    squares: Float64Array
    n_observations: float

    @property
    def rank(self) -> int:
        """Dimension of the anchors' span, with what is always in the model."""
        return 0 if self.columns.basis is None else self.columns.basis.shape[1]

    @property
    def n_free(self) -> float:
        """Degrees of freedom that this span leaves."""
        return self.n_observations - self.rank


@dataclass(frozen=True)
class PhaseTwo:
    """One fitted response.

    Attributes
    ----------
    coef : ndarray of shape (n_features,)
        Coefficients; parts that are always in the model are completed by the caller.
    sigma : float
        Noise level: given or estimated.
    rss : float
        Residual sum of squares.
    n_parameters : int
        Features in the model.
    path : ForwardPath or None
        Greedy steps.
    alpha, gap : float
        Level and duality gap of the l1 solvers, else NaN.
    price : float
        What every feature saves of the residual sum of squares, where some were deleted; else zero.
    """

    coef: Float64Array
    sigma: float
    rss: float
    n_parameters: int
    path: ForwardPath | None = None
    alpha: float = np.nan
    gap: float = np.nan
    price: float = 0.0

    def score(self, n_features: int) -> float:
        """Return the penalised residual by which draws are compared."""
        return self.rss + feature_price(self.sigma, n_features) * self.n_parameters


def universal_level(sigma: float, n_samples: int, n_features: int) -> float:
    """Return the level that exceeds the noise of all unit columns with probability 0.9."""
    return universal_alpha(sigma, n_samples, n_features, 0.1)


def fit_greedy(
    problem: Anchored, y: Float64Array, sigma: float | None, *, max_steps: int, frozen: bool, prune: bool, tol: float
) -> PhaseTwo:
    """Select forward from the anchors, delete backward what does not pay, anchors included, and refit.

    Parameters
    ----------
    problem : Anchored
        The design.
    y : ndarray of shape (n_samples,)
        Response without the parts that are always in the model.
    sigma : float or None
        Noise level; None estimates it.
    max_steps : int
        Largest number of forward steps.
    frozen : bool
        Compare features by their distance to the anchors (orthogonal matching pursuit) instead of to all selected.
    prune : bool
        Whether to delete.
    tol : float
        A step must explain this share of the response (its square, of the energy), whatever the noise.

    Returns
    -------
    PhaseTwo
    """
    d = problem.base.n_features
    steps = min(max_steps, max(int(problem.n_free // 5), 1))
    least = tol**2 * float(y @ y)
    price = least if sigma is None else max(feature_price(sigma, d), least)
    residual = problem.columns.project(y)
    path = forward_path(problem.columns, residual, problem.squares, max_steps=steps, frozen=frozen, stop_gain=price)
    chosen = path.indices
    if sigma is None:
        length, sigma = choose_length(path, problem.n_free, d)
        chosen = chosen[:length]
    members = np.concatenate([problem.anchors, chosen])
    price = max(feature_price(sigma, d), least) if prune else 0.0
    if prune and members.size:
        members = members[backward(problem.base.take(members), y, price)]
    return replace(_refit(problem, y, members, sigma, path), price=price)


def fit_lasso(problem: Anchored, y: Float64Array, sigma: float, alpha: float, *, tol: float, prune: bool) -> PhaseTwo:
    """Minimise the l1 norm of the coefficients times their distances to the anchors, anchors free.

    Parameters
    ----------
    problem, y
        As in :func:`fit_greedy`.
    sigma : float
        Noise level.
    alpha : float
        Level, for columns of unit distance (in root mean square).
    tol : float
        As in :func:`sparsetheory.regression.lasso_path`.
    prune : bool
        Delete backward from the active set and the anchors, and refit.

    Returns
    -------
    PhaseTwo
    """
    d, n = problem.base.n_features, problem.base.n_samples
    weights = np.sqrt(problem.squares / n)
    residual = problem.columns.project(y)
    solution = solve_lasso(problem.columns, residual, alpha * weights, squares=problem.squares, tol=tol)
    if prune:
        members = np.concatenate([problem.anchors, solution.indices])
        members = members[backward(problem.base.take(members), y, feature_price(sigma, d))] if members.size else members
        pruned = _refit(problem, y, members, sigma, None)
        return replace(pruned, alpha=alpha, gap=solution.gap, price=feature_price(sigma, d))
    coef = np.zeros(d)
    coef[solution.indices] = solution.values
    left = y - problem.base.apply(solution.indices, solution.values)
    coef[problem.anchors] = refit(problem.base.take(problem.anchors), left)
    rss = float(np.sum(problem.columns.project(left) ** 2))
    return PhaseTwo(coef, sigma, rss, problem.anchors.size + solution.indices.size, None, alpha, solution.gap)


def _refit(problem: Anchored, y: Float64Array, members: IndexArray, sigma: float, path: ForwardPath | None) -> PhaseTwo:
    coef = np.zeros(problem.base.n_features)
    block = problem.base.take(members)
    coef[members] = refit(block, y)
    rss = float(np.sum((y - block @ coef[members]) ** 2))
    return PhaseTwo(coef, sigma, rss, members.size, path)
