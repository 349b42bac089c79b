"""Turbo compressed sensing: a linear estimator and a denoiser that exchange extrinsic Gaussian messages."""

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import svd

from sparsetheory.bayesian.turbo_cs.denoiser import BernoulliGaussian, ScalarPosterior
from sparsetheory.typing import AnyArray, Float64Array

__all__ = [
    "SMALLEST",
    "LinearModule",
    "Message",
    "TurboCSRules",
    "TurboCSRun",
    "TurboCSState",
    "extrinsic",
    "run_turbo_cs",
]

# A denoiser that keeps nearly all of the variance of its input has nothing to say; its message is then this weak.
_LARGEST_SHARE = 0.999
# Variances and learned noise stay above this fraction of the variance of the prior, or of the data.
SMALLEST = 1e-14


@dataclass(frozen=True, eq=False)
class Message:
    """Means and one common variance."""

    mean: AnyArray
    var: float


class LinearModule:
    """The linear minimum mean square error estimator of coefficients with one common prior variance.

    Parameters
    ----------
    F : ndarray of shape (M, N)
    y : ndarray of shape (M,)

    Notes
    -----
    One singular value decomposition, O(M N min(M, N)); then O(M N) per message.
    """

    def __init__(self, F: AnyArray, y: AnyArray) -> None:
        self.F, self.y = F, y
        self.left, self.values, _ = svd(F, full_matrices=False, check_finite=False)

    def with_data(self, y: AnyArray) -> "LinearModule":
        """Return the estimator for the same matrix and other data, without another decomposition."""
        other = copy(self)
        other.y = y
        return other

    def extrinsic(self, prior: Message, noise: float) -> Message:
        r"""Return the posterior with the prior taken out.

        With the mean fraction :math:`\alpha = \frac1N \sum_i \frac{v s_i^2}{v s_i^2 + \sigma^2}` that the data remove
        from the variance, the posterior variance is :math:`v (1 - \alpha)`, and so the extrinsic one
        :math:`v (1 - \alpha) / \alpha` and the mean :math:`x + (\hat x - x) / \alpha`, without a difference of
        reciprocals.
        """
        # In the singular vectors the gain of direction i is v s_i^2 / (v s_i^2 + noise); directions that F does not
        # reach have gain zero. O(M N) for the two products with F, O(M min(M, N)) in between.
        gain = self._gain(prior.var, noise)
        n = self.F.shape[1]
        alpha = float(np.sum(prior.var * self.values**2 * gain)) / n
        # What is kept, 1 - alpha, is summed: subtracted from one it would have no digits where noise is small.
        kept = (noise * float(gain.sum()) + (n - gain.size)) / n
        residual = self.y - self.F @ prior.mean
        move = prior.var * (self.F.conj().T @ (self.left @ (gain * (self.left.conj().T @ residual))))
        return Message(prior.mean + move / alpha, prior.var * kept / alpha)

    def learned_noise(self, prior: Message, noise: float) -> float:
        """Return the noise variance that explains the residual of the posterior best (expectation-maximisation)."""
        gain = self._gain(prior.var, noise)
        residual = self.y - self.F @ prior.mean
        inside = self.left.conj().T @ residual
        # What a posterior leaves of the residual is noise * gain of it, in the directions that F reaches.
        left = float(np.sum(np.abs(noise * gain * inside) ** 2))
        left += max(float(np.sum(np.abs(residual) ** 2) - np.sum(np.abs(inside) ** 2)), 0.0)
        spread = float(np.sum(prior.var * self.values**2 * noise * gain))
        return (left + spread) / self.y.size

    def _gain(self, variance: float, noise: float) -> Float64Array:
        return np.asarray(1.0 / (variance * self.values**2 + noise))


def extrinsic(post: ScalarPosterior, message: Message) -> Message:
    """Return the posterior of the denoiser with the message that it was given taken out."""
    share = min(float(post.var.mean()) / message.var, _LARGEST_SHARE)
    return Message((post.mean - share * message.mean) / (1.0 - share), message.var * share / (1.0 - share))


@dataclass(frozen=True, eq=False)
class TurboCSState:
    """What an exchange starts from."""

    message: Message
    noise: float
    prior: BernoulliGaussian


@dataclass(frozen=True, eq=False)
class TurboCSRun:
    """The end of a run: the state of the last exchange, posterior and noise that it led to, and the history."""

    state: TurboCSState
    posterior: ScalarPosterior
    noise: float
    history: dict[str, Float64Array]
    converged: bool


@dataclass(frozen=True)
class TurboCSRules:
    """How an exchange goes, and when to stop; the names are those of ``TurboCS``."""

    learn_noise: bool
    learn_prior: bool
    damping: float
    max_iter: int
    tol: float


def run_turbo_cs(module: LinearModule, start: TurboCSState, rules: TurboCSRules) -> TurboCSRun:
    """Exchange messages until an exchange changes message, noise and prior by at most the tolerance."""
    # Invariant: `state` is what the last exchange started from and `after` where it led, so that what is returned is
    # the first state that one more exchange changes by at most the tolerance.
    prior = start.prior
    # Smallest variance of a message, and of the noise.
    floors = SMALLEST * prior.density * prior.variance, SMALLEST * float(np.mean(np.abs(module.y) ** 2))
    state, after, rows, converged = start, start, [], False
    for _ in range(rules.max_iter):
        state = after
        after, post, observed_variance = exchange(module, state, rules, floors)
        change = state_change(state, after)
        rows.append((observed_variance, after.message.var, float(post.var.mean()), after.noise, change))
        if change <= rules.tol:
            converged = True
            break
    names = ("linear_variance", "denoiser_variance", "mse", "noise_variance", "change")
    history = dict(zip(names, np.array(rows).T, strict=True))
    return TurboCSRun(state, post, after.noise, history, converged)


def exchange(
    module: LinearModule, state: TurboCSState, rules: TurboCSRules, floors: tuple[float, float]
) -> tuple[TurboCSState, ScalarPosterior, float]:
    """Do one exchange; return where it leads, the posterior on the way, and the variance of the linear message."""
    # 1. Linear module: noise from the residual of its posterior, then its extrinsic message, an estimate of every
    #    coefficient in (supposedly white Gaussian) noise of one variance.
    message, noise = state.message, state.noise
    if rules.learn_noise:
        noise = max(module.learned_noise(message, noise), floors[1])
    observed = module.extrinsic(message, noise)
    observed = replace(observed, var=max(observed.var, floors[0]))
    # 2. Denoiser: the posterior of each coefficient by itself, and its extrinsic message. Taking out what came in keeps
    #    the errors of both modules uncorrelated.
    post = state.prior.posterior(observed.mean, observed.var)
    answer, keep = extrinsic(post, observed), rules.damping
    # 3. Damping, and the prior that suits the posterior best.
    damped = Message(
        (1.0 - keep) * answer.mean + keep * message.mean,
        max((1.0 - keep) * answer.var + keep * message.var, floors[0]),
    )
    prior = _learned(state.prior, post) if rules.learn_prior else state.prior
    return TurboCSState(damped, noise, prior), post, observed.var


def state_change(before: TurboCSState, after: TurboCSState) -> float:
    """Return the largest relative change of the message, of noise and prior."""
    size = float(np.linalg.norm(after.message.mean))
    moved = float(np.linalg.norm(after.message.mean - before.message.mean))
    pairs = [
        (before.message.var, after.message.var),
        (before.noise, after.noise),
        (before.prior.density, after.prior.density),
        (before.prior.variance, after.prior.variance),
    ]
    return max(moved / size if size > 0 else moved, *(abs(old / new - 1.0) for old, new in pairs))


def _learned(prior: BernoulliGaussian, post: ScalarPosterior) -> BernoulliGaussian:
    """Return the density and variance that suit a posterior best, off the ends where it could not change any more."""
    n = post.probability.size
    density = float(np.clip(post.probability.mean(), 1e-3 / n, 1.0 - 1e-3 / n))
    weight = float(post.probability.sum())
    variance = float(post.probability @ post.second_on) / weight if weight > 0 else 0.0
    return replace(prior, density=density, variance=max(variance, SMALLEST * prior.variance))
