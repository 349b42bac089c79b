"""The closed form: least squares on noisy moments, then a soft threshold that knows the noise."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from sparsetheory.privacy.solvers.problem import MomentProblem
from sparsetheory.typing import Float64Array

__all__ = ["SoftLeastSquares", "soft_least_squares", "soft_threshold"]


@dataclass(frozen=True, eq=False)
class SoftLeastSquares:
    """Least squares on moments.

    Parameters
    ----------
    unthresholded : ndarray of shape (n_design,)
        Least squares.
    half_widths : ndarray of shape (n_design,)
        The true coefficients lie within these of least squares, all at once, with the stated confidence, where no
        eigenvalue was raised.
    min_eigenvalue : float
        The smallest eigenvalue of the second moments, before the floor.
    raised : bool
        Whether it was raised to the floor.
    """

    unthresholded: Float64Array
    half_widths: Float64Array
    min_eigenvalue: float
    raised: bool


def soft_threshold(values: Float64Array, alpha: float | Float64Array) -> Float64Array:
    """Return values moved towards zero by `alpha`, and zero where they would cross it."""
    return np.sign(values) * np.maximum(np.abs(values) - alpha, 0.0) + 0.0


def soft_least_squares(
    problem: MomentProblem, norm_bound: float, confidence: float, eigenvalue_floor: float
) -> SoftLeastSquares:
    r"""Solve the normal equations of noisy moments, and bound the error of every coefficient.

    Parameters
    ----------
    problem : MomentProblem
    norm_bound : float
        Bound C of the norm of the true coefficients, without the unit of the response.
    confidence : float
        Joint confidence of all bounds, in (0, 1).
    eigenvalue_floor : float
        Eigenvalues of the second moments below this share of their mean magnitude are raised to it. Bounds hold where
        none is.

    Returns
    -------
    SoftLeastSquares

    Notes
    -----
    Ours. With the inverse P of the released A the error is :math:`P (b - A\theta^*)`, where the noise of
    :math:`b - A \theta^*` has a variance of at most :math:`v / n` along every direction. The sample adds at most
    :math:`\sigma^2 P_{jj} / n` with the bound 1 of the response for :math:`\sigma`. Takes O(d^3).
    """
    eigenvalues, vectors = np.linalg.eigh(problem.second)
    floor = max(eigenvalue_floor, np.finfo(float).eps) * float(np.abs(eigenvalues).mean())
    raised = np.maximum(eigenvalues, max(floor, np.finfo(float).tiny))
    unthresholded = vectors @ ((vectors.T @ problem.cross) / raised)
    inverse = (vectors / raised) @ vectors.T
    bound = problem.coefficient_bound(norm_bound)
    variances = problem.noise.residual_std(bound) ** 2 * np.einsum("ij,ij->i", inverse, inverse) + np.diag(inverse)
    quantile = norm.isf((1 - confidence) / (2 * len(eigenvalues)))
    half_widths = quantile * np.sqrt(variances / problem.n_samples)
    return SoftLeastSquares(unthresholded, half_widths, float(eigenvalues[0]), bool(raised[0] > eigenvalues[0]))
