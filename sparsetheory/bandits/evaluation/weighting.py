"""The value of a policy from a log, with weights that correct for what the log did more or less often."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.evaluation.intervals import (
    Bounded,
    PolicyValue,
    checked_interval,
    checked_range,
    interval_for,
)
from sparsetheory.bandits.evaluation.log import CheckedLog, checked_log
from sparsetheory.constraints import FLAG, MISSING, POSITIVE, Real
from sparsetheory.typing import Float64Array

__all__ = ["doubly_robust_value", "ips_value"]


@dataclass(frozen=True, eq=False)
class _Weighted:
    """A log with its weights, and how the estimate is to be reported."""

    log: CheckedLog
    weights: Float64Array
    largest: float
    limits: tuple[float, float] | None
    interval: str
    confidence: float

    @classmethod
    def of(
        cls,
        log: CheckedLog,
        clip: float | None,
        min_propensity: float | None,
        interval: str,
        confidence: float,
        reward_limits: Any,
    ) -> "_Weighted":
        limits = checked_interval(interval, confidence, reward_limits)
        (MISSING | POSITIVE).check("clip", clip)
        least = (MISSING | Real(0.0, 1.0, closed="right")).check("min_propensity", min_propensity)
        checked_range("rewards", log.rewards, limits)
        if least is not None and least > log.propensities.min():
            raise ValueError(f"min_propensity must be at most {log.propensities.min():.6g}, the least; got {least:g}")
        if interval == "bernstein" and clip is None and least is None:
            raise ValueError("clip or min_propensity must be given for interval='bernstein'; got None")
        # A bound of all weights that does not depend on what happened.
        cut = np.inf if clip is None else float(clip)
        largest = cut if least is None else min(float(log.policy.max()) / least, cut)
        return cls(log, np.minimum(log.ratios, cut), largest, limits, interval, float(confidence))

    def report(
        self, value: float, error: float, bounded: Callable[[float, float], tuple[Bounded, Bounded]]
    ) -> PolicyValue:
        """Return an estimate with its interval."""
        lower, upper = interval_for(value, error, self.interval, self.confidence, self.limits, bounded)
        total = float(self.weights.sum())
        size = total * total / float(self.weights @ self.weights) if total else 0.0
        used = int(np.count_nonzero(self.weights))
        return PolicyValue(value, error, lower, upper, self.interval, self.confidence, used, size)


def _mean(terms: Float64Array) -> tuple[float, float]:
    """Return a mean and its standard error."""
    return float(terms.mean()), float(terms.std(ddof=1)) / math.sqrt(len(terms))


def ips_value(
    actions: ArrayLike,
    rewards: ArrayLike,
    propensities: ArrayLike,
    policy: ArrayLike,
    *,
    normalise: bool = False,
    clip: float | None = None,
    available: Any = None,
    require_support: bool = True,
    interval: str = "normal",
    confidence: float = 0.95,
    reward_limits: tuple[float, float] | None = None,
    min_propensity: float | None = None,
) -> PolicyValue:
    r"""Estimate what a policy would earn, by inverse propensities.

    The estimate is the mean of :math:`w r`, where w is the probability with which the policy would have done what was
    done, divided by the probability with which it was done. It is unbiased where the log could do all that the policy
    does.

    Parameters
    ----------
    actions : array-like of int, of shape (n_rounds,)
        What was done.
    rewards : array-like of shape (n_rounds,)
        What it earned.
    propensities : array-like of shape (n_rounds,)
        The probability with which it was done, in (0, 1].
    policy : array-like of shape (n_actions,) or (n_rounds, n_actions)
        Probabilities of the policy, the same in all rounds or not.
    normalise : bool
        Whether the sum is divided by that of the weights instead of their number: less variance, a bias of order 1/n.
    clip : float, optional
        Largest weight, above 0; larger ones are cut. Less variance, and too low an estimate of rewards above zero.
    available : array-like of bool, of shape (n_rounds, n_actions), optional
        What could be done in each round; the policy must respect it.
    require_support : bool
        Whether an action that the policy may choose must occur in the log, and rounds without a choice (with a
        propensity of one) must be ones in which the policy has none either. Set False if the log could do everything
        but has not, or if you know better.
    interval : {"normal", "bernstein"}
        Interval of the central limit theorem around the estimate, or one that covers for any number of independent
        rounds. The second needs `reward_limits` and a bound of the weights: `clip` or `min_propensity`.
    confidence : float
        Probability of covering, in (0, 1).
    reward_limits : pair of float, optional
        Least and largest reward that is possible.
    min_propensity : float, optional
        Least probability with which the log did anything, in (0, 1].

    Returns
    -------
    PolicyValue

    Raises
    ------
    ValueError
        If lengths do not fit, a number is not finite, a propensity is not in (0, 1], or the policy does what is not
        available or never occurs; the first row is named.

    Notes
    -----
    Horvitz and Thompson (1952); normalised by Hajek, with the standard error of a ratio. The rigorous interval is that
    of Maurer and Pontil (2009, COLT), made so that it covers the value itself, also where weights are cut. With rewards
    in [a, b] and weights c, cut or not, the value is at least :math:`a + E[c (r - a)]` and at most
    :math:`b - E[c (b - r)]`: what is cut, and what the log cannot do, earns between a and b.
    O(n_rounds) time, and that of reading `policy`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import ips_value
    >>> found = ips_value([0, 1, 1, 0], [1.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.5], [0.75, 0.25])
    >>> found.value, found.n_used
    (0.75, 4)
    """
    log = checked_log(actions, rewards, propensities, policy, available, require_support)
    weighted = _Weighted.of(log, clip, min_propensity, interval, confidence, reward_limits)
    weights, total = weighted.weights, float(weighted.weights.sum())
    if FLAG.check("normalise", normalise):
        if not total:
            raise ValueError("policy must do something that the log shows; got weights of zero alone")
        value = float(weights @ log.rewards) / total
        error = float(np.linalg.norm(weights * (log.rewards - value))) / total
    else:
        value, error = _mean(weights * log.rewards)

    def bounded(a: float, b: float) -> tuple[Bounded, Bounded]:
        most = weighted.largest * (b - a)
        return (
            Bounded(a + weights * (log.rewards - a), a, a + most),
            Bounded(b - weights * (b - log.rewards), b - most, b),
        )

    return weighted.report(value, error, bounded)


def _predictions(predictions: ArrayLike, log: CheckedLog) -> Float64Array:
    """Return what the model says of all actions in all rounds."""
    n, shape = len(log.actions), np.shape(predictions)
    n_actions = log.policy.shape[-1]
    if shape not in ((n_actions,), (n, n_actions)):
        raise ValueError(f"predictions must be of shape ({n_actions},) or {(n, n_actions)}; got shape {shape}")
    model = np.asarray(predictions, dtype=np.float64)
    if not np.isfinite(model).all():
        first = int(np.argmin(np.isfinite(np.atleast_2d(model)).all(axis=1)))
        raise ValueError(f"predictions must be finite; got NaN or infinity in row {first}")
    return model


def doubly_robust_value(
    actions: ArrayLike,
    rewards: ArrayLike,
    propensities: ArrayLike,
    policy: ArrayLike,
    predictions: ArrayLike,
    *,
    clip: float | None = None,
    available: Any = None,
    require_support: bool = True,
    interval: str = "normal",
    confidence: float = 0.95,
    reward_limits: tuple[float, float] | None = None,
    min_propensity: float | None = None,
) -> PolicyValue:
    r"""Estimate what a policy would earn, from a model of rewards whose errors are corrected by the log.

    The estimate is the mean of :math:`\sum_a \pi(a) q(a) + w (r - q(a_t))`, with predictions q and the weights w of
    :func:`ips_value`. It is unbiased if the propensities are right, whatever the model says; and if the model is right,
    whatever the propensities are. The better the model, the smaller the variance.

    Parameters
    ----------
    actions, rewards, propensities, policy
        As for :func:`ips_value`.
    predictions : array-like of shape (n_actions,) or (n_rounds, n_actions)
        Mean rewards that a model predicts; it must not have been fitted to this log.
    clip, available, require_support, interval, confidence, reward_limits, min_propensity
        As for :func:`ips_value`. The rigorous interval needs predictions in `reward_limits`.

    Returns
    -------
    PolicyValue

    Raises
    ------
    ValueError
        As :func:`ips_value`, and if predictions do not fit.

    Notes
    -----
    Dudik, Langford and Li (2011, ICML). For the rigorous interval with rewards in [a, b] and weights c, cut or not: the
    value is at least the expectation of :math:`\sum_a \pi(a) q(a) + c (r - q) - (1 - c)(b - a)`, and at most the same
    with a plus before the last term.

    Examples
    --------
    >>> from sparsetheory.bandits import doubly_robust_value
    >>> found = doubly_robust_value([0, 1, 1, 0], [1.0, 0.0, 0.0, 1.0], [0.5] * 4, [0.75, 0.25], [1.0, 0.0])
    >>> found.value, found.standard_error
    (0.75, 0.0)
    """
    log = checked_log(actions, rewards, propensities, policy, available, require_support)
    weighted = _Weighted.of(log, clip, min_propensity, interval, confidence, reward_limits)
    model, weights, n = _predictions(predictions, log), weighted.weights, len(log.actions)
    expected = np.broadcast_to((log.policy * model).sum(axis=-1), n)
    predicted = model[log.actions] if model.ndim == 1 else model[np.arange(n), log.actions]
    terms = expected + weights * (log.rewards - predicted)

    def bounded(a: float, b: float) -> tuple[Bounded, Bounded]:
        checked_range("predictions", model, (a, b))
        width, most = b - a, 2 * (b - a) * weighted.largest
        # c (r - q + b - a) is between 0 and twice the largest weight times the width; then the same upside down.
        return (
            Bounded(terms - (1 - weights) * width, a - width, b - width + most),
            Bounded(terms + (1 - weights) * width, a + width - most, b + width),
        )

    return weighted.report(*_mean(terms), bounded)
