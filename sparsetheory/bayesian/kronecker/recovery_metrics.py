"""How well a support was recovered."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.kronecker.support import significant
from sparsetheory.constraints import NONNEGATIVE

__all__ = ["support_recovery_rate"]


def support_recovery_rate(x_hat: ArrayLike, x: ArrayLike, rel: float = 1e-3) -> float:
    """Return the overlap of the estimated and the true support.

    Parameters
    ----------
    x_hat, x : array-like of shape (N,)
        Estimate and truth.
    rel : float
        Estimates above this share of the largest count as support.

    Returns
    -------
    float
        Common entries over all entries of either; 1 if both are empty.

    Raises
    ------
    ValueError
        If the shapes differ, or `rel` is not in [0, 1).

    Examples
    --------
    >>> from sparsetheory.bayesian import support_recovery_rate
    >>> support_recovery_rate([1.0, 1e-5, 0.5], [2.0, 0.0, 0.0])
    0.5
    """
    estimate, truth = np.asarray(x_hat), np.asarray(x)
    if estimate.shape != truth.shape or truth.ndim != 1:
        raise ValueError(f"x_hat and x must be vectors of one length; got shapes {estimate.shape} and {truth.shape}")
    if not (np.all(np.isfinite(estimate)) and np.all(np.isfinite(truth))):
        raise ValueError("x_hat and x must be finite; one contains NaN or infinity")
    if NONNEGATIVE.check("rel", rel) >= 1:
        raise ValueError(f"rel must be below 1; got {rel!r}")
    found, there = significant(estimate, rel), np.flatnonzero(truth)
    either = np.union1d(found, there).size
    return np.intersect1d(found, there).size / either if either else 1.0
