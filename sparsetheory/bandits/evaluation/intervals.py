"""Intervals of confidence for means: the normal one, and one that holds for any sample size."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from sparsetheory.constraints import FINITE, FRACTION, Choice, Several
from sparsetheory.typing import Float64Array

__all__ = ["Bounded", "PolicyValue", "checked_interval", "checked_range", "interval_for"]


@dataclass(frozen=True)
class PolicyValue:
    """What a policy would earn in a round, as estimated from a log.

    Parameters
    ----------
    value : float
        The estimate.
    standard_error : float
        Its standard error.
    lower, upper : float
        Interval of confidence for what the policy would earn.
    interval : {"normal", "bernstein"}
        How it was made.
    confidence : float
        Its probability of covering the truth.
    n_used : int
        Rounds of the log that count: those in which the policy might have done what was done.
    effective_size : float
        Number of rounds with equal weights that would be as good.
    """

    value: float
    standard_error: float
    lower: float
    upper: float
    interval: str
    confidence: float
    n_used: int
    effective_size: float


@dataclass(frozen=True, eq=False)
class Bounded:
    """Independent terms and an interval of which none of them ever leaves."""

    terms: Float64Array
    low: float
    high: float


def checked_interval(interval: str, confidence: float, reward_limits: Any) -> tuple[float, float] | None:
    """Check how an interval is to be made; return the range of rewards, where one is given."""
    FRACTION.check("confidence", confidence)
    Choice("normal", "bernstein").check("interval", interval)
    if reward_limits is None:
        if interval == "bernstein":
            raise ValueError("reward_limits must be given for interval='bernstein'; got None")
        return None
    limits = Several(FINITE, "a pair of numbers").check("reward_limits", reward_limits)
    if len(limits) != 2 or not limits[0] < limits[1]:
        raise ValueError(f"reward_limits must be a pair (least, most); got {reward_limits!r}")
    return float(limits[0]), float(limits[1])


def checked_range(name: str, values: Float64Array, limits: tuple[float, float] | None) -> None:
    """Raise ValueError if a number is outside the range of rewards."""
    if limits is not None and not limits[0] <= values.min() <= values.max() <= limits[1]:
        raise ValueError(
            f"{name} must be in reward_limits {limits}; got numbers from {values.min():.6g} to {values.max():.6g}"
        )


def _margin(bounded: Bounded, confidence: float) -> float:
    r"""Return how much the mean of independent terms may be off to one side, with half the probability of an error.

    Maurer and Pontil (2009, COLT), for terms in an interval of length R with sample variance V: with probability at
    least 1 - p the mean is off by at most :math:`(2 V \log(2/p) / n)^{1/2} + 7 R \log(2/p) / (3 (n - 1))`.
    """
    n, log = len(bounded.terms), math.log(4 / (1 - confidence))
    spread = math.sqrt(2 * float(np.var(bounded.terms, ddof=1)) * log / n)
    return spread + 7 * (bounded.high - bounded.low) * log / (3 * (n - 1))


def interval_for(
    value: float,
    standard_error: float,
    interval: str,
    confidence: float,
    limits: tuple[float, float] | None,
    bounded: Callable[[float, float], tuple[Bounded, Bounded]],
) -> tuple[float, float]:
    """Return an interval of confidence.

    Parameters
    ----------
    value, standard_error : float
        Centre and width of the normal one.
    interval : {"normal", "bernstein"}
    confidence : float
        Probability of covering: for many rounds, or for any number of independent ones.
    limits : pair of float or None
        Range of rewards.
    bounded : callable
        Returns for that range two kinds of terms whose expected means are a lower and an upper bound of the truth.
    """
    if interval == "normal" or limits is None:
        half = float(norm.isf((1 - confidence) / 2)) * standard_error
        return value - half, value + half
    below, above = bounded(*limits)
    lower = float(below.terms.mean()) - _margin(below, confidence)
    upper = float(above.terms.mean()) + _margin(above, confidence)
    return max(lower, limits[0]), min(upper, limits[1])
