"""Claims about how far one record moves what its user releases."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.privacy import (
    MomentNoise,
    cross_moment_sensitivity,
    joint_gaussian_mu,
    second_moment_sensitivity,
)
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Differences of products of at most eight numbers.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two records within the public bounds, and the noise of their moments."""

    clip_x: float
    clip_y: float
    noise: MomentNoise
    x: Float64Array
    y: float
    other_x: Float64Array
    other_y: float

    def second_moment_change(self) -> Float64Array:
        return np.outer(self.x, self.x) - np.outer(self.other_x, self.other_x)

    def cross_moment_change(self) -> Float64Array:
        return self.x * self.y - self.other_x * self.other_y

    def squares_alone(self) -> tuple[float, float]:
        """Return the squared mu of the second moment alone and of the cross moment alone."""
        second = second_moment_sensitivity(self.clip_x) / self.noise.second_moment_std
        cross = cross_moment_sensitivity(self.clip_x, self.clip_y) / self.noise.cross_moment_std
        return second**2, cross**2


def _noise(clip_x: float, clip_y: float, ratio: float) -> MomentNoise:
    """Return noise for which the squared mu of the second moment is 1 and that of the cross moment is the ratio."""
    return MomentNoise(math.sqrt(2) * clip_x**2, 2 * clip_x * clip_y / math.sqrt(ratio))


def _at_angle(rng: np.random.Generator, d: int, cosine: float) -> tuple[Float64Array, Float64Array]:
    first, second = np.linalg.qr(rng.standard_normal((d, 2)))[0].T
    return first, cosine * first + math.sqrt(1 - cosine**2) * second


def _draw(kind: str, seed: int, d: int, log_ratio: float, clip_x: float, clip_y: float) -> _Pair:
    rng, ratio = np.random.default_rng(seed), 10.0**log_ratio
    cosine, lengths, signs = rng.uniform(-1, 1), rng.uniform(0, 1, 2), rng.uniform(-1, 1, 2)
    if kind != "random":
        # The worst pair of the derivation, at full length, or one near it.
        cosine, lengths, signs = min(ratio / 4, 1.0), np.ones(2), np.array([1.0, -1.0])
    if kind == "near the worst":
        cosine, lengths = np.clip(cosine + rng.normal(scale=0.1), -1, 1), 1 - 0.1 * rng.random(2)
    directions = _at_angle(rng, d, float(cosine))
    x, other_x = (clip_x * length * direction for length, direction in zip(lengths, directions, strict=True))
    y, other_y = clip_y * signs
    return _Pair(clip_x, clip_y, _noise(clip_x, clip_y, ratio), x, float(y), other_x, float(other_y))


def _pairs() -> st.SearchStrategy[_Pair]:
    return st.builds(
        _draw,
        st.sampled_from(["worst", "near the worst", "random"]),
        st.integers(0, 2**32 - 1),
        st.integers(2, 8),
        st.floats(-2.0, 2.0),
        st.sampled_from([0.1, 1.0, 12.5]),
        st.sampled_from([0.1, 1.0, 3.0]),
    )


def _joint(pair: _Pair) -> Measurement:
    """Compare mu of two records, computed from every released number, with the formula for the worst two."""
    rows, columns = np.triu_indices(pair.x.size)
    stds = pair.noise.second_moment_std * np.where(rows == columns, 1.0, math.sqrt(0.5))
    released = pair.second_moment_change()[rows, columns] / stds
    measured = math.hypot(np.linalg.norm(released), np.linalg.norm(pair.cross_moment_change()) / _cross_std(pair))
    bound = joint_gaussian_mu(
        pair.clip_x,
        pair.clip_y,
        second_moment_std=pair.noise.second_moment_std,
        cross_moment_std=pair.noise.cross_moment_std,
    )
    return Measurement(measured, bound)


def _cross_std(pair: _Pair) -> float:
    return pair.noise.cross_moment_std


def _larger_of_both(pair: _Pair) -> Measurement:
    """Take the worse of the two extreme pairs, orthogonal with opposite responses or opposite: none is the worst."""
    second, cross = pair.squares_alone()
    return Measurement(_joint(pair).measured, math.sqrt(max(second + cross / 2, cross)))


def _worst_at(rng: np.random.Generator, ratio: float) -> _Pair:
    return _draw("worst", int(rng.integers(2**32)), 5, math.log10(ratio), 1.0, 1.0)


def _with_sum(pair: _Pair) -> Measurement:
    r"""Compare mu of two records with the formula, and this with accounting for the two moments apart.

    Let s, s' be the norms, c >= 0 the absolute cosine, A and B one over the variances of the noises. The cross moment
    changes most for y = t, y' = -t or the other way round, so the square of mu is at most

        A (s^4 + s'^4 - 2 s^2 s'^2 c^2) + B t^2 (s^2 + s'^2 + 2 s s' c).

    It does not fall in the larger norm, which is therefore r. Its maximum over c, at B t^2 / (2 A r s') or at 1 if that
    is more, rises in the smaller norm s' (``joint_gaussian_mu`` shows the derivatives), so both are r. With c free,
    a (1 - c^2) + b (1 + c) / 2 is largest at c = b / (4a), where it is a (1 + b / (4a))^2; for b > 4a at c = 1. Neither
    is above a + b, which would need c = 0 and c = 1 at once.
    """
    measurement = _joint(pair)
    return Measurement.chain(measurement.measured, measurement.bound, {"apart": math.sqrt(sum(pair.squares_alone()))})


joint_sensitivity = Claim(
    name="local_privacy.joint_sensitivity",
    summary="Second and cross moments released together cost an exact mu, less than the two apart.",
    statement=r"\mu \le \sqrt a\,(1 + \tfrac{b}{4a}) \text{ if } b \le 4a \text{, else } \sqrt b, \quad"
    r" \mu \le \sqrt{a + b}, \quad a = 2r^4/s_A^2,\ b = 4r^2 t^2/s_b^2",
    source=Source.ours("joint worst case of two Gaussian moments"),
    verdict=Always(_ROUNDING),
    instances=_pairs,
    evaluate=_with_sum,
    near_miss=_larger_of_both,
    sweep=Sweep(
        axis="ratio b / a",
        values=(0.1, 0.3, 1.0, 2.0, 4.0, 10.0),
        draw=_worst_at,
        trials=3,
        quick_trials=2,
        log="xy",
        measured_label="worst pair of records",
        bound_label="formula",
        y_label="mu",
    ),
)


def _second_moment(pair: _Pair) -> Measurement:
    r"""State a chain: the upper triangle moves no more than the matrix, and this by at most root two r^2.

    The triangle leaves out squares. Of the matrix, the squared change is s^4 + s'^4 - 2 <x, x'>^2 <= 2 r^4.
    """
    change = pair.second_moment_change()
    triangle = float(np.linalg.norm(change[np.triu_indices(pair.x.size)]))
    bound = second_moment_sensitivity(pair.clip_x)
    return Measurement.chain(triangle, float(np.linalg.norm(change)), {"root two r^2": bound}, scale=pair.clip_x**2)


def _orthogonal(kind: str, seed: int, d: int, clip_x: float) -> _Pair:
    """Return records along two axes, where the triangle changes most, or in any orthogonal or random directions."""
    pair = _draw("random" if kind == "random" else "worst", seed, d, -12.0, clip_x, 1.0)
    if kind == "axes":
        first, second = clip_x * np.eye(d)[:2]
        return _Pair(clip_x, 1.0, pair.noise, first, 1.0, second, -1.0)
    return pair


second_moment = Claim(
    name="local_privacy.second_moment_sensitivity",
    summary="One record moves x x^T by at most root two times the squared bound of x, not twice it.",
    statement=r"\|\operatorname{vech}(xx^T - x'x'^T)\| \le \|xx^T - x'x'^T\|_F \le \sqrt2\, r^2",
    source=Source.ours("sensitivity of second moments"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.builds(
        _orthogonal,
        st.sampled_from(["axes", "orthogonal", "random"]),
        st.integers(0, 2**32 - 1),
        st.integers(2, 8),
        st.sampled_from([0.1, 1.0, 12.5]),
    ),
    evaluate=_second_moment,
    near_miss=lambda pair: Measurement(float(np.linalg.norm(pair.second_moment_change())), pair.clip_x**2),
)


@dataclass(frozen=True, eq=False)
class _Clipped:
    """Two records that are clipped entry by entry."""

    clip_entry: float
    clip_y: float
    x: Float64Array
    y: float
    other_x: Float64Array
    other_y: float


def _clipped(seed: int, d: int, clip_entry: float, clip_y: float, corner: bool) -> _Clipped:
    rng = np.random.default_rng(seed)
    x, other_x = clip_entry * (np.ones((2, d)) if corner else np.clip(2 * rng.standard_normal((2, d)), -1, 1))
    y, other_y = clip_y * (np.array([1.0, -1.0]) if corner else np.clip(2 * rng.standard_normal(2), -1, 1))
    return _Clipped(clip_entry, clip_y, x, float(y), other_x, float(other_y))


def _cross_moment(pair: _Clipped) -> Measurement:
    """Compare the change of x y with twice the product of the bounds; the root of d times an entry bounds the norm."""
    change = float(np.linalg.norm(pair.x * pair.y - pair.other_x * pair.other_y))
    return Measurement(change, cross_moment_sensitivity(math.sqrt(pair.x.size) * pair.clip_entry, pair.clip_y))


cross_moment = Claim(
    name="local_privacy.cross_moment_sensitivity",
    summary="With entries clipped one by one, a record moves x y by up to twice the root of d times both bounds.",
    statement=r"\|xy - x'y'\| \le 2\sqrt d\,\tau_1 \tau_2 \text{ for } |x_j|, |x'_j| \le \tau_1,\ |y|, |y'| \le \tau_2",
    source=Source.ours("sensitivity of cross moments"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.builds(
        _clipped,
        st.integers(0, 2**32 - 1),
        st.integers(1, 12),
        st.sampled_from([0.1, 1.0, 4.0]),
        st.sampled_from([0.1, 1.0, 8.0]),
        st.booleans(),
    ),
    evaluate=_cross_moment,
    # One record in place of two: the change from a record to none.
    near_miss=0.5,
)
