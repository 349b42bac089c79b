"""Iterative hard thresholding on second moments that need not be positive definite."""

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = ["curvature_bound", "hard_threshold", "moment_iht"]


def hard_threshold(values: Float64Array, n_kept: int) -> Float64Array:
    """Return values with all but the largest magnitudes set to zero; of equal ones the first stay.

    Parameters
    ----------
    values : ndarray of shape (n_features,)
    n_kept : int
        At most n_features.

    Returns
    -------
    ndarray of shape (n_features,)
        In O(n_features) time: by partial selection.
    """
    size = values.size
    if n_kept >= size:
        return values.copy()
    kept = np.zeros_like(values)
    if n_kept == 0:
        return kept
    magnitudes = np.abs(values)
    limit = np.partition(magnitudes, size - n_kept)[size - n_kept]
    above = np.flatnonzero(magnitudes > limit)
    ties = np.flatnonzero(magnitudes == limit)[: n_kept - above.size]
    for chosen in (above, ties):
        kept[chosen] = values[chosen]
    return kept


def curvature_bound(second: Float64Array, noise_norm: float, largest_eigenvalue: float | None) -> float:
    """Return a step constant L: 1.2 times the largest eigenvalue of the true second moments.

    Parameters
    ----------
    second : ndarray of shape (n_features, n_features)
        Released moments.
    noise_norm : float
        About the spectral norm of their noise.
    largest_eigenvalue : float or None
        A public bound of the largest eigenvalue; else it is taken from the release, less the noise, but no less than
        the mean of the diagonal.

    Returns
    -------
    float
    """
    if largest_eigenvalue is None:
        mean = float(np.trace(second)) / len(second)
        largest_eigenvalue = max(float(np.linalg.eigvalsh(second)[-1]) - noise_norm, mean)
    return 1.2 * largest_eigenvalue


def moment_iht(
    second: Float64Array,
    cross: Float64Array,
    n_nonzero: int,
    curvature: float,
    norm_bound: float,
    *,
    n_kept: int,
    n_steps: int,
) -> Float64Array:
    r"""Return the last iterate of projected hard thresholding.

    :math:`\theta \leftarrow \Pi_{\|\cdot\| \le C} H_{k'}(\theta + (b - A \theta) / L)`, then the k largest entries.
    Only blocks of the noise of 2k' rows and columns matter, and A need not be invertible.

    Parameters
    ----------
    second : ndarray of shape (n_features, n_features)
        Released moments A.
    cross : ndarray of shape (n_features,)
        Released moments b.
    n_nonzero : int
        Number k of non-zeros.
    curvature : float
        The step constant L.
    norm_bound : float
        Bound C of the norm of the coefficients.
    n_kept : int
        Number k' of non-zeros of the iterates.
    n_steps : int
        Number of steps.

    Returns
    -------
    ndarray of shape (n_features,)
    """
    coef = np.zeros_like(cross)
    for _ in range(n_steps):
        coef = hard_threshold(coef + (cross - second @ coef) / curvature, n_kept)
        norm = float(np.linalg.norm(coef))
        if norm > norm_bound:
            coef *= norm_bound / norm
    return hard_threshold(coef, n_nonzero)
