"""Turbo compressed sensing: a linear estimator and a denoiser that exchange extrinsic Gaussian messages."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svd

from sparsetheory.bayesian.bernoulli_gaussian import BernoulliGaussian, ScalarPosterior

__all__ = ["LinearModule", "Message", "TurboCSRun", "extrinsic", "run_turbo_cs"]

# A denoiser that keeps nearly all of the variance of its input has nothing to say; its message is then this weak.
_LARGEST_SHARE = 0.999
# Variances and learned noise stay above this share of the variance of the prior, or of the data.
_SMALLEST = 1e-14


@dataclass(frozen=True, eq=False)
class Message:
    """Means and one common variance."""

    mean: NDArray[Any]
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

    def __init__(self, F: NDArray[Any], y: NDArray[Any]) -> None:
        self.F, self.y = F, y
        self.left, self.values, _ = svd(F, full_matrices=False, check_finite=False)

    def extrinsic(self, prior: Message, noise: float) -> Message:
        r"""Return the posterior with the prior taken out.

        With the mean share :math:`\alpha = \frac1N \sum_i \frac{v s_i^2}{v s_i^2 + \sigma^2}` that the data remove from
        the variance, the posterior variance is :math:`v (1 - \alpha)`, and so the extrinsic one
        :math:`v (1 - \alpha) / \alpha` and the mean :math:`x + (\hat x - x) / \alpha`, without a difference of
        reciprocals.
        """
        gain = self._gain(prior.var, noise)
        n = self.F.shape[1]
        alpha = float(np.sum(prior.var * self.values**2 * gain)) / n
        # Summed, not subtracted from one, of which nothing may be left.
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

    def _gain(self, variance: float, noise: float) -> NDArray[np.float64]:
        return np.asarray(1.0 / (variance * self.values**2 + noise))


def extrinsic(post: ScalarPosterior, message: Message) -> Message:
    """Return the posterior of the denoiser with the message that it was given taken out."""
    share = min(float(post.var.mean()) / message.var, _LARGEST_SHARE)
    return Message((post.mean - share * message.mean) / (1.0 - share), message.var * share / (1.0 - share))


@dataclass(frozen=True, eq=False)
class TurboCSRun:
    """The end of a run: posterior, parameters, and the history per iteration."""

    post: ScalarPosterior
    prior: BernoulliGaussian
    noise: float
    history: dict[str, NDArray[np.float64]]
    converged: bool


def run_turbo_cs(
    module: LinearModule,
    prior: BernoulliGaussian,
    noise: float,
    *,
    learn_noise: bool,
    learn_prior: bool,
    damping: float,
    max_iter: int,
    tol: float,
) -> TurboCSRun:
    """Exchange messages until the posterior mean rests."""
    n = module.F.shape[1]
    floor = _SMALLEST * prior.density * prior.variance
    least_noise = _SMALLEST * float(np.mean(np.abs(module.y) ** 2))
    message = Message(np.zeros(n, module.F.dtype), prior.density * prior.variance)
    mean, rows, converged = message.mean, [], False
    for _ in range(max_iter):
        if learn_noise:
            noise = max(module.learned_noise(message, noise), least_noise)
        observed = module.extrinsic(message, noise)
        observed = replace(observed, var=max(observed.var, floor))
        post = prior.posterior(observed.mean, observed.var)
        answer = extrinsic(post, observed)
        message = Message(
            (1.0 - damping) * answer.mean + damping * message.mean,
            max((1.0 - damping) * answer.var + damping * message.var, floor),
        )
        moved, size = float(np.linalg.norm(post.mean - mean)), float(np.linalg.norm(post.mean))
        change, mean = moved / size if size > 0 else moved, post.mean
        rows.append((observed.var, message.var, float(post.var.mean()), noise, change))
        if learn_prior:
            prior = _learned(prior, post)
        if change <= tol:
            converged = True
            break
    names = ("linear_variance", "denoiser_variance", "mse", "noise_variance", "change")
    history = dict(zip(names, np.array(rows).T, strict=True))
    return TurboCSRun(post, prior, noise, history, converged)


def _learned(prior: BernoulliGaussian, post: ScalarPosterior) -> BernoulliGaussian:
    """Return the density and variance that suit a posterior best, off the ends where it could not change any more."""
    n = post.post.size
    density = float(np.clip(post.post.mean(), 1e-3 / n, 1.0 - 1e-3 / n))
    weight = float(post.post.sum())
    variance = float(post.post @ post.second_on) / weight if weight > 0 else 0.0
    return replace(prior, density=density, variance=max(variance, _SMALLEST * prior.variance))
