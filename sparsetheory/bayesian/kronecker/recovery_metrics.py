"""How well a support was recovered."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.kronecker.support import significant
from sparsetheory.constraints import Real

__all__ = ["support_recovery_rate"]


def support_recovery_rate(estimate: ArrayLike, truth: ArrayLike, *, relative_threshold: float = 1e-3) -> float:
    """Return the overlap of the estimated and the true support.

    Parameters
    ----------
    estimate, truth : array-like of shape (N,)
        Estimated and true coefficients.
    relative_threshold : float
        Estimates above this fraction of the largest count as support; in [0, 1).

    Returns
    -------
    float
        Common entries over all entries of either; 1 if both are empty.

    Raises
    ------
    ValueError
        If the shapes differ, or the threshold is not in [0, 1).

    Examples
    --------
    >>> from sparsetheory.bayesian import support_recovery_rate
    >>> support_recovery_rate([1.0, 1e-5, 0.5], [2.0, 0.0, 0.0])
    0.5
    """
    estimated, true = np.asarray(estimate), np.asarray(truth)
    if estimated.shape != true.shape or true.ndim != 1:
        raise ValueError(f"estimate and truth must be vectors of one length; got {estimated.shape} and {true.shape}")
    if not (np.all(np.isfinite(estimated)) and np.all(np.isfinite(true))):
        raise ValueError("estimate and truth must be finite; one contains NaN or infinity")
    Real(0.0, 1.0, closed="left").check("relative_threshold", relative_threshold)
    found, there = significant(estimated, relative_threshold), np.flatnonzero(true)
    either = np.union1d(found, there).size
    return np.intersect1d(found, there).size / either if either else 1.0
