"""Claims about the closed form: soft thresholds of noisy least squares."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.privacy.collection.noise import ReleaseNoise
from sparsetheory.privacy.solvers.problem import MomentProblem
from sparsetheory.privacy.solvers.soft_least_squares import soft_least_squares, soft_threshold
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Sums of at most forty numbers.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class _Thresholded:
    """Sparse coefficients, least squares near them, and a threshold above all its errors."""

    truth: Float64Array
    least_squares: Float64Array
    alpha: float


def _near(seed: int, k: int, rest: int, size: float, slack: float, kind: str) -> _Thresholded:
    rng, d = np.random.default_rng(seed), k + rest
    truth = np.zeros(d)
    truth[:k] = size * rng.choice([-1.0, 1.0], k) * (1 + rng.random(k))
    error = rng.uniform(-1, 1, d)
    if kind == "worst":
        error = np.where(truth != 0, -np.sign(truth), rng.choice([-1.0, 1.0], d))
    found = truth + error
    return _Thresholded(truth, found, (1 + slack) * float(np.max(np.abs(found - truth))))


def _soft_errors(instance: _Thresholded, times: float = 2.0) -> Measurement:
    r"""Compare support and errors of a soft threshold with what a threshold above all errors promises.

    Where the truth is zero, least squares is an error, at most the threshold, and vanishes. Elsewhere the threshold
    moves a coefficient by at most :math:`\lambda`, after an error of at most :math:`\lambda`. So only k entries err,
    each by at most :math:`2 \lambda`, and the norms follow. Errors towards zero of large coefficients attain all of
    them.
    """
    soft = soft_threshold(instance.least_squares, instance.alpha)
    k = max(1, int(np.count_nonzero(instance.truth)))
    outside = np.abs(soft[instance.truth == 0]).sum()
    error = np.abs(soft - instance.truth)
    measured = [error.max(), np.sqrt(error @ error), error.sum()]
    bounds = np.array([1.0, np.sqrt(k), k]) * times * instance.alpha
    scale = k * (instance.alpha + float(np.abs(instance.truth).max()))
    return Measurement.worst(measured, bounds, scale).and_chain({"false features": float(outside), "none": 0.0})


soft_threshold_errors = Claim(
    name="local_privacy.soft_threshold",
    summary="A soft threshold above the errors of least squares has no false feature, and errs by at most twice that.",
    statement=r"\lambda \ge \|\hat\theta - \theta^*\|_\infty \Rightarrow \mathrm{supp}(S_\lambda) \subseteq"
    r" \mathrm{supp}(\theta^*),\ \|S_\lambda - \theta^*\|_\infty \le 2\lambda,\ \|S_\lambda - \theta^*\|_2 \le"
    r" 2\lambda\sqrt k,\ \|S_\lambda - \theta^*\|_1 \le 2\lambda k",
    source=Source.classic("Yang, Lozano, Ravikumar (2014)", "elementary estimators, by soft thresholds"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.builds(
        _near,
        st.integers(0, 2**32 - 1),
        st.integers(1, 12),
        st.integers(0, 28),
        st.sampled_from([0.1, 1.0, 3.0, 100.0]),
        st.sampled_from([0.0, 0.1, 1.0]),
        st.sampled_from(["worst", "random"]),
    ),
    evaluate=_soft_errors,
    near_miss=lambda instance: _soft_errors(instance, times=1.8),
)


@dataclass(frozen=True, eq=False)
class _Moments:
    """Noisy moments of a sparse problem, invertible, and the true coefficients."""

    second: Float64Array
    cross: Float64Array
    truth: Float64Array


def _noisy_moments(seed: int, d: int, spread: float, kind: str) -> _Moments:
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.standard_normal((d, d)))[0]
    second = (vectors * 10.0 ** (-spread * rng.random(d))) @ vectors.T
    second = (second + second.T) / 2
    truth = rng.standard_normal(d) * (rng.random(d) < 0.5)
    noise = rng.uniform(-1, 1, d)
    if kind == "worst":
        inverse = np.linalg.inv(second)
        noise = np.sign(inverse[np.argmax(np.abs(inverse).sum(axis=1))])
    return _Moments(second, second @ truth + float(rng.choice([1e-2, 1.0])) * noise, truth)


def _amplified(moments: _Moments, order: float = np.inf) -> Measurement:
    r"""Compare the errors of least squares with the noise of its moments, through the inverse.

    :math:`\hat\theta - \theta^* = A^{-1} (b - A \theta^*)`, whatever A is, as long as it can be inverted. Its largest
    entry is at most the largest absolute row sum of the inverse times the largest entry of the noise, and noise with
    the signs of that row attains it.
    """
    noise = ReleaseNoise(0.0, 0.0, 0.0)
    problem = MomentProblem(moments.second, moments.cross, 0.0, noise, 1)
    found = soft_least_squares(problem, 1.0, 0.95, 0.0).unthresholded
    inverse = np.linalg.inv(moments.second)
    left = np.max(np.abs(moments.cross - moments.second @ moments.truth))
    error, bound = float(np.max(np.abs(found - moments.truth))), float(np.linalg.norm(inverse, order) * left)
    # A solution is as good as the condition number allows, relative to the size of what is solved for.
    size = float(np.linalg.norm(inverse, 2) * (np.linalg.norm(moments.cross) + np.linalg.norm(moments.truth)))
    return Measurement(error, bound, scale=size * max(1.0, float(np.linalg.cond(moments.second)) / 100))


least_squares_errors = Claim(
    name="local_privacy.least_squares_error",
    summary="Least squares errs by what the inverse makes of the noise of its moments, row sum by row sum.",
    statement=r"\|A^{-1} b - \theta^*\|_\infty \le \|A^{-1}\|_{\infty \to \infty}\, \|b - A \theta^*\|_\infty",
    source=Source.ours("the identity of the error, and the norm that belongs to largest entries"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.builds(
        _noisy_moments,
        st.integers(0, 2**32 - 1),
        st.integers(1, 20),
        st.sampled_from([0.0, 1.0, 3.0]),
        st.sampled_from(["worst", "random"]),
    ),
    evaluate=_amplified,
    near_miss=lambda moments: _amplified(moments, order=2),
)
