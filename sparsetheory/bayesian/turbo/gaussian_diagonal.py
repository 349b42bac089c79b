"""A factor of the coefficients without correlations: nothing is inverted or factorised."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.constraints import COUNT, NONNEGATIVE, POSITIVE
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["DiagonalPosterior", "diagonal_posterior"]

# Excess over the estimate of the largest eigenvalue, which power iteration approaches from below.
_MARGIN = 1.02
_POWER_STEPS = 30
# Sums of squares as long as the data rise by less than this through rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class DiagonalPosterior:
    """Independent Gaussians."""

    mean: AnyArray
    """Means, shape (N,)."""
    variance: Float64Array
    """Variances, never above those of the full covariance, shape (N,)."""
    objectives: Float64Array
    """``noise_precision |y - F mean|^2 + mean^H D mean`` before each step, non-increasing."""


def diagonal_posterior(
    F: ArrayLike,
    y: ArrayLike,
    precisions: ArrayLike,
    *,
    noise_precision: float,
    max_iter: int = 10_000,
    tol: float = 1e-10,
) -> DiagonalPosterior:
    r"""Return the best independent Gaussians for given precisions, in O(M N) memory and time per step.

    The mean is that of the full covariance :math:`(D + \kappa F^H F)^{-1}`; it is reached by steps that divide by
    :math:`\kappa L + D` with L above the largest eigenvalue of :math:`F^H F`. The variances are
    :math:`1 / (D_{ii} + \kappa \|f_i\|^2)`, which is too small.

    Parameters
    ----------
    F : array-like of shape (M, N)
        Sensing matrix.
    y : array-like of shape (M,)
        Data.
    precisions : array-like of shape (N,)
        Positive prior precisions D.
    noise_precision : float
        Positive noise precision.
    max_iter : int
        Largest number of steps.
    tol : float
        Tolerance, relative to the norm of the mean: stop once a step moves it by at most this.

    Returns
    -------
    DiagonalPosterior
        Means, variances, and the objective before each step.

    Raises
    ------
    ValueError
        If shapes do not fit, or a number is not positive.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` steps were not enough.

    Notes
    -----
    Steps converge at the rate ``1 - min(noise_precision lambda + D) / (noise_precision L + D)``, slowly for little
    noise. The step is that of the public code of successive linear approximation VBI (arXiv:2307.09149).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import diagonal_posterior
    >>> found = diagonal_posterior(np.eye(2), [1.0, 2.0], [1.0, 1.0], noise_precision=1.0)
    >>> found.mean.round(6).tolist(), found.variance.tolist()
    ([0.5, 1.0], [0.5, 0.5])
    """
    F, y, D = np.asarray(F), np.asarray(y), np.asarray(precisions, dtype=np.float64)
    if F.ndim != 2 or y.shape != F.shape[:1] or D.shape != F.shape[1:]:
        raise ValueError(f"F, y, precisions must be (M, N), (M,), (N,); got {F.shape}, {y.shape}, {D.shape}")
    if not np.all(np.isfinite(D) & (D > 0)):
        raise ValueError(f"precisions must be positive and finite; got {precisions!r}")
    noise_precision = POSITIVE.check("noise_precision", noise_precision)
    NONNEGATIVE.check("tol", tol)
    curvature = noise_precision * _MARGIN * _largest_eigenvalue(F)
    mean = before = np.zeros(D.size, np.result_type(F, y, np.float64))
    objectives: list[float] = []
    for _ in range(COUNT.check("max_iter", max_iter)):
        residual = y - F @ mean
        value = float(noise_precision * np.sum(np.abs(residual) ** 2) + D @ np.abs(mean) ** 2)
        if objectives and value > objectives[-1] * (1.0 + _ROUNDING):
            mean, curvature = before, 2.0 * curvature
            continue
        objectives.append(value)
        moved = (noise_precision * (F.conj().T @ residual) - D * mean) / (curvature + D)
        before, mean = mean, mean + moved
        if np.linalg.norm(moved) <= tol * np.linalg.norm(mean):
            break
    else:
        warnings.warn(f"the mean still moves after max_iter={max_iter} steps", ConvergenceWarning, stacklevel=2)
    var = 1.0 / (D + noise_precision * np.sum(np.abs(F) ** 2, axis=0))
    return DiagonalPosterior(mean, var, np.array(objectives))


def _largest_eigenvalue(F: AnyArray) -> float:
    """Return an estimate of the largest eigenvalue of ``F^H F``; a step that goes up shows that it is too small."""
    squares = np.sum(np.abs(F) ** 2, axis=0)
    vector = np.sqrt(squares).astype(np.result_type(F, np.float64))
    value = 0.0
    for _ in range(_POWER_STEPS):
        size = np.linalg.norm(vector)
        if size == 0:
            break
        vector = F.conj().T @ (F @ (vector / size))
        value = max(value, float(np.linalg.norm(vector)))
    return value
