"""Claims about keeping the largest entries of a noisy vector."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from sparsetheory.privacy.planning.bounds import hard_threshold_nu
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Sums of at most a few hundred squares.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class NoisyVector:
    """Sparse coefficients, a vector near them, and how many of its largest entries are kept."""

    truth: Float64Array
    noisy: Float64Array
    n_nonzero: int
    n_kept: int

    def distance(self) -> float:
        """Return the squared distance before anything is dropped."""
        return float(np.sum((self.noisy - self.truth) ** 2))

    def thresholded(self) -> Float64Array:
        """Keep the largest entries; of equal ones those that stand last."""
        kept = np.lexsort((np.arange(self.noisy.size), np.abs(self.noisy)))[self.noisy.size - self.n_kept :]
        result = np.zeros_like(self.noisy)
        result[kept] = self.noisy[kept]
        return result


def worst_vector(d: int, k: int, kept: int, offset: float) -> NoisyVector:
    """Return the vector that loses most, which the bound is made for; an offset moves it away.

    m = min(k, d - kept) non-zero ones shrink to t. As many zeros as push them out, kept - k + m, grow to t. The other
    non-zeros are exact and large. With beta = m / (kept - k + m) the ratio is (beta + t^2) / (beta (1 - t)^2 + t^2),
    and its maximum nu is where the quadratic equation for t has one root, t = nu beta / (nu beta + nu - 1).
    """
    missed = min(k, d - kept)
    truth, noisy = np.zeros(d), np.zeros(d)
    if missed == 0:
        truth[:k], noisy[:k] = 1.0, 1.0 + offset
        return NoisyVector(truth, noisy, k, kept)
    intruders = kept - k + missed
    nu, share = hard_threshold_nu(d, k, kept), missed / intruders
    t = nu * share / (nu * share + nu - 1) * (1 + offset)
    truth[:missed], noisy[:missed] = 1.0, t
    noisy[d - intruders :] = t  # they stand last, so they win ties
    truth[missed:k] = noisy[missed:k] = 3.0
    return NoisyVector(truth, noisy, k, kept)


def _random(rng: np.random.Generator, d: int, k: int, kept: int) -> NoisyVector:
    truth = np.zeros(d)
    truth[rng.permutation(d)[:k]] = rng.choice([0.1, 1.0, -1.0, 3.0], k)
    noisy = truth + rng.standard_normal(d) * rng.choice([0.1, 1.0]) * (rng.random(d) < rng.choice([0.3, 1.0]))
    return NoisyVector(truth, noisy, k, kept)


def _worst_at_distance_one(ratio: float) -> NoisyVector:
    instance = worst_vector(200, 8, int(8 * ratio), 0.0)
    unit = np.sqrt(instance.distance())
    return replace(instance, truth=instance.truth / unit, noisy=instance.noisy / unit)


def _draw(seed: int, k: int, more: int, rest: int, kind: str) -> NoisyVector:
    rng, d, kept = np.random.default_rng(seed), k + more + rest, k + more
    if kind == "random":
        return _random(rng, d, k, kept)
    return worst_vector(d, k, kept, 0.0 if kind == "worst" else float(rng.normal(scale=0.1)))


def _vectors() -> st.SearchStrategy[NoisyVector]:
    return st.builds(
        _draw,
        st.integers(0, 2**32 - 1),
        st.integers(1, 12),
        st.integers(0, 40),
        st.integers(0, 40),
        st.sampled_from(["worst", "near the worst", "random"]),
    )


def _distance_after(instance: NoisyVector) -> Measurement:
    r"""Compare the squared distance from the truth after thresholding with nu times that before.

    Let w be the thresholded vector and u the truth. Missed non-zeros of u stand against at least as many kept entries
    where u is zero, none of which is smaller. Let there be m missed ones, and q >= kept - k + m intruders. The entries
    that are kept where u is not zero cost the same before and after, so they only help. What remains is
    |u_1|^2 + |v_2|^2 against |v_1 - u_1|^2 + |v_2|^2, where |v_1|^2 / m <= |v_2|^2 / q, as the largest missed entry is
    at most the smallest intruder. For given norms the right side is least where v_1 is parallel to u_1, and then where
    |v_1|^2 = (m / q) |v_2|^2. With t the common size of entries in units of those of u_1, the ratio is
    (beta + t^2) / (beta (1 - t)^2 + t^2), beta = m / q. Its maximum over t is nu(beta), which rises with beta; and beta
    is largest for m = min(k, d - kept), q = kept - k + m.
    """
    error = float(np.sum((instance.thresholded() - instance.truth) ** 2))
    nu = hard_threshold_nu(instance.truth.size, instance.n_nonzero, instance.n_kept)
    return Measurement(error, nu * instance.distance(), scale=max(float(np.sum(instance.truth**2)), 1e-300))


def _of_a_wide_problem(instance: NoisyVector) -> Measurement:
    """Count missed entries against all that are kept, without taking off those that are no intruders."""
    k, kept = instance.n_nonzero, instance.n_kept
    share = min(k, instance.truth.size - kept) / (kept + min(k, instance.truth.size - kept))
    measurement = _distance_after(instance)
    nu = 1 + (share + np.sqrt((4 + share) * share)) / 2
    return Measurement(measurement.measured, nu * instance.distance(), measurement.scale)


hard_threshold = Claim(
    name="local_privacy.hard_threshold",
    summary="Keeping the largest entries enlarges the squared distance from sparse coefficients by at most nu.",
    statement=r"\|H_{k'}(v) - \theta\|^2 \le \nu \|v - \theta\|^2, \quad \nu = 1 + (\beta + \sqrt{(4 + \beta)\beta})/2,"
    r" \quad \beta = \tfrac{\min(k, d - k')}{k' - k + \min(k, d - k')}",
    source=Source.classic("Shen, Li, JMLR 18 (2018)", "a tight bound of hard thresholding"),
    verdict=Always(_ROUNDING),
    instances=_vectors,
    evaluate=_distance_after,
    near_miss=_of_a_wide_problem,
    sweep=Sweep(
        axis="kept over non-zero",
        values=(1.0, 2.0, 4.0, 8.0, 16.0),
        draw=lambda rng, ratio: _worst_at_distance_one(ratio),
        trials=1,
        quick_trials=1,
        log="x",
        measured_label="worst vector",
        bound_label="bound",
        y_label="squared distance, over that before",
    ),
)


def _dropped(instance: NoisyVector) -> Measurement:
    r"""Compare what thresholding drops with a share of the squared distance from any sparse vector.

    Dropped are the d - k' smallest squares of v, whose mean is at most that of the d - k smallest. These in turn sum to
    at most the squares of v where the truth is zero, hence to at most the squared distance. So what is dropped is at
    most (d - k') / (d - k) of it.
    """
    d, k, kept = instance.truth.size, instance.n_nonzero, instance.n_kept
    error = float(np.sum((instance.thresholded() - instance.noisy) ** 2))
    share = (d - kept) / (d - k) if d > k else 0.0
    return Measurement(error, share * instance.distance(), scale=max(float(np.sum(instance.noisy**2)), 1e-300))


def _dropped_of_all(instance: NoisyVector) -> Measurement:
    """Take the share of all entries, as if the non-zeros were noise too."""
    d = instance.truth.size
    measurement = _dropped(instance)
    return Measurement(measurement.measured, (1 - instance.n_kept / d) * instance.distance(), measurement.scale)


def _flat(seed: int, k: int, more: int, rest: int, spread: float) -> NoisyVector:
    """Return noise of equal size at the zeros, up to a spread, and none at the non-zeros: the worst case."""
    d = k + more + rest
    truth = np.zeros(d)
    truth[:k] = 3.0
    noise = (1 + spread * np.random.default_rng(seed).standard_normal(d)) * (truth == 0)
    return NoisyVector(truth, truth + noise, k, k + more)


hard_threshold_drop = Claim(
    name="local_privacy.hard_threshold_drop",
    summary="Keeping the largest entries drops at most the share (d - k') / (d - k) of the squared distance.",
    statement=r"\|H_{k'}(v) - v\|^2 \le \tfrac{d - k'}{d - k} \|v - \theta\|^2 \text{ for } k \text{-sparse } \theta,"
    r"\ k' \ge k",
    source=Source.classic("Jain, Tewari, Kar (2014)", "lemma on hard thresholding"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.one_of(
        _vectors(),
        st.builds(
            _flat,
            st.integers(0, 2**32 - 1),
            st.integers(1, 12),
            st.integers(0, 40),
            st.integers(0, 40),
            st.sampled_from([0.0, 0.1]),
        ),
    ),
    evaluate=_dropped,
    near_miss=_dropped_of_all,
)
