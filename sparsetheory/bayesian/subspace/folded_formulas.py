"""Moments of the absolute value of a normal variable, without cancellation.

With r = |mu| / sigma, the mean of |theta| is sigma (r + delta), where delta = 2 (phi(r) - r Phi(-r)) falls from
sqrt(2 / pi) to zero, and its variance is sigma^2 (1 - delta (2 r + delta)), which is never below (1 - 2 / pi) sigma^2:
nothing is lost where the mean of the square minus the square of the mean would lose all digits.
"""

import math

from sparsetheory.bayesian.subspace.elementwise import Elementwise, Values

__all__ = ["capped", "density", "folded_excess", "folded_spread", "signal_to_noise"]

# From here on the density of the normal law is zero in double precision; a finite cap spares products of 0 and inf.
_FAR = 40.0


def signal_to_noise(f: Elementwise, size: Values, sigma: Values) -> Values:
    """Return |mu| / sigma, infinite at sigma = 0, and zero wherever mu = 0."""
    return f.where(size > 0, size / sigma, 0.0)


def capped(f: Elementwise, r: Values) -> Values:
    """Return r, at most so large that all normal tails beyond it vanish."""
    return f.where(r < _FAR, r, _FAR)


def density(f: Elementwise, r: Values) -> Values:
    """Return the density of the standard normal law."""
    return f.exp(-r * r / 2) / math.sqrt(2 * math.pi)


def folded_excess(f: Elementwise, r: Values) -> Values:
    """Return delta = (E|theta| - |mu|) / sigma for a finite r."""
    return 2 * (density(f, r) - r * f.ndtr(-r))


def folded_spread(f: Elementwise, r: Values) -> Values:
    """Return the variance of |theta| over that of theta, for a finite r."""
    excess = folded_excess(f, r)
    return 1 - excess * (2 * r + excess)
