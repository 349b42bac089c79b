"""What a promise of privacy allows a test to achieve, and how often an audit sees a mechanism that breaks it.

A test tells two inputs apart by an event. Its true positive rate is the probability of the event under the first
input, its false positive rate that under the second. A promise bounds the first rate by a function of the second,
its frontier. An audit breaks the promise when the lower limit of one rate lies above the frontier at the upper limit
of the other.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy import optimize, stats
from scipy.special import expit, ndtr, ndtri

from sparsetheory.constraints import FRACTION, POSITIVE, Integer, Real
from sparsetheory.privacy.audit.limits import exact_lower, exact_upper
from sparsetheory.typing import Float64Array

__all__ = [
    "FEWEST_DRAWS",
    "Bound",
    "detectable_eps",
    "detectable_mu",
    "expected_eps_lower",
    "expected_mu_lower",
    "gaussian_bound",
    "gaussian_level",
    "power_in_words",
    "pure_bound",
    "pure_level",
]

Bound = Callable[[Any, Any], Any]
"""From true and false positive rates to the smallest privacy parameter that allows them."""

FEWEST_DRAWS = Integer(100)
# Points at which the law of the second count is sampled when power is computed.
_NODES = 101


def pure_bound(delta: float = 0.0) -> Bound:
    """Return the bound of (eps, delta): ln((true positives - delta) / false positives), -inf where undefined."""

    def bound(true_rate: Any, false_rate: Any) -> Any:
        with np.errstate(divide="ignore"):
            return np.log(np.maximum(true_rate - delta, 0.0)) - np.log(false_rate)

    return bound


def gaussian_bound(true_rate: Any, false_rate: Any) -> Any:
    """Return the smallest mu whose trade-off curve allows two rates: the difference of their normal quantiles."""
    return ndtri(true_rate) - ndtri(false_rate)


def _pure_frontier(eps: float, delta: float) -> Callable[[Float64Array], Float64Array]:
    """Both orders of the two inputs: p <= e^eps q + delta, and 1 - q <= e^eps (1 - p) + delta."""
    return lambda q: np.minimum(math.exp(eps) * q + delta, 1 - math.exp(-eps) * (1 - q - delta))


def _power(true_rate: float, n_counted: int, level: float, frontier: Callable[[Float64Array], Float64Array]) -> float:
    """Probability that a symmetric pair, rates p and 1 - p, is seen beyond a frontier.

    Given the second count y, the audit rejects when the lower limit of the first count exceeds f = frontier(upper
    limit of y), that is when P(Bin(n, f) >= x) < level. So x must exceed a quantile of Bin(n, f). The outer mean over
    y runs over equally likely values.
    """
    counts = stats.binom.ppf((np.arange(_NODES) + 0.5) / _NODES, n_counted, 1 - true_rate)
    needed = frontier(exact_upper(counts, n_counted, level))
    quantile = stats.binom.isf(level, n_counted, np.clip(needed, 0.0, 1.0))
    return float(np.where(needed < 1, stats.binom.sf(quantile, n_counted, true_rate), 0.0).mean())


def _smallest(power_at: Callable[[float], float], promised: float, most: float, power: float) -> float:
    """Smallest parameter from the promised one on at which the power is reached; infinite if none up to `most`."""
    if power_at(promised) >= power:  # a power below the rate of false alarms
        return promised
    if power_at(most) < power:
        return math.inf
    return float(optimize.brentq(lambda value: power_at(value) - power, promised, most, xtol=1e-4))


def detectable_eps(
    eps: float, *, n_samples: int, alpha: float, delta: float = 0.0, n_inputs: int = 2, power: float = 0.95
) -> float:
    """Return the smallest true eps at which a broken promise is noticed with a given probability.

    The broken mechanism is randomized response: of all mechanisms with its true eps, the one whose best event is
    known and as frequent as can be. Others, whose worst event is rare or hard to find, need more draws.

    Parameters
    ----------
    eps : float
        What is promised, in (0, 20].
    n_samples : int
        Draws per input; half of them are counted.
    alpha : float
        Probability of a false alarm, in (0, 1).
    delta : float
        What is promised beside eps, in [0, 1).
    n_inputs : int
        Number of inputs, all of whose ordered pairs are audited.
    power : float
        Probability of noticing, in (0, 1).

    Returns
    -------
    float
        Infinite if no eps below ln(n_samples) can be noticed.

    Raises
    ------
    ValueError
        If an argument is not what its row says.

    Notes
    -----
    The cost is a few thousand quantiles of binomial laws, tens of milliseconds.

    Examples
    --------
    >>> detectable_eps(1.0, n_samples=100_000, alpha=1e-3) < 1.1
    True
    """
    level = pure_level(eps, n_samples, alpha, delta, n_inputs)
    FRACTION.check("power", power)
    return _detectable_eps(eps, delta, n_samples, level, power)


@cache  # audits of one promise are repeated, and the power costs more than the audit of a bit
def _detectable_eps(eps: float, delta: float, n_samples: int, level: float, power: float) -> float:
    frontier, n_counted = _pure_frontier(eps, delta), n_samples - n_samples // 2
    return _smallest(
        lambda true: _power(float(expit(true)), n_counted, level, frontier), eps, eps + math.log(n_samples), power
    )


def pure_level(eps: float, n_samples: int, alpha: float, delta: float, n_inputs: int) -> float:
    """Check the arguments of an audit, and return the level of each of its confidence limits.

    Each ordered pair of inputs has one event, and each event two limits, all of which hold at once.
    """
    Real(0.0, 20.0, closed="right").check("eps", eps)
    FEWEST_DRAWS.check("n_samples", n_samples)
    FRACTION.check("alpha", alpha)
    Real(0.0, 1.0, closed="left").check("delta", delta)
    Integer(2, 1000).check("n_inputs", n_inputs)
    return alpha / (2 * n_inputs * (n_inputs - 1))


def power_in_words(name: str, expected: float, detectable: float, n_samples: int, tight: str) -> str:
    """Return what an audit would have shown and caught, for its report."""
    caught = (
        f"from a true {name} of {detectable:.4f} it would be caught 95 times in 100"
        if math.isfinite(detectable)
        else "so few draws would not catch it with probability 0.95, whatever it spent"
    )
    return f"Power, {n_samples} draws per input: {tight} at {name} would show {expected:.4f};\n{caught}."


def expected_eps_lower(true_rate: float, n_counted: int, level: float, delta: float) -> float:
    """Return the lower bound that a symmetric pair with rates p and 1 - p gives when counts meet expectation."""
    low = exact_lower(round(n_counted * true_rate), n_counted, level)
    high = exact_upper(round(n_counted * (1 - true_rate)), n_counted, level)
    return max(float(pure_bound(delta)(low, high)), 0.0)


def gaussian_level(mu: float, n_samples: int, alpha: float) -> float:
    """Check the arguments of a Gaussian audit, and return the level of each of its two confidence limits."""
    POSITIVE.check("mu", mu)
    FEWEST_DRAWS.check("n_samples", n_samples)
    FRACTION.check("alpha", alpha)
    return alpha / 2


def detectable_mu(mu: float, *, n_samples: int, alpha: float, power: float = 0.95) -> float:
    """Return the smallest true mu at which a broken promise of Gaussian privacy is noticed.

    The broken mechanism is a Gaussian one, tested by its likelihood ratio at the symmetric threshold.

    Parameters
    ----------
    mu : float
        What is promised, above 0.
    n_samples : int
        Draws per input; half of them are counted.
    alpha : float
        Probability of a false alarm, in (0, 1).
    power : float
        Probability of noticing, in (0, 1).

    Returns
    -------
    float
        Infinite if no mu up to 12 above the promise can be noticed.

    Raises
    ------
    ValueError
        If an argument is not what its row says.

    Examples
    --------
    >>> detectable_mu(0.25, n_samples=100_000, alpha=1e-3) < 0.25 * 2**0.5
    True
    """
    level = gaussian_level(mu, n_samples, alpha)
    FRACTION.check("power", power)
    return _detectable_mu(mu, n_samples, level, power)


@cache
def _detectable_mu(mu: float, n_samples: int, level: float, power: float) -> float:
    n_counted = n_samples - n_samples // 2

    def power_at(true: float) -> float:
        return _power(float(ndtr(true / 2)), n_counted, level, lambda q: ndtr(ndtri(q) + mu))

    return _smallest(power_at, mu, mu + 12, power)


def expected_mu_lower(mu: float, n_counted: int, level: float) -> float:
    """Return the lower bound that a Gaussian mechanism gives at the symmetric threshold, in expectation."""
    true_rate = float(ndtr(mu / 2))
    low = exact_lower(round(n_counted * true_rate), n_counted, level)
    high = exact_upper(round(n_counted * (1 - true_rate)), n_counted, level)
    return max(float(gaussian_bound(low, high)), 0.0)
