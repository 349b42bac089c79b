"""The error to expect from private moments, in closed form."""

import math

import numpy as np
from scipy.special import ndtr, ndtri

from sparsetheory.privacy.collection.noise import ReleaseNoise

__all__ = ["predicted_error"]


def predicted_error(
    noise: ReleaseNoise,
    n_samples: float,
    n_features: int,
    n_nonzero: int,
    norm_bound: float,
    *,
    solver: str = "moment_iht",
    noise_std: float = 0.0,
    confidence: float = 0.95,
) -> float:
    r"""Return the root mean square error of coefficients in the Euclidean norm, for isotropic features.

    Parameters
    ----------
    noise : ReleaseNoise
        Of one user.
    n_samples : float
        Number of users.
    n_features, n_nonzero : int
        Numbers d of features and k of non-zeros.
    norm_bound : float
        Norm C of the true coefficients, whose non-zeros have equal magnitude.
    solver : {"moment_iht", "ols_soft", "psd_lasso"}
        What is done with the moments.
    noise_std : float
        Standard deviation of the response around the model.
    confidence : float
        Of the threshold of the last two solvers.

    Returns
    -------
    float
        At most :math:`\sqrt 2 C`, the distance of two vectors of norm C without common entries.

    Notes
    -----
    Ours, a heuristic that the tests compare with simulations. An entry of :math:`b - A \theta` has the standard
    deviation :math:`\tau`. On the right support the error has k - 1 parts across the coefficients, and one along them,
    of which the bound of the norm takes half the square. A coefficient of size
    :math:`C / \sqrt k` loses its place to the largest of d - k noises, at about :math:`t \tau` with the quantile t of 1
    - 1 / (2 (d - k)), with probability :math:`\Phi((t - C / (\sqrt k\, \tau)) / \sqrt 2)`; this costs both. A soft
    threshold also moves every coefficient by its height, and answers zero where that is larger than all coefficients.
    """
    # Errors and noises are measured in units of C, whose square might leave the range of doubles.
    relative = ReleaseNoise(noise.off_diagonal_std, noise.diagonal_std, noise.cross_std / norm_bound)
    error = _relative_error(
        relative, n_samples, n_features, max(n_nonzero, 1), solver, noise_std / norm_bound, confidence
    )
    return error * norm_bound


def _relative_error(
    noise: ReleaseNoise, n_samples: float, d: int, k: int, solver: str, noise_std: float, confidence: float
) -> float:
    """Return the predicted error for coefficients of norm one."""
    size = 1 / math.sqrt(k)
    variance = noise.cross_std**2 + noise_std**2
    variance += noise.off_diagonal_std**2 * (1 - size**2) + noise.diagonal_std**2 * size**2
    tau = math.sqrt(variance / n_samples)
    if tau == 0:
        return 0.0
    if solver != "moment_iht":
        return _after_threshold(noise, n_samples, d, k, solver, tau, noise_std, confidence)
    # On the support the symmetric noise N of A has Cov(N theta) = v (I + theta theta^T) + (w - 2 v) I / k for entries
    # of variance v off the diagonal and w on it, and coefficients of one size and norm one.
    across = noise.cross_std**2 + noise_std**2 + noise.off_diagonal_std**2 * (1 - 2 * size**2)
    across += noise.diagonal_std**2 * size**2
    along = across + noise.off_diagonal_std**2
    found = ((k - 1) * across + along / 2) / n_samples
    rivals = max(d - k, 1)
    quantile = -float(ndtri(1 / (2 * rivals))) if d > k else 0.0
    missed = float(ndtr((quantile - size / tau) / math.sqrt(2))) if d > k else 0.0
    squared = (1 - missed) * found + missed * k * (size**2 + (quantile * tau) ** 2)
    return min(math.sqrt(squared), math.sqrt(2))


def _after_threshold(
    noise: ReleaseNoise,
    n_samples: float,
    d: int,
    k: int,
    solver: str,
    tau: float,
    noise_std: float,
    confidence: float,
) -> float:
    if solver == "ols_soft" and noise.spectral_norm(d) / math.sqrt(n_samples) > 0.5:
        return 1.0  # noise of the size of the eigenvalues: thresholds exceed everything
    worst = math.hypot(noise.residual_std(1.0), noise_std) / math.sqrt(n_samples)
    height = -float(ndtri((1 - confidence) / (2 * d))) * worst
    return float(min(1.0, np.sqrt(k) * math.hypot(height, tau)))
