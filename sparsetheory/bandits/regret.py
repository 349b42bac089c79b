"""How much phased elimination loses over many plays, at most."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits.design.optimal import core_set_bound
from sparsetheory.constraints import COUNT, FRACTION, MISSING, NONNEGATIVE, Integer
from sparsetheory.typing import Float64Array

__all__ = ["RegretBound", "phased_regret"]


@dataclass(frozen=True)
class RegretBound:
    """What a strategy promises over many plays.

    Parameters
    ----------
    regret : float
        Total reward that is lost against the best action, at most.
    delta : float
        Probability with which it may be more.
    n_phases : int
        Number of phases that the bound covers.
    """

    regret: float
    delta: float
    n_phases: int


def phased_regret(
    n: int,
    d: int,
    K: int,
    eps: float,
    sigma: float,
    alpha: float | None = None,
    reward_range: float = 1.0,
    *,
    plays: Sequence[int] | None = None,
    ranks: Sequence[int] | None = None,
) -> RegretBound:
    r"""Bound the regret of phased elimination, without or with what its phases were in fact.

    Phase l plays a design with :math:`m_l = 2^{l-1} m_1` plays and some for rounding, and keeps the actions that are
    within :math:`2 w_l` of the best, with :math:`w_l = \sigma (4 r \log(1/\alpha) / m_l)^{1/2}` for rows of rank r.
    A play of phase l > 1 then loses at most

    .. math:: c_l = \min\{R,\; 4 w_{l-1} + 4\,eps \sum_{j<l} r_j^{1/2} + 2\,eps\}.

    Parameters
    ----------
    n : int
        Number of plays.
    d : int
        Rank of the features; the largest possible rank of a phase.
    K : int
        Number of actions.
    eps : float
        Misspecification.
    sigma : float
        Noise is subgaussian with this standard deviation.
    alpha : float, optional
        Probability of an error of one estimate, in (0, 1); 1 / (K n) by default.
    reward_range : float
        Largest difference R of two mean rewards.
    plays : sequence of int, optional
        Plays of each phase as they were.
    ranks : sequence of int, optional
        Ranks of the phases as they were; with `plays` only.

    Returns
    -------
    RegretBound

    Notes
    -----
    The algorithm and the order of the bound are due to Lattimore, Szepesvari and Weisz (2020, ICML); the constants
    are ours. A phase has between :math:`m_l` and :math:`2 m_l` plays, unless one action is left alone, whose plays
    cost no more than those of any later phase. So without `plays` several phases are possible for a play. Costs of
    phases first fall, with the noise, and then rise, with the misspecification; so the first or the last possible
    phase costs most. With probability 1 - `delta` no estimate errs by more than its width.

    Examples
    --------
    >>> bound = phased_regret(1_000_000, 5, 100, eps=0.0, sigma=1.0)
    >>> bound.regret < 400_000, bound.n_phases
    (True, 16)
    """
    n, d, K = COUNT.check("n", n), COUNT.check("d", d), COUNT.check("K", K)
    eps, sigma = NONNEGATIVE.check("eps", eps), NONNEGATIVE.check("sigma", sigma)
    reward_range = NONNEGATIVE.check("reward_range", reward_range)
    (MISSING | FRACTION).check("alpha", alpha)
    error = 1 / (K * n) if alpha is None else float(alpha)
    first = math.ceil(core_set_bound(d))
    if plays is None and ranks is not None:
        raise ValueError(f"ranks must come with plays; got {ranks!r} and no plays")
    lengths = _shortest_phases(n, first) if plays is None else _phases(n, plays)
    rank = np.full(len(lengths), d) if ranks is None else np.array([Integer(1, d).check("ranks", r) for r in ranks])
    if len(rank) != len(lengths):
        raise ValueError(f"ranks must be as many as plays, {len(lengths)}; got {len(rank)}")
    costs = _costs(first, rank, eps, sigma, error, reward_range)
    regret = float(lengths @ costs) if plays is not None else _over_all_schedules(n, first, costs)
    return RegretBound(min(regret, n * reward_range), min(1.0, 2 * K * len(lengths) * error), len(lengths))


def _phases(n: int, plays: Sequence[int]) -> Float64Array:
    """Return how many plays phases had."""
    counts = [COUNT.check("plays", count) for count in plays]
    if sum(counts) != n:
        raise ValueError(f"plays must add up to n = {n}; got {sum(counts)}")
    return np.array(counts, dtype=np.float64)


def _shortest_phases(n: int, first: int) -> Float64Array:
    """Return plays of the fewest shortest phases that make n plays: m_1 (2^P - 1) >= n."""
    return np.asarray(first * 2.0 ** np.arange((-(-n // first)).bit_length()), dtype=np.float64)


def _costs(first: int, rank: Float64Array, eps: float, sigma: float, alpha: float, reward_range: float) -> Float64Array:
    """Return what one play of each phase may lose; in the first phase that is everything."""
    widths = sigma * np.sqrt(4 * rank * math.log(1 / alpha) / (first * 2.0 ** np.arange(len(rank))))
    lost = np.cumsum(4 * eps * np.sqrt(rank))  # what eliminations up to a phase cost the best action that is left
    costs = np.full(len(rank), reward_range)
    costs[1:] = np.minimum(reward_range, 4 * widths[:-1] + lost[:-1] + 2 * eps)
    return costs


def _over_all_schedules(n: int, first: int, costs: Float64Array) -> float:
    """Return the largest regret of n plays whose phases have between m_l and 2 m_l plays.

    Play t is in a phase as late as if all phases were shortest, or as early as if all were longest, or in between.
    """
    shortest = np.cumsum(first * 2.0 ** np.arange(len(costs)))
    ends = np.unique(np.minimum(np.concatenate([[0.0], shortest, 2 * shortest]), n))
    starts, counts = ends[:-1], np.diff(ends)
    latest = np.searchsorted(shortest, starts, side="right")
    earliest = np.searchsorted(2 * shortest, starts, side="right")
    return float(counts @ np.maximum(costs[latest], costs[earliest]))
