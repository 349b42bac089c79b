"""Confidence limits of a proportion: exact ones for verdicts, quick ones for choosing what to test."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri

from sparsetheory.typing import Float64Array

__all__ = ["exact_lower", "exact_upper", "quick_limits"]


def exact_lower(count: ArrayLike, n_trials: int, level: float) -> Any:
    """Return the Clopper-Pearson limit that exceeds the true proportion with probability at most `level`.

    It is the p with P(Bin(n, p) >= count) = level, a quantile of a beta law, and 0 for a count of 0.

    Examples
    --------
    >>> float(exact_lower(0, 10, 0.05)), round(float(exact_lower(10, 10, 0.05)), 6)
    (0.0, 0.741134)
    """
    count = np.asarray(count, dtype=np.float64)
    limit = betaincinv(np.maximum(count, 1.0), n_trials - count + 1.0, level)
    return np.where(count > 0, limit, 0.0)


def exact_upper(count: ArrayLike, n_trials: int, level: float) -> Any:
    """Return the Clopper-Pearson limit that the true proportion exceeds with probability at most `level`.

    Examples
    --------
    >>> round(float(exact_upper(0, 10, 0.05)), 6)
    0.258866
    """
    return 1.0 - exact_lower(n_trials - np.asarray(count, dtype=np.float64), n_trials, level)


def quick_limits(count: ArrayLike, n_trials: int, level: float) -> tuple[Float64Array, Float64Array]:
    """Return Wilson's score limits, lower and upper, each missed with probability of about `level`.

    They are closed forms, lie strictly between 0 and 1 on their own side, and are good enough to choose an event.
    """
    z2 = float(ndtri(level)) ** 2
    share = np.asarray(count, dtype=np.float64) / n_trials
    middle = share + z2 / (2 * n_trials)
    half = np.sqrt(z2 * (share * (1 - share) / n_trials + z2 / (4.0 * n_trials**2)))
    lower, upper = ((middle + sign * half) / (1 + z2 / n_trials) for sign in (-1, 1))
    return np.maximum(lower, 0.0), np.minimum(upper, 1.0)
