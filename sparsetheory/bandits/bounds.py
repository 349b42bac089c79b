"""What is promised, as formulas: gaps and numbers of queries of searches, regret of elimination, odds of a needle.

Short symbols are those of the field: K actions, d features, s non-zeros, rows of length at most L, coefficients of
length at most B, n plays. Results on exact rewards; where rewards are averaged until they are within w, put eps + w
for eps and add 2 w to the gap.
"""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits.design.optimal import core_set_bound
from sparsetheory.bandits.regret import RegretBound, phased_regret
from sparsetheory.constraints import COUNT, NONNEGATIVE, POSITIVE, SIZE, Choice, Integer

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
