"""The value of a policy from the rounds of a log that it might have produced itself."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.environments.streams import own_stream
from sparsetheory.bandits.evaluation.intervals import (
    Bounded,
    PolicyValue,
    checked_interval,
    checked_range,
    interval_for,
)
from sparsetheory.bandits.evaluation.log import checked_log
from sparsetheory.constraints import MISSING, POSITIVE

__all__ = ["replay_value"]


def replay_value(
    actions: ArrayLike,
    rewards: ArrayLike,
    propensities: ArrayLike,
    policy: ArrayLike,
    *,
    max_ratio: float | None = None,
    available: Any = None,
    require_support: bool = True,
    interval: str = "normal",
    confidence: float = 0.95,
    reward_limits: tuple[float, float] | None = None,
    random_state: Any = 0,
) -> PolicyValue:
    """Estimate what a policy would earn, as the mean reward of rounds in which it agrees with the log.

    A round is kept with a probability proportional to that of its action under the policy, divided by the propensity;
    what is kept is distributed as if the policy had acted. With a uniform log and a policy that does not toss coins,
    exactly the rounds are kept in which both do the same.

    Parameters
    ----------
    actions, rewards, propensities, policy
        As for :func:`~sparsetheory.bandits.ips_value`.
    max_ratio : float, optional
        Largest ratio of probabilities under policy and log that is possible, above 0. By default it is the largest that
        occurs in the log. Then the estimate has a small bias, unless all ratios are zero or this largest one.
    available, require_support
        As for :func:`~sparsetheory.bandits.ips_value`.
    interval : {"normal", "bernstein"}
        Interval of the central limit theorem, or one that covers for any number of independent rounds; the second needs
        `reward_limits`.
    confidence : float
        Probability of covering, in (0, 1).
    reward_limits : pair of float, optional
        Least and largest reward that is possible.
    random_state : int, Generator or None
        Seed of what is kept.

    Returns
    -------
    PolicyValue
        With `n_used` rounds that were kept.

    Raises
    ------
    ValueError
        As :func:`~sparsetheory.bandits.ips_value`, and if fewer than two rounds are kept.

    Notes
    -----
    Li, Chu, Langford and Wang (2011, WSDM), with rejection sampling where the log is not uniform.

    Examples
    --------
    >>> from sparsetheory.bandits import replay_value
    >>> found = replay_value([0, 1, 2, 1], [0.0, 1.0, 0.0, 0.5], [1 / 3] * 4, [0.0, 1.0, 0.0])
    >>> found.value, found.n_used
    (0.75, 2)
    """
    limits = checked_interval(interval, confidence, reward_limits)
    most = (MISSING | POSITIVE).check("max_ratio", max_ratio)
    rng = own_stream(random_state, "replay")
    log = checked_log(actions, rewards, propensities, policy, available, require_support)
    checked_range("rewards", log.rewards, limits)
    ratios = log.ratios
    largest = float(ratios.max())
    if most is not None and most < largest:
        raise ValueError(f"max_ratio must be at least {largest:.6g}, the largest ratio; got {most}")
    kept = log.rewards[rng.random(len(ratios)) * (largest if most is None else most) < ratios]
    if len(kept) < 2:
        raise ValueError(f"policy must agree with the log in at least two rounds; got {len(kept)} of {len(ratios)}")
    value, error = float(kept.mean()), float(kept.std(ddof=1)) / float(np.sqrt(len(kept)))
    lower, upper = interval_for(value, error, interval, confidence, limits, lambda a, b: (Bounded(kept, a, b),) * 2)
    return PolicyValue(value, error, lower, upper, interval, confidence, len(kept), float(len(kept)))
