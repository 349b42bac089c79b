"""Claims about what one coefficient says about its own state: bistable if factors are independent, bounded if not."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit, logit

from sparsetheory.bayesian.markov.chain import chain_messages
from sparsetheory.bayesian.turbo.model import TurboModel
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.turbo_vbi.instances import ours
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Log-odds are differences of terms of at most some dozens, but the mean-field ones grow with b over its off value.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Scalar:
    """One coefficient with a = a_off = 1 unless told otherwise.

    Parameters
    ----------
    exponent : float
        1/2 or 1.
    rate, ratio : float
        Rate of the on state, and that of the off state over it.
    shape : float
        Both shapes.
    density : float
        Prior probability of being on.
    second_moment : float
        Second moment of the coefficient.
    """

    exponent: float
    rate: float
    ratio: float
    shape: float
    density: float
    second_moment: float

    def model(self, factorisation: Literal["collapsed", "meanfield"] = "collapsed") -> TurboModel:
        """Return the priors."""
        one = np.ones(1)
        return TurboModel(
            on_shape=self.shape * one,
            on_rate=self.rate * one,
            off_shape=self.shape * one,
            off_rate=self.ratio * self.rate * one,
            noise_shape=1.0,
            noise_rate=1.0,
            exponent=self.exponent,
            update_exponent=self.exponent,
            factorisation=factorisation,
            n_rows=1.0,
            n_snapshots=1,
            noise_precision=1.0,
            largest_precision=1e12,
        )

    @property
    def gap(self) -> float:
        """Logarithm of the ratio of the rates."""
        return float(-np.log(self.ratio))

    def collapsed(self, second: float) -> float:
        """Return the evidence with the precision integrated out."""
        return float(self.model().collapsed_evidence(np.array([second]))[0])

    def mean_field(self, second: float, post: float) -> float:
        """Return the evidence of a factor of the precision that is best for a probability of being on."""
        model = self.model("meanfield")
        return float(model.evidence(model.averaged(np.array([second]), np.array([post])))[0])


def _scalars(unit_shape: bool = True) -> st.SearchStrategy[_Scalar]:
    """Search coefficients, half of them with rates of order one."""
    rates = (st.floats(-2, 2) | st.floats(-8, 8)).map(lambda x: 10.0**x)
    return st.builds(
        _Scalar,
        st.sampled_from([0.5, 1.0]),
        rates,
        st.floats(-6, -0.3).map(lambda x: 10.0**x),
        st.just(1.0) if unit_shape else st.floats(0.1, 10),
        st.floats(0.01, 0.9),
        st.floats(-16, 8).map(lambda x: 10.0**x),
    )


def _iterates(scalar: _Scalar, start: float, second: float, steps: int = 60) -> Float64Array:
    posts = [start]
    for _ in range(steps):
        posts.append(float(expit(logit(scalar.density) + scalar.mean_field(second, posts[-1]))))
    return np.array(posts)


def _monotone(scalar: _Scalar) -> Measurement:
    """Measure whether iterates from on decrease, from off increase, and never cross.

    The map ``p -> expit(logit(density) + evidence(p))`` is increasing: with a = 1 the expected precision
    ``(1 + beta) / (p b + (1 - p) b_off + beta e2)`` falls in p, and the evidence falls in the precision.
    """
    top, bottom = (_iterates(scalar, start, scalar.second_moment) for start in (1.0, 0.0))
    left = np.concatenate([top[1:], bottom[:-1], bottom])
    return Measurement.worst(left, np.concatenate([top[:-1], bottom[1:], top]), scale=1.0)


def _one_basin(scalar: _Scalar) -> Measurement:
    """Claim that both starts end at one point."""
    ends = [_iterates(scalar, start, scalar.second_moment)[-1] for start in (1.0, 0.0)]
    return Measurement(float(ends[0] - ends[1]), 1e-3, scale=1.0)


monotone_map = Claim(
    name="turbo_vbi.monotone_map",
    summary="The published update of one coefficient is a monotone map.",
    statement=r"p_{t+1} = \sigma(h(p_t)) \text{ falls from } 1, \text{ rises from } 0, \text{ and never crosses}",
    source=ours("scalar map of the published updates"),
    verdict=Always(_ROUNDING),
    instances=_scalars,
    evaluate=_monotone,
    near_miss=_one_basin,
)


# Probabilities from where the map may start, close to both ends.
_STARTS = expit(np.linspace(-30.0, 15.0, 91))


def _locked(scalar: _Scalar, growths: tuple[float, ...] = (1.0, 2.0, 10.0)) -> Measurement:
    """Measure iterates from on against all points p at which the map does not fall, for larger second moments.

    An increasing map that does not fall at p maps [p, 1] into itself, and so does the map of any larger second moment,
    since the evidence grows with it. Points are taken from the whole range, and just below the end of the iterates,
    the last of them at which the map does not fall.
    """
    end = float(_iterates(scalar, 1.0, scalar.second_moment)[-1])
    points = np.concatenate([_STARTS, end * (1 - np.array([1e-2, 1e-4, 1e-6]))])
    values = np.array(
        [expit(logit(scalar.density) + scalar.mean_field(scalar.second_moment, float(p))) for p in points]
    )
    held = points[values >= points]
    worst = min(_iterates(scalar, 1.0, growth * scalar.second_moment).min() for growth in growths)
    return Measurement.worst(held, float(worst), scale=1.0)


lock = Claim(
    name="turbo_vbi.lock",
    summary="A coefficient that is on stays on where the published update does not fall.",
    statement=r"h(p_0) \ge \mathrm{logit}\,p_0 \Rightarrow p_t \ge p_0 \text{ from } p = 1 "
    r"\text{ for every larger second moment}",
    source=ours("lock of the published updates"),
    verdict=Always(_ROUNDING),
    instances=_scalars,
    evaluate=_locked,
    # A smaller second moment may fall below.
    near_miss=lambda scalar: _locked(scalar, growths=(0.8,)),
)


def _range_excess(scalar: _Scalar, evidence: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return both ends of the range of collapsed evidence as inequalities."""
    ends = np.array([scalar.gap, scalar.exponent * scalar.gap])
    return np.concatenate([evidence, -evidence]), np.repeat(ends, evidence.size)


def _bounded(scalar: _Scalar) -> Measurement:
    """Measure whether collapsed evidence stays between ``-beta ln(b / b_off)`` and ``ln(b / b_off)``.

    With a = 1 it is ``ln(b / b_off) - (1 + beta) ln((b + beta e2) / (b_off + beta e2))``, and the last ratio lies
    between 1 and ``b / b_off``.
    """
    evidence = np.array([scalar.collapsed(scalar.second_moment * growth) for growth in (1e-9, 1.0, 1e9)])
    return Measurement.worst(*_range_excess(scalar, evidence), scale=1 + scalar.gap)


def _mean_field_bounded(scalar: _Scalar) -> Measurement:
    """Claim the same range for the published evidence of a coefficient that is off."""
    evidence = np.array([scalar.mean_field(scalar.second_moment, post) for post in (0.0, 1.0)])
    return Measurement.worst(*_range_excess(scalar, evidence), scale=1 + scalar.gap)


collapsed_range = Claim(
    name="turbo_vbi.collapsed_range",
    summary="Collapsed evidence about a coefficient is bounded.",
    statement=r"-\beta \ln(b/\bar b) \le \ell_i \le \ln(b/\bar b) "
    r"\text{ with } \rho_i \text{ integrated out, } a = \bar a = 1",
    source=ours("range of the collapsed evidence"),
    verdict=Always(_ROUNDING),
    instances=_scalars,
    evaluate=_bounded,
    near_miss=_mean_field_bounded,
)


def _increasing(scalar: _Scalar, slope: float = 0.0) -> Measurement:
    """Measure whether collapsed evidence grows with the second moment.

    Its derivative is ``beta (a + beta) (1 / (b_off + beta e2) - 1 / (b + beta e2))``, which is positive for b > b_off.
    """
    values = np.array([scalar.collapsed(scalar.second_moment * growth) for growth in np.geomspace(1e-3, 1e3, 13)])
    return Measurement.worst(values[:-1] + slope, values[1:], scale=1 + np.abs(values).max())


increasing_evidence = Claim(
    name="turbo_vbi.increasing_evidence",
    summary="Collapsed evidence grows with the size of a coefficient.",
    statement=r"\ell_i \text{ increases in } \langle |x_i|^2 \rangle "
    r"\text{ with } \rho_i \text{ integrated out, } a = \bar a",
    source=ours("monotonicity of the collapsed evidence"),
    verdict=Always(1e-13),
    instances=lambda: _scalars(unit_shape=False),
    evaluate=_increasing,
    near_miss=lambda scalar: _increasing(scalar, slope=1e-2),
)


def _half(scalar: _Scalar, power: float = 1.0) -> Measurement:
    """Measure how far the posterior is from one half at the threshold that solves for it.

    ``logit(density) + ln(b / b_off) = (1 + beta) ln((b + u) / (b_off + u))`` with ``u = beta e2`` gives
    ``u = (b - R b_off) / (R - 1)``, ``R = (density / (1 - density) * b / b_off)^(1 / (1 + beta))``.
    """
    off = scalar.ratio * scalar.rate
    R = (scalar.density / (1 - scalar.density) / scalar.ratio) ** (power / (1 + scalar.exponent))
    if not 1.0 + 1e-6 < R < (1.0 - 1e-6) / scalar.ratio:
        return Measurement(0.0, 0.0, scale=1.0)
    second = (scalar.rate - R * off) / (R - 1) / scalar.exponent
    return Measurement(abs(float(logit(scalar.density)) + scalar.collapsed(second)), 0.0, scale=1 + scalar.gap)


half_posterior = Claim(
    name="turbo_vbi.half_posterior",
    summary="The size at which a coefficient is on with probability one half is known.",
    statement=r"\tilde\pi = \tfrac12 \text{ at } \beta \langle |x|^2 \rangle = \tfrac{b - R \bar b}{R - 1}, "
    r"\ R = (\tfrac{\pi}{1-\pi} \tfrac{b}{\bar b})^{1/(1+\beta)}",
    source=ours("threshold of the collapsed evidence"),
    verdict=Always(_ROUNDING),
    instances=_scalars,
    evaluate=_half,
    near_miss=lambda scalar: _half(scalar, power=0.9),
)


def _floor(scalar: _Scalar, factor: float = 1.0) -> Measurement:
    """Compare the published evidence with its value at the largest precision, ``(1 + beta) / b_off``."""
    steep = (1 + scalar.exponent) * (1 / scalar.ratio - 1)
    least = min(scalar.mean_field(second, 0.0) for second in (0.0, scalar.second_moment))
    return Measurement(scalar.gap - factor * steep, least, scale=1 + steep)


mean_field_floor = Claim(
    name="turbo_vbi.mean_field_floor",
    summary="The published evidence has a floor far below that of the collapsed one.",
    statement=r"\ell_i \ge \ln(b/\bar b) - (1 + \beta)(b/\bar b - 1), \text{ attained by an off coefficient}",
    source=ours("evidence of the published updates"),
    verdict=Always(_ROUNDING),
    instances=_scalars,
    evaluate=_floor,
    near_miss=lambda scalar: _floor(scalar, factor=0.9),
)


def _inert(scalar: _Scalar, collapsed: bool = False) -> Measurement:
    """Measure the posterior of a coefficient whose precision is large, between two neighbours that are on for certain.

    Its evidence is ``ln(b / b_off) - (b - b_off) <rho>``, which outweighs the largest extrinsic message as soon as the
    expected precision exceeds their sum over ``b - b_off``.
    """
    p01, p10 = 0.3 * scalar.density, 0.3 * (1 - scalar.density)
    largest = logit(1 - p10) + np.log((1 - p10) / p01)
    small = replace(scalar, second_moment=min(scalar.second_moment, 1e-3 * scalar.rate))
    precision = (1 + small.exponent) / (small.ratio * small.rate + small.exponent * small.second_moment)
    if precision <= (small.gap + largest) / (small.rate * (1 - small.ratio)):
        return Measurement(0.0, 0.5)
    own = small.collapsed(small.second_moment) if collapsed else small.mean_field(small.second_moment, 0.0)
    post = chain_messages([60.0, own, 60.0], activation=p01, deactivation=p10).probability[1]
    return Measurement(float(post), 0.5, scale=1.0)


inert_prior = Claim(
    name="turbo_vbi.inert_prior",
    summary="With the published updates neighbours cannot switch a coefficient on.",
    statement=r"\langle\rho_i\rangle > \tfrac{\ln(b/\bar b) + \max \mathrm{logit}\,\pi}{b - \bar b} \Rightarrow "
    r"\tilde\pi_i < \tfrac12 \text{ whatever the neighbours, with the published updates}",
    source=ours("inertness of the Markov prior"),
    verdict=Always(_ROUNDING),
    instances=_scalars,
    evaluate=_inert,
    near_miss=lambda scalar: _inert(scalar, collapsed=True),
)
