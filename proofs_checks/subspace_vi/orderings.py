"""Claims about the orders in which removal criteria put weights: which of them are the same."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian import folded_normal_moments, removal_score
from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.subspace_vi.normals import Normal, criteria_source, normals
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import FloatArray

# In units of the rounding of the precision: 4e-15 in double precision.
_ROUNDING = 18.0


@dataclass(frozen=True)
class _Cloud:
    """Many laws, in single or double precision, whose r spread over so many decades."""

    seed: int
    decades: float
    single: bool

    def laws(self) -> tuple[FloatArray, FloatArray]:
        rng = np.random.default_rng(self.seed)
        sigma = 10 ** rng.uniform(-6, 3, 400)
        mu = sigma * 10 ** rng.uniform(-self.decades / 2, self.decades / 2, 400) * rng.choice([-1, 1], 400)
        dtype = np.float32 if self.single else np.float64
        return mu.astype(dtype), sigma.astype(dtype)


_clouds = st.builds(_Cloud, st.integers(0, 2**32 - 1), st.floats(0, 8), st.booleans())


def _folded_ratio(mu: FloatArray, sigma: FloatArray, stable: bool) -> FloatArray:
    """Return mean over deviation of the magnitudes, with the variance in stable or in textbook form."""
    moments = folded_normal_moments(mu, sigma)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = moments.variance if stable else np.maximum(mu**2 + sigma**2 - moments.mean**2, 0)
        return np.asarray(moments.mean / np.sqrt(variance))


def _rank_identity(cloud: _Cloud, stable: bool = True) -> Measurement:
    r"""Measure the largest relative fall of the ratio along the order of r.

    The ratio g is :math:`f / \sqrt{1 + r^2 - f^2}` with :math:`f = E|\theta| / \sigma` and :math:`f' = \mathrm{erf}(r /
    \sqrt 2)`. It rises where :math:`(1 + r^2) / f^2` falls, that is where :math:`r f < (1 + r^2) f'`, that is where
    :math:`r \sqrt{2 / \pi} e^{-r^2 / 2} < \mathrm{erf}(r / \sqrt 2)`: an integral of :math:`\sqrt{2 / \pi} e^{-t^2 /
    2}` from 0 to r is above r times the integrand at its end, where that is least.
    """
    mu, sigma = cloud.laws()
    order = np.argsort(removal_score(mu, sigma, "snr_abs"), kind="stable")
    ratio = _folded_ratio(mu, sigma, stable)[order].astype(np.float64)
    with np.errstate(invalid="ignore"):
        return Measurement.worst(1 - ratio[1:] / ratio[:-1], 0.0, scale=float(np.finfo(mu.dtype).eps))


rank_identity = Claim(
    name="subspace_vi.rank_identity",
    summary="The signal-to-noise ratio of a magnitude rises with that of the weight: one order, not two.",
    statement=r"r \le r' \Rightarrow g(r) \le g(r'),\quad g(r) = E|\theta| / \mathrm{sd}|\theta|,\ r = |\mu| / \sigma",
    source=criteria_source("monotonicity of the folded signal-to-noise ratio"),
    verdict=Always(_ROUNDING),
    instances=lambda: _clouds,
    evaluate=_rank_identity,
    # The textbook variance, second moment minus squared mean, loses the order once r is large.
    near_miss=lambda cloud: _rank_identity(cloud, stable=False),
)


def _exact_order(laws: tuple[Normal, Normal], by_r: bool = True) -> Measurement:
    """Compare the order of two scores with that of the ratios in rational arithmetic."""
    first, second = laws
    swap = Fraction(abs(first.mu)) * Fraction(second.sigma) > Fraction(abs(second.mu)) * Fraction(first.sigma)
    low, high = (second, first) if swap else (first, second)
    mu, sigma = np.array([low.mu, high.mu]), np.array([low.sigma, high.sigma])
    score = removal_score(mu, sigma, "snr_abs") if by_r else _folded_ratio(mu, sigma, stable=True)
    return Measurement(float(score[0]), float(score[1]), scale=1.0)


_near = st.tuples(normals((-3, 3), (-9, 3)), st.integers(-3, 3), st.integers(-3, 3)).map(
    lambda drawn: (
        drawn[0],
        Normal(
            drawn[0].mu + drawn[1] * math.ulp(drawn[0].mu), drawn[0].sigma + drawn[2] * math.ulp(drawn[0].sigma), 1.0
        ),
    )
)

exact_order = Claim(
    name="subspace_vi.exact_order",
    summary="The score of the folded signal-to-noise ratio is never in the wrong order, not even by rounding.",
    statement=r"|\mu| \sigma' \le |\mu'| \sigma \Rightarrow s(\mu, \sigma) \le s(\mu', \sigma') "
    r"\text{ for the score s in floating point}",
    source=criteria_source("sorting by the quotient itself"),
    verdict=Always(0.0),
    instances=lambda: _near | st.tuples(normals((-9, 9), (-9, 9)), normals((-9, 9), (-9, 9))),
    evaluate=_exact_order,
    # The ratio of the moments is flat at zero, and rounding decides there.
    near_miss=lambda laws: _exact_order(laws, by_r=False),
)


def _scale_invariance(drawn: tuple[Normal, float], divide: bool = True) -> Measurement:
    normal, factor = drawn
    mu, sigma = np.array([normal.mu, factor * normal.mu]), np.array([normal.sigma, factor * normal.sigma])
    criteria = ("snr", "snr_abs") if divide else ("mean_abs",)
    scores = [removal_score(mu, sigma, criterion) for criterion in criteria]
    scores += [_folded_ratio(mu, sigma, stable=True)] if divide else []
    errors = [abs(float(score[1] / score[0]) - 1) if score[0] > 0 else float(score[1]) for score in scores]
    return Measurement(max(errors), 0.0, scale=1.0)


scale_invariance = Claim(
    name="subspace_vi.scale_invariance",
    summary="Signal-to-noise ratios do not depend on the unit of the weights.",
    statement=r"s(c \mu, c \sigma) = s(\mu, \sigma) \text{ for r and } E|\theta| / \mathrm{sd}|\theta|",
    source=criteria_source("ratios of moments"),
    verdict=Always(1e-14),
    instances=lambda: st.tuples(normals((-9, 9), (-9, 9)), st.floats(0.01, 100)),
    evaluate=_scale_invariance,
    near_miss=lambda drawn: _scale_invariance(drawn, divide=False),
)


def _draw_law(rng: np.random.Generator, r: float) -> Normal:
    sigma = float(10 ** rng.uniform(-6, 3))
    return Normal(r * sigma, sigma, 1.0)


def _excess_of_mean(normal: Normal) -> Measurement:
    r"""Compare the relative excess of the mean magnitude with a bound that Mills' ratio gives.

    The excess is :math:`\delta / r` with :math:`\delta = 2 (\varphi(r) - r \Phi(-r))`, and :math:`\Phi(-r) \ge
    \varphi(r) r / (1 + r^2)`. Above r = 3 it is below 2.5e-4: there two weights may change places only if their means
    differ by less than that.
    """
    excess = float(folded_normal_moments(normal.mu, normal.sigma).mean) / abs(normal.mu) - 1
    bound = 2 * math.exp(-(normal.r**2) / 2) / math.sqrt(2 * math.pi) / (normal.r * (1 + normal.r**2))
    return Measurement(excess, bound, scale=1.0)


mean_of_magnitude = Claim(
    name="subspace_vi.mean_of_magnitude",
    summary="The mean magnitude of a weight is the magnitude of its mean once that is three deviations.",
    statement=r"0 \le \frac{E|\theta|}{|\mu|} - 1 \le \frac{2 \varphi(r)}{r (1 + r^2)}",
    source=criteria_source("Mills' ratio"),
    verdict=Always(1e-15),
    instances=lambda: normals((-9, 9), (-2, 3)).filter(lambda normal: normal.mu != 0),
    evaluate=_excess_of_mean,
    near_miss=0.5,
    sweep=Sweep(
        axis="r",
        values=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0),
        draw=_draw_law,
        trials=20,
        quick_trials=5,
        log="y",
        measured_label="excess of the mean magnitude",
        bound_label="bound by Mills' ratio",
        y_label="relative to |mu|",
    ),
)
