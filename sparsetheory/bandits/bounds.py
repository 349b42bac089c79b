"""What is promised, as formulas: gaps and numbers of queries of searches, regret of elimination, odds of a needle.

Short symbols are those of the field: K actions, d features, s non-zeros, rows of length at most L, coefficients of
length at most B, n plays. Results on exact rewards; where rewards are averaged until they are within w, put eps + w
for eps and add 2 w to the gap.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits.design.optimal import core_set_bound
from sparsetheory.constraints import COUNT, FRACTION, MISSING, NONNEGATIVE, POSITIVE, SIZE, Choice, Integer
from sparsetheory.typing import Float64Array

__all__ = [
    "RegretBound",
    "SearchBound",
    "design_net",
    "needle_success",
    "one_shot",
    "phased_regret",
    "support_greedy",
    "support_net",
]


@dataclass(frozen=True)
class SearchBound:
    """What a search over supports promises.

    Parameters
    ----------
    gap : float
        How much less than the best action the result earns, at most.
    n_queries : float
        Number of queries, at most; infinite where it exceeds double precision.
    """

    gap: float
    n_queries: float


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


def _power(base: float, exponent: int, factor: int) -> float:
    """Return factor times a power, or infinity."""
    log = exponent * math.log(base) + math.log(factor)
    return factor * base**exponent if log < math.log(np.finfo(np.float64).max) else math.inf


def _supports(d: int, s: int) -> int:
    d = COUNT.check("d", d)
    return math.comb(d, Integer(1, d).check("s", s))


def _core_set(s: int) -> float:
    """Return the number of rows that a design needs for any rank up to s; the formula grows from rank 3 on only."""
    return max(core_set_bound(rank) for rank in {1, min(2, s), s})


def one_shot(eps: float, max_leverage: float) -> float:
    r"""Return the gap of the greedy action after least squares on a design: :math:`2\,eps\,(1 + g^{1/2})`.

    Parameters
    ----------
    eps : float
        Misspecification.
    max_leverage : float
        Largest leverage g of the design, or the square of its amplification, which is sharper.

    Notes
    -----
    After Lattimore, Szepesvari and Weisz (2020, ICML). Predictions err by at most eps times the amplification, which is
    at most the root of the largest leverage; a greedy choice costs twice that, and rewards are within eps of the
    linear function at both actions.

    Examples
    --------
    >>> one_shot(0.1, 16.0)
    1.0
    """
    eps, g = NONNEGATIVE.check("eps", eps), NONNEGATIVE.check("max_leverage", max_leverage)
    return 2 * eps * (1 + math.sqrt(g))


def support_net(eps: float, rho: float, B: float, L: float, d: int, s: int, *, net: str = "greedy") -> SearchBound:
    r"""Bound a search that queries, for every support, a net of all actions: gap :math:`2\,eps + B\rho`.

    Parameters
    ----------
    eps : float
        Misspecification.
    rho : float
        Radius of the nets, above 0.
    B : float
        Length of the coefficients, at most.
    L : float
        Length of the rows, at most.
    d, s : int
        Features and non-zeros.
    net : {"greedy", "grid"}
        Whether a net consists of actions that are `rho` apart, of which there are at most :math:`(1 + 2L/\rho)^s`, or
        of one action for each cell of a grid, of which there are at most :math:`(1 + 2L s^{1/2}/\rho)^s`.

    Notes
    -----
    The rate :math:`eps^{-s} d^s` is claimed by Dong and Yang (2023, ICML); the constants are ours. On the true support
    the representative of the best action is within rho of it.

    Examples
    --------
    >>> support_net(0.1, 0.5, B=1.0, L=1.0, d=4, s=2)
    SearchBound(gap=0.7, n_queries=150.0)
    """
    eps, rho = NONNEGATIVE.check("eps", eps), POSITIVE.check("rho", rho)
    B, L = NONNEGATIVE.check("B", B), NONNEGATIVE.check("L", L)
    Choice("greedy", "grid").check("net", net)
    count = _supports(d, s)
    width = 2 * L * (math.sqrt(s) if net == "grid" else 1.0)
    return SearchBound(2 * eps + B * rho, _power(1 + width / rho, s, count))


def support_greedy(eps: float, d: int, s: int) -> SearchBound:
    r"""Bound a search that queries, for every support, a core set and the greedy action.

    Parameters
    ----------
    eps : float
        Misspecification.
    d, s : int
        Features and non-zeros.

    Returns
    -------
    SearchBound
        A gap of :math:`2\,eps\,(1 + (2s)^{1/2})`, and queries whose number does not depend on eps.

    Notes
    -----
    Ours: the bound of one design, on the true support.

    Examples
    --------
    >>> round(support_greedy(0.1, 10, 2).gap, 6)
    0.6
    """
    count = _supports(d, s)
    return SearchBound(one_shot(eps, 2.0 * s), _power(_core_set(s) + 1, 1, count))


def design_net(eps: float, eta: float, d: int, s: int, *, net: str = "greedy") -> SearchBound:
    r"""Bound a search that queries, for every support, a core set and then a net in the metric of its design.

    Parameters
    ----------
    eps : float
        Misspecification.
    eta : float
        Radius of the nets in that metric, above 0.
    d, s : int
        Features and non-zeros.
    net : {"greedy", "grid"}
        As in :func:`support_net`; rows have length at most :math:`(2s)^{1/2}` in that metric.

    Returns
    -------
    SearchBound
        A gap of :math:`(2 + \eta)\,eps`, and queries whose number does not depend on eps.

    Notes
    -----
    Ours. In the metric of the design the fitted coefficients are within eps of the true ones, so along an eta-ball the
    unknown part of a prediction changes by at most eta eps.

    Examples
    --------
    >>> design_net(0.1, 1.0, 10, 2).n_queries == design_net(0.001, 1.0, 10, 2).n_queries
    True
    """
    eps, eta = NONNEGATIVE.check("eps", eps), POSITIVE.check("eta", eta)
    Choice("greedy", "grid").check("net", net)
    count = _supports(d, s)
    width = 2 * math.sqrt(2 * s) * (math.sqrt(s) if net == "grid" else 1.0)
    return SearchBound((2 + eta) * eps, _power(1 + width / eta, s, count) + _power(_core_set(s), 1, count))


def needle_success(n: int, K: int) -> float:
    """Return the largest probability with which n queries of exact rewards, and one guess, find a needle.

    Parameters
    ----------
    n : int
        Number of queries.
    K : int
        Number of actions, among which the needle is uniform.

    Notes
    -----
    Exact, for all algorithms, random and adaptive ones too: n different misses tell nothing more, so the probability
    is n/K + (1 - n/K) / (K - n) = (n + 1) / K, which whoever asks and guesses without repetition attains.

    Examples
    --------
    >>> needle_success(9, 100)
    0.1
    """
    return min(1.0, (SIZE.check("n", n) + 1) / COUNT.check("K", K))


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
    The algorithm and the order of the bound are due to Lattimore, Szepesvari and Weisz (2020, ICML); the constants are
    ours. A phase has between :math:`m_l` and :math:`2 m_l` plays, so without `plays` several phases are possible for
    a play. Costs of phases first fall, with the noise, and then rise, with the misspecification; so the first or the
    last possible phase costs most. With probability 1 - `delta` no estimate errs by more than its width.

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
