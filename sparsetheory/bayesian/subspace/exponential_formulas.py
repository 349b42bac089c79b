r"""Moments of exp(rate |theta|) for a normal theta, as logarithms, without overflow and without cancellation.

With a = rate sigma and r = |mu| / sigma,

    E exp(rate |theta|) = exp(a r + a^2 / 2) (1 + D(a)),   D(a) = exp(-2 a r) Phi(a - r) - Phi(-r - a) >= 0,

so the logarithm is a sum of terms that are not negative. In the signal-to-noise ratio E_1 / sqrt(E_2 - E_1^2) =
1 / sqrt(expm1(K)), with K = log E_2 - 2 log E_1 = a^2 + log1p(D(2 a)) - 2 log1p(D(a)), the large terms a r are gone.

For small a the difference in D, and the second difference in K, cancel. There D is the sum of its Taylor series, whose
coefficients obey a recursion: with u(a) = exp(-2 a r) Phi(a - r) there holds D' = -2 r u + 2 phi(r + a) and u' =
-2 r u + phi(r + a), and the coefficients of phi(r + a) are Hermite polynomials.
"""

import math

from sparsetheory.bayesian.subspace.elementwise import Elementwise, Values
from sparsetheory.bayesian.subspace.folded_formulas import capped, density, signal_to_noise

__all__ = ["log_exponential_mean", "log_exponential_ratio"]

# Below this the series, of which twelve terms leave out less than rounding does; above it less than 1e-13 cancels.
_SMALL = 0.05
_TERMS = 12


def log_exponential_mean(f: Elementwise, size: Values, sigma: Values, rate: float) -> Values:
    """Return log E exp(rate |theta|) from |mu| and sigma in double precision."""
    a, shift, r = rate * sigma, rate * size, signal_to_noise(f, size, sigma)
    mirrored = f.where(a < _SMALL, a * _series(f, a, r)[0], _mirrored(f, a, shift, r))
    return shift + a * a / 2 + f.log1p(mirrored)


def log_exponential_ratio(f: Elementwise, size: Values, sigma: Values, rate: float) -> Values:
    """Return the logarithm of mean over deviation of exp(rate |theta|), infinite at sigma = 0."""
    a, shift, r = rate * sigma, rate * size, signal_to_noise(f, size, sigma)
    narrow = _narrow_ratio(f, a, r) - f.log(sigma) - math.log(rate)
    return f.where(a < _SMALL, narrow, _wide_ratio(f, a, shift, r))


def _narrow_ratio(f: Elementwise, a: Values, r: Values) -> Values:
    """Return the logarithm of a times the ratio, for small a: a tends to zero with sigma, and this stays finite."""
    first, second = _series(f, a, r)
    bend = (second - first * first) / (1 + a * first) ** 2
    step = a * a * bend
    quotient = 1 + bend * f.where(step != 0, f.log1p(step) / step, 1.0)
    k = a * a * quotient
    growth = f.where(k > 0, f.expm1(k) / k, 1.0)
    return -(f.log(quotient) + f.log(growth)) / 2


def _wide_ratio(f: Elementwise, a: Values, shift: Values, r: Values) -> Values:
    k = a * a + f.log1p(_mirrored(f, 2 * a, 2 * shift, r)) - 2 * f.log1p(_mirrored(f, a, shift, r))
    # log(expm1(k)), whose exponential overflows from k = 710.
    return -(k + f.log(-f.expm1(-k))) / 2


def _mirrored(f: Elementwise, a: Values, shift: Values, r: Values) -> Values:
    """Return D(a), for a that is not small and its product with r."""
    return f.exp(-2 * shift) * f.ndtr(a - r) - f.ndtr(-r - a)


def _series(f: Elementwise, a: Values, r: Values) -> tuple[Values, Values]:
    """Return D(a) / a and (D(2 a) - 2 D(a)) / a^2, for a that is small; elsewhere they mean nothing."""
    near = capped(f, r)
    hermite, hermite_before = density(f, near), 0.0
    tail = f.ndtr(-near)
    first, second, power, power_before = 0.0, 0.0, 1.0, 0.0
    for n in range(1, _TERMS + 1):
        coefficient = 2 * (hermite - near * tail) / n
        first = first + coefficient * power
        second = second + (2**n - 2) * coefficient * power_before
        tail = (hermite - 2 * near * tail) / n
        hermite, hermite_before = -(near * hermite + hermite_before) / n, hermite
        power, power_before = power * a, power
    return first, second
