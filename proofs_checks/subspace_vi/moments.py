"""Claims about the moments of absolute values of normal weights, and of exponentials of them."""

import math

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian import folded_normal_moments, removal_score
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.subspace_vi.normals import (
    Normal,
    criteria_source,
    log_mean,
    normals,
    quadrature,
)
from sparsetheory.proofs_checks.verdicts import Always

# Where logarithms are some hundreds, as of exponentials of wide laws, quadrature rounds them to a few 1e-13.
_QUADRATURE = 1e-12
_ROUNDING = 1e-14


def _folded(mu: float, sigma: float) -> tuple[float, float]:
    moments = folded_normal_moments(mu, sigma)
    return float(moments.mean), float(moments.variance)


def _closed_forms(normal: Normal, folded: bool = True) -> Measurement:
    """Compare closed forms with integrals of positive functions, in which nothing cancels.

    The quantity under the ratio of exponentials is expm1(K), the variance of exp(rate |theta| - log of its mean).
    """
    mean, variance = _folded(normal.mu, normal.sigma)
    a = normal.rate * normal.sigma
    z, logs = quadrature(normal.r, 2 * a)
    size = np.abs(z + normal.r)
    weights = np.exp(logs)
    centre = float(weights @ size)
    first, second = log_mean(a * size, logs), log_mean(2 * a * size, logs)
    k = math.log1p(float(weights @ np.expm1(a * size - first) ** 2)) if a < 1 else second - 2 * first
    ratio = -0.5 * (k + math.log(-math.expm1(-k)))
    log_moment = float(removal_score(normal.mu, normal.sigma, "exp_abs", rate=normal.rate))
    if not folded:
        log_moment = normal.rate * abs(normal.mu) + a * a / 2
    log_ratio = float(removal_score(normal.mu, normal.sigma, "snr_exp_abs", rate=normal.rate))
    errors = [
        mean / (normal.sigma * centre) - 1,
        variance / (normal.sigma**2 * float(weights @ (size - centre) ** 2)) - 1,
        # A difference of logarithms is the relative error of what they stand for.
        log_moment - first,
        log_ratio - ratio,
    ]
    return Measurement.worst(np.abs(errors), 0.0, scale=1.0)


closed_forms = Claim(
    name="subspace_vi.closed_forms",
    summary="The closed forms of all moments agree with integrals to twelve digits.",
    statement=r"E|\theta| = \sigma (r + \delta),\ \mathrm{Var}|\theta| = \sigma^2 (1 - 2 r \delta - \delta^2),\ "
    r"E e^{\lambda |\theta|} = e^{\lambda |\mu| + a^2 / 2} (1 + e^{-2 a r} \Phi(a - r) - \Phi(-a - r)),\ "
    r"a = \lambda \sigma",
    source=criteria_source("moments of a folded normal law"),
    verdict=Always(_QUADRATURE),
    instances=lambda: st.builds(Normal, st.floats(-6, 6), st.floats(0.05, 20), st.floats(0.1, 2)),
    evaluate=_closed_forms,
    # The moment of the weight itself, without the part of the law beyond zero.
    near_miss=lambda normal: _closed_forms(normal, folded=False),
)


def _mean_bounds(normal: Normal, factor: float = math.sqrt(2 / math.pi)) -> Measurement:
    mean, _ = _folded(normal.mu, normal.sigma)
    lower = max(abs(normal.mu), factor * normal.sigma)
    return Measurement.worst([lower, mean], [mean, math.hypot(normal.mu, normal.sigma)])


mean_bounds = Claim(
    name="subspace_vi.mean_bounds",
    summary="The mean of a weight's magnitude lies between simple bounds.",
    statement=r"\max(|\mu|, \sigma \sqrt{2 / \pi}) \le E|\theta| \le \sqrt{\mu^2 + \sigma^2}",
    source=Source.classic("Jensen's inequality", "for the magnitude and for the square"),
    verdict=Always(_ROUNDING),
    instances=lambda: normals((-100, 100), (-9, 9)),
    evaluate=_mean_bounds,
    # The mean magnitude is below the root mean square.
    near_miss=lambda normal: _mean_bounds(normal, factor=1.0),
)


def _variance_bounds(normal: Normal, stable: bool = True) -> Measurement:
    """Compare variance and signal-to-noise ratio of the magnitude with their bounds; the textbook form cancels."""
    mean, variance = _folded(normal.mu, normal.sigma)
    if not stable:
        variance = max(normal.mu**2 + normal.sigma**2 - mean**2, 0.0)
    least = 1 - 2 / math.pi
    ratio = mean / math.sqrt(variance) if variance > 0 else math.inf
    square = normal.sigma**2
    return Measurement.worst(
        [least * square, variance, max(normal.r, 1 / math.sqrt(math.pi / 2 - 1))], [variance, square, ratio]
    )


variance_bounds = Claim(
    name="subspace_vi.variance_bounds",
    summary="Folding a normal law lowers its variance, but never by more than a factor 2.76.",
    statement=r"(1 - 2 / \pi) \sigma^2 \le \mathrm{Var}|\theta| \le \sigma^2,\quad "
    r"\frac{E|\theta|}{\mathrm{sd}|\theta|} \ge \max(r, (\pi / 2 - 1)^{-1/2})",
    source=criteria_source("bounds of the folded variance"),
    verdict=Always(_ROUNDING),
    instances=lambda: normals((-100, 100), (-9, 9)),
    evaluate=_variance_bounds,
    # Second moment minus squared mean, as the textbook has it, in double precision.
    near_miss=lambda normal: _variance_bounds(normal, stable=False),
)


def _log_moment(normal: Normal, folded: bool) -> float:
    if folded:
        return float(removal_score(normal.mu, normal.sigma, "exp_abs", rate=normal.rate))
    return normal.rate * abs(normal.mu) + (normal.rate * normal.sigma) ** 2 / 2


def _exponential_bounds(pair: tuple[Normal, float], folded: bool = True) -> Measurement:
    normal, factor = pair
    mean, _ = _folded(normal.mu, normal.sigma)
    here = _log_moment(normal, folded)
    larger = [
        Normal(normal.mu, normal.sigma, factor * normal.rate),
        Normal(factor * normal.mu, normal.sigma, normal.rate),
        Normal(normal.mu, factor * normal.sigma, normal.rate),
    ]
    return Measurement.worst(
        [normal.rate * mean, here, here, here], [here, *(_log_moment(other, folded) for other in larger)]
    )


exponential_bounds = Claim(
    name="subspace_vi.exponential_bounds",
    summary="The log mean of an exponential lies above its linear part, and rises with rate, mean and deviation.",
    statement=r"\ln E e^{\lambda |\theta|} \ge \lambda E|\theta|,\ "
    r"\text{non-decreasing in } \lambda, |\mu| \text{ and } \sigma",
    source=Source.classic("Jensen's inequality", "for the exponential of a magnitude"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.tuples(normals((-9, 2), (-6, 3)), st.floats(1, 4)),
    evaluate=_exponential_bounds,
    # Without the part of the law beyond zero the moment of a wide law is too small.
    near_miss=lambda pair: _exponential_bounds(pair, folded=False),
)
