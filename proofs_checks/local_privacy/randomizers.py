"""Claims about local randomizers: no message betrays more than e^eps, and the mean is what was sent."""

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from sparsetheory.privacy import cube_scale, sphere_scale
from sparsetheory.privacy.device.coin import keep_threshold
from sparsetheory.privacy.randomizers.cube import half_space_counts
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Int64Array

_WORDS = 2**64
# A logarithm of a rational number, which is exact until then.
_ROUNDING = 1e-12
_EPS = st.floats(1e-3, 20.0)


def _log_ratio(largest: Fraction, smallest: Fraction) -> float:
    """Return the logarithm of a ratio of at least one, without losing digits near one."""
    return math.log1p(float(largest / smallest - 1))


@dataclass(frozen=True)
class _Cube:
    """The hypercube mechanism in d dimensions."""

    d: int
    eps: float

    def corners(self) -> Int64Array:
        return np.array(list(itertools.product((-1, 1), repeat=self.d)), dtype=np.int64)

    def probabilities(self) -> tuple[BoolArray, Fraction, Fraction]:
        """Return which messages lie in the half space of which corner, and the probabilities of the two sides."""
        corners = self.corners()
        inside, outside = half_space_counts(self.d)
        kept = keep_threshold(self.eps, inside, outside)
        return corners @ corners.T > 0, Fraction(kept, _WORDS * inside), Fraction(_WORDS - kept, _WORDS * outside)


def _cubes() -> st.SearchStrategy[_Cube]:
    return st.builds(_Cube, st.integers(1, 8), _EPS)


def _worst_ratio(cube: _Cube) -> Measurement:
    """Compare the largest ratio of probabilities of one message under any two corners with e^eps, by enumeration.

    A message of probability P / N inside and (1 - P) / M outside of a half space of N among N + M corners has the ratio
    e^eps for P = e^eps N / (e^eps N + M). The code rounds P down to a multiple of 2^-64. All 4^d pairs of corner and
    message are put to the test, in rational numbers.
    """
    positive, inside, outside = cube.probabilities()
    return Measurement(_worst({inside: positive, outside: ~positive}), cube.eps)


def _worst(kinds: dict[Fraction, BoolArray]) -> float:
    """Return the largest log ratio, for probabilities and where they stand: corners in rows, messages in columns."""
    occurs = np.array([where.any(axis=0) for where in kinds.values()])
    values = list(kinds)
    # Messages with the same probabilities need one look.
    found = [
        [value for value, there in zip(values, column, strict=True) if there] for column in np.unique(occurs.T, axis=0)
    ]
    return max(_log_ratio(max(column), min(column)) for column in found)


def _with_ties_on_both_sides(cube: _Cube) -> Measurement:
    """Count ties in both half spaces, each with its keep probability: for even d a tie then has two chances."""
    corners = cube.corners()
    products = corners @ corners.T
    keep = Fraction(keep_threshold(cube.eps), _WORDS)
    size = int(np.count_nonzero(products[0] >= 0))
    kinds = {keep / size: products > 0, (1 - keep) / size: products < 0, Fraction(1, size): products == 0}
    return Measurement(_worst(kinds), cube.eps)


cube_privacy = Claim(
    name="local_privacy.cube_privacy",
    summary="Every message of the hypercube mechanism is at most e^eps times as likely for one record as for another.",
    statement=r"\max_{z, x, x'} \ln \frac{P(z \mid x)}{P(z \mid x')} \le \varepsilon, \quad x, x', z \in \{\pm 1\}^d",
    source=Source.classic("Duchi, Jordan & Wainwright (2018)", "hypercube mechanism, ties on one side"),
    verdict=Always(_ROUNDING),
    instances=_cubes,
    evaluate=_worst_ratio,
    near_miss=_with_ties_on_both_sides,
    sweep=Sweep(
        axis="eps",
        values=(0.1, 0.5, 1.0, 2.0, 5.0),
        draw=lambda rng, eps: _Cube(int(rng.integers(1, 9)), eps),
        trials=4,
        quick_trials=2,
        log="xy",
        measured_label="worst pair of corners",
        bound_label="eps",
        y_label="log ratio",
    ),
)


def _cube_bias(cube: _Cube) -> Measurement:
    """Sum all messages of every corner, with their probabilities and the scale, and compare with the corner.

    Reflections and permutations of coordinates that keep the corner keep the law, so the mean is a multiple of the
    corner. The scale is one over this multiple, a quotient of binomial coefficients. The sum here is exact.
    """
    return Measurement(_bias(cube, cube_scale(cube.d, cube.eps)), 0.0, scale=1.0)


def _bias(cube: _Cube, scale: float) -> float:
    corners = cube.corners()
    positive, inside, outside = cube.probabilities()
    sums = np.stack([positive @ corners, ~positive @ corners, corners], axis=-1).reshape(-1, 3)
    means = {(Fraction(scale) * (a * inside + b * outside), entry) for a, b, entry in np.unique(sums, axis=0).tolist()}
    return float(max(abs(mean - entry) for mean, entry in means))


def _bias_of_a_dummy_coordinate(cube: _Cube) -> Measurement:
    """Scale even d as d + 1: the size that a further coordinate would need, which is larger by the radius."""
    return Measurement(_bias(cube, cube_scale(cube.d + 1 - cube.d % 2, cube.eps)), 0.0, scale=1.0)


cube_mean = Claim(
    name="local_privacy.cube_mean",
    summary="The hypercube mechanism is unbiased: the scaled mean of its messages is the vector that was sent.",
    statement=r"B \sum_z P(z \mid x)\, z = x, \quad x \in \{\pm 1\}^d",
    source=Source.classic("Duchi, Jordan & Wainwright (2018)", "scale of the hypercube mechanism, ties on one side"),
    # A scale of about ten roundings; the coin is off by 2^-64, which counts 1 / tanh(eps / 2) times.
    verdict=Always(1e-13),
    instances=_cubes,
    evaluate=_cube_bias,
    near_miss=_bias_of_a_dummy_coordinate,
    sweep=Sweep(
        axis="eps",
        values=(0.1, 1.0, 5.0),
        draw=lambda rng, eps: _Cube(int(rng.integers(1, 9)), eps),
        trials=4,
        quick_trials=2,
        log="x",
        measured_label="largest bias",
        bound_label="zero",
    ),
)


@dataclass(frozen=True)
class _TwoInputs:
    """Two agreements in [0, 1] with opposite signs: how often each user's rounded sign is the sign of the direction."""

    eps: float
    first: float
    second: float

    def plus(self, sign: int, share: float) -> Fraction:
        """Return the exact probability of the message +1 for a vector of the norm `share` times R.

        Its projection on the public direction has the given sign. All words of 53 and of 64 bits are counted.
        """
        agrees = Fraction(math.ceil(Fraction(0.5 + share / 2) * 2**53), 2**53)
        kept = Fraction(keep_threshold(self.eps), _WORDS)
        likely = agrees * kept + (1 - agrees) * (1 - kept)
        return likely if sign > 0 else 1 - likely


def _two_inputs() -> st.SearchStrategy[_TwoInputs]:
    share = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.0, 1.0))
    return st.builds(_TwoInputs, _EPS, share, share)


def _sphere_ratio(pair: _TwoInputs) -> Measurement:
    r"""Compare the ratio of probabilities of two vectors on opposite sides of a direction with the formula and eps.

    A vector of norm a R is rounded to one of two opposite unit vectors with mean v / R. Its bit is +1 with probability
    (1 + a t) / 2 on the side of the direction, and (1 - a t) / 2 on the other. This holds for every fixed direction,
    so directions may be public. With t = (e^eps - 1) / (e^eps + 1), the largest ratio (1 + t) / (1 - t) is e^eps.
    """
    ratio = _log_ratio(pair.plus(1, pair.first), pair.plus(-1, pair.second))
    t, rest = math.tanh(pair.eps / 2), 2 / (1 + math.exp(pair.eps))  # the rest is 1 - t, without cancellation
    formula = math.log1p(pair.first * t) - math.log((1 - pair.second) + pair.second * rest)
    return Measurement.chain(ratio, formula, {"eps": pair.eps}, scale=pair.eps)


def _with_a_lost_sign(pair: _TwoInputs) -> Measurement:
    """Take the sign of w <u, v>, and +1 for zero: where v is zero the sign w is lost, and the bit is not fair."""
    measurement = _sphere_ratio(pair)
    if pair.first > 0:
        return measurement
    kept = Fraction(keep_threshold(pair.eps), _WORDS)
    ratio = _log_ratio(kept, pair.plus(-1, pair.second))
    return Measurement.chain(ratio, measurement.bound, {"eps": pair.eps}, scale=pair.eps)


sphere_ratio = Claim(
    name="local_privacy.sphere_ratio",
    summary="A bit about a vector on the sphere tells two records apart by their lengths, and by e^eps at most.",
    statement=r"\ln \frac{P(s \mid v)}{P(s \mid v')} \le \ln \frac{1 + a t}{1 - a' t} \le \varepsilon, \quad"
    r" t = \tanh(\varepsilon / 2),\ \|v\| = a R,\ \|v'\| = a' R",
    source=Source.classic("Duchi, Jordan & Wainwright (2018)", "sphere mechanism, with a public direction"),
    # Words of 53 bits round lengths; at eps = 20 the rarer message has a probability of 2e-9.
    verdict=Always(1e-8),
    instances=_two_inputs,
    evaluate=_sphere_ratio,
    near_miss=_with_a_lost_sign,
    sweep=Sweep(
        axis="eps",
        values=(0.1, 0.5, 1.0, 2.0, 5.0),
        draw=lambda rng, eps: _TwoInputs(eps, float(rng.choice([0.0, 0.5, 1.0])), float(rng.choice([0.0, 0.5, 1.0]))),
        trials=9,
        quick_trials=4,
        log="xy",
        measured_label="two vectors on opposite sides",
        bound_label="formula",
        y_label="log ratio",
    ),
)


def _onebit(pair: _TwoInputs) -> Measurement:
    """Compare the worst ratio of a bit about one coordinate with e^eps, for two values of that coordinate.

    The bit is +1 with probability 1/2 + t v / (2 R). Both bits and both orders are tried. The coordinate is public and
    does not depend on the record.
    """
    return Measurement(_worst_bit(pair, pair.eps), pair.eps)


def _worst_bit(pair: _TwoInputs, eps: float) -> float:
    coin = _TwoInputs(eps, pair.first, pair.second)
    first, second = coin.plus(1, pair.first), coin.plus(-1, pair.second)
    return max(_log_ratio(max(sides), min(sides)) for sides in ((first, second), (1 - first, 1 - second)))


def _with_half_more(pair: _TwoInputs) -> Measurement:
    """Keep signs as for 1.5 eps."""
    return Measurement(_worst_bit(pair, min(1.5 * pair.eps, 30.0)), pair.eps)


onebit_privacy = Claim(
    name="local_privacy.onebit_privacy",
    summary="A bit about one public coordinate is at most e^eps times as likely for one record as for another.",
    statement=r"\max_{s, v, v'} \left|\ln \frac{P(s \mid v_j)}{P(s \mid v'_j)}\right| \le \varepsilon",
    source=Source.classic("Warner (1965)", "randomized response"),
    verdict=Always(_ROUNDING),
    instances=_two_inputs,
    evaluate=_onebit,
    near_miss=_with_half_more,
    sweep=Sweep(
        axis="eps",
        values=(0.1, 0.5, 1.0, 2.0, 5.0),
        draw=lambda rng, eps: _TwoInputs(eps, 1.0, float(rng.choice([0.0, 0.5, 1.0]))),
        trials=6,
        quick_trials=3,
        log="xy",
        measured_label="two values of a coordinate",
        bound_label="eps",
        y_label="log ratio",
    ),
)


@dataclass(frozen=True)
class _Ball:
    """The sphere mechanism for vectors of length p."""

    p: int
    eps: float


def _sphere_bias(ball: _Ball) -> Measurement:
    r"""Compare B t times the mean absolute entry of a point on the sphere with one.

    For a unit vector v the message B s u has the mean B t E[sign <u, v> u] = B t E|u_1| v. The entry u_1 has a density
    proportional to (1 - x^2)^((p - 3) / 2). With x the sine of an angle both integrals are those of smooth functions,
    which the rule of Gauss and Legendre computes here; the code has a quotient of Gamma functions.
    """
    return Measurement(abs(sphere_scale(ball.p, ball.eps) * _kept(ball) - 1), 0.0, scale=1.0)


def _kept(ball: _Ball) -> float:
    """Return t times the mean absolute entry, by quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(300)
    angles = (nodes + 1) * math.pi / 4
    # cos^(p - 2) is integrable for p = 1 too, but its integral is not smooth: there the entry is +1 or -1.
    if ball.p == 1:
        return math.tanh(ball.eps / 2)
    mass = weights * np.cos(angles) ** (ball.p - 2)
    return math.tanh(ball.eps / 2) * float(mass @ np.sin(angles) / mass.sum())


def _large_p_scale(ball: _Ball) -> Measurement:
    """Use the limit sqrt(pi p / 2) of the quotient of Gamma functions, which is 1 / (4 p) too large."""
    scale = math.sqrt(math.pi * ball.p / 2) / math.tanh(ball.eps / 2)
    return Measurement(abs(scale * _kept(ball) - 1), 0.0, scale=1.0)


sphere_mean = Claim(
    name="local_privacy.sphere_mean",
    summary="The sphere mechanism is unbiased: its length makes up for the coin and for the mean of a projection.",
    statement=r"B(p, \varepsilon)\, \tanh(\varepsilon / 2)\, E|u_1| = 1, \quad u \sim S^{p-1}",
    source=Source.classic("Duchi, Jordan & Wainwright (2018)", "scale of the sphere mechanism"),
    # Differences of logarithms of Gamma functions, which are about p log p.
    verdict=Always(1e-11),
    instances=lambda: st.builds(_Ball, st.integers(1, 500), _EPS),
    evaluate=_sphere_bias,
    near_miss=_large_p_scale,
    sweep=Sweep(
        axis="length p",
        values=(1, 2, 3, 10, 100, 500),
        draw=lambda rng, p: _Ball(int(p), float(rng.uniform(0.1, 5))),
        trials=3,
        quick_trials=1,
        log="x",
        measured_label="bias",
        bound_label="zero",
    ),
)
