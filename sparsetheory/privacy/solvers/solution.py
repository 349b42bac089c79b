"""From moments to coefficients, by any of the solvers."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from sparsetheory.privacy.solvers.moment_iht import curvature_bound, moment_iht
from sparsetheory.privacy.solvers.problem import MomentProblem
from sparsetheory.privacy.solvers.psd_lasso import psd_lasso
from sparsetheory.privacy.solvers.soft_least_squares import SoftLeastSquares, soft_least_squares, soft_threshold
from sparsetheory.typing import Float64Array

__all__ = ["Solution", "SolverSettings", "solve"]


@dataclass(frozen=True)
class SolverSettings:
    """What a solver needs besides the moments; nothing of it touches private data.

    Parameters
    ----------
    solver : {"moment_iht", "ols_soft", "psd_lasso"}
    n_nonzero, n_kept, n_steps : int
        For "moment_iht": non-zeros of the result and of the iterates, and steps.
    alpha : float or None
        Height of the threshold or strength of the penalty, without the unit of the response; None for the noise.
    norm_bound : float
        Bound of the norm of the coefficients, without the unit of the response.
    largest_eigenvalue : float or None
        Public bound for the features, for the step of "moment_iht".
    eigenvalue_floor : float
        For "ols_soft": share of the mean magnitude of eigenvalues.
    confidence : float
        Joint confidence of thresholds and intervals.
    tol : float
        For "psd_lasso".
    """

    solver: str
    n_nonzero: int
    n_kept: int
    n_steps: int
    alpha: float | None
    norm_bound: float
    largest_eigenvalue: float | None
    eigenvalue_floor: float
    confidence: float
    tol: float


@dataclass(frozen=True, eq=False)
class Solution:
    """Coefficients without units.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
    intercept : float
    least_squares : SoftLeastSquares
        The unthresholded solution, with its half widths.
    """

    coef: Float64Array
    intercept: float
    least_squares: SoftLeastSquares


def penalty_strength(problem: MomentProblem, settings: SolverSettings) -> float:
    """Return the strength of the Lasso: the noise of all entries of ``b - A theta`` at once, unless it was given."""
    if settings.alpha is not None:
        return settings.alpha
    spread = problem.noise.residual_std(settings.norm_bound) / float(np.sqrt(problem.n_samples))
    d = len(problem.cross) - bool(problem.constant)
    return float(norm.isf((1 - settings.confidence) / (2 * d))) * spread


def solve(problem: MomentProblem, settings: SolverSettings) -> Solution:
    """Return the coefficients of a problem.

    Parameters
    ----------
    problem : MomentProblem
    settings : SolverSettings

    Returns
    -------
    Solution
    """
    exact = soft_least_squares(problem, settings.norm_bound, settings.confidence, settings.eigenvalue_floor)
    second, cross = problem.without_constant()
    d = len(cross)
    if settings.solver == "ols_soft":
        alpha = exact.half_widths[:d] if settings.alpha is None else settings.alpha
        coef = soft_threshold(exact.unthresholded[:d], alpha)
    elif settings.solver == "psd_lasso":
        coef = psd_lasso(second, cross, penalty_strength(problem, settings), settings.tol)
    else:
        curvature = curvature_bound(second, problem.noise_norm, settings.largest_eigenvalue)
        coef = moment_iht(
            second,
            cross,
            settings.n_nonzero,
            curvature,
            settings.norm_bound,
            n_kept=settings.n_kept,
            n_steps=settings.n_steps,
        )
    return Solution(coef, problem.intercept(coef), exact)
