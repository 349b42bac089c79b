"""Claims about what the exponential criteria become at small scales."""

import math

import numpy as np
from scipy.stats import rankdata

from sparsetheory.bayesian import folded_normal_moments, removal_score
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.subspace_vi.normals import Normal, criteria_source, published_start
from sparsetheory.proofs_checks.verdicts import Always, ScalesAs
from sparsetheory.typing import AnyArray, Float64Array

_RATES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_N_WEIGHTS = 4000


def _draw(rng: np.random.Generator, rate: float) -> Normal:
    # Far below r = 3 the third cumulant, which the distance is proportional to, is not small.
    return Normal(float(rng.uniform(0.2, 1.5)), 1.0, rate)


def _moment_limit(normal: Normal, folded: bool = True) -> Measurement:
    r"""Measure how far the logarithm over the rate is from the mean: :math:`\lambda \mathrm{Var}|\theta| / 2`."""
    mean = float(folded_normal_moments(normal.mu, normal.sigma).mean) if folded else abs(normal.mu)
    score = float(removal_score(normal.mu, normal.sigma, "exp_abs", rate=normal.rate))
    return Measurement(abs(score / normal.rate - mean), normal.rate)


moment_limit = Claim(
    name="subspace_vi.moment_limit",
    summary="For small rates the exponential moment orders weights as the mean magnitude does.",
    statement=r"\lambda^{-1} \ln E e^{\lambda |\theta|} - E|\theta| = \Theta(\lambda)",
    source=criteria_source("cumulants"),
    verdict=ScalesAs(1.0, 0.1),
    evaluate=_moment_limit,
    # The limit is not the magnitude of the mean.
    near_miss=lambda normal: _moment_limit(normal, folded=False),
    sweep=Sweep(
        axis="rate",
        values=_RATES,
        draw=_draw,
        trials=30,
        quick_trials=8,
        log="xy",
        measured_label="distance from the limit",
        bound_label="rate",
        y_label="distance, in deviations",
    ),
)


def _ratio_limit(normal: Normal, folded: bool = True) -> Measurement:
    r"""Measure how far the logarithm of the ratio is from :math:`-\ln(\lambda \, \mathrm{sd}|\theta|)`.

    With cumulants of the magnitude the first term of the distance is :math:`\lambda \kappa_3 / (2 \kappa_2)`.
    """
    variance = float(folded_normal_moments(normal.mu, normal.sigma).variance) if folded else normal.sigma**2
    score = float(removal_score(normal.mu, normal.sigma, "snr_exp_abs", rate=normal.rate))
    return Measurement(abs(score + math.log(normal.rate) + math.log(variance) / 2), normal.rate)


ratio_limit = Claim(
    name="subspace_vi.ratio_limit",
    summary="For small rates the exponential ratio depends on the deviation of a magnitude alone.",
    statement=r"\ln \frac{E e^{\lambda |\theta|}}{\mathrm{sd}\, e^{\lambda |\theta|}} + "
    r"\ln(\lambda\, \mathrm{sd}|\theta|) = \Theta(\lambda)",
    source=criteria_source("cumulants"),
    verdict=ScalesAs(1.0, 0.1),
    evaluate=_ratio_limit,
    # The deviation of the weight itself is larger.
    near_miss=lambda normal: _ratio_limit(normal, folded=False),
    sweep=Sweep(
        axis="rate",
        values=_RATES,
        draw=_draw,
        trials=30,
        quick_trials=8,
        log="xy",
        measured_label="distance from the limit",
        bound_label="rate",
    ),
)


def _rank_distance(first: AnyArray, second: AnyArray) -> float:
    """Return one minus the rank correlation."""
    return float(1 - np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _draw_start(rng: np.random.Generator, scale: float) -> tuple[Float64Array, Float64Array]:
    return published_start(rng, _N_WEIGHTS, scale)


def _widest(laws: tuple[Float64Array, Float64Array], against: str = "deviation") -> Measurement:
    mu, sigma = laws
    score = removal_score(mu, sigma, "snr_exp_abs")
    narrow = -folded_normal_moments(mu, sigma).variance
    distances = {
        "deviation": _rank_distance(score, narrow),
        "signal-to-noise ratio": _rank_distance(score, removal_score(mu, sigma, "snr")),
        "mean": _rank_distance(score, removal_score(mu, sigma, "mean")),
    }
    others = {name: value for name, value in distances.items() if name != "deviation"}
    return Measurement(distances[against], 1e-3, extras=others)


widest_go_first = Claim(
    name="subspace_vi.widest_go_first",
    summary="At the published start the exponential ratio removes the widest weights, whatever their means.",
    statement=r"1 - \rho_S\bigl(s, -\mathrm{sd}|\theta|\bigr) \le 10^{-3} \text{ for } s = "
    r"E e^{|\theta|} / \mathrm{sd}\, e^{|\theta|},\ \mu \sim c N(0, 0.01^2),\ \sigma = c |N(6, 5^2)| 10^{-4}",
    source=Source.measured("rank correlation at the published start, and at a hundredth and ten times its scale"),
    verdict=Always(0.0),
    evaluate=_widest,
    near_miss=lambda laws: _widest(laws, against="signal-to-noise ratio"),
    sweep=Sweep(
        axis="c",
        values=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        draw=_draw_start,
        trials=10,
        quick_trials=2,
        log="xy",
        measured_label="from the order of deviations",
        bound_label="allowed",
        y_label="1 - rank correlation",
    ),
)
