"""What several pure messages of one user reveal together."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import lfilter
from scipy.stats import binom

from sparsetheory.constraints import Integer, Real
from sparsetheory.typing import Float64Array

__all__ = ["CompositionCurve", "basic_composition", "kov_composition"]

EPS = Real(0.0, 20.0, closed="right")
PROBABILITY = Real(0.0, 1.0, closed="left")
_ROUNDS = Integer(1, 10**7)
# Binomial probabilities and their sums round by less; the curve errs on the private side.
_SPARE = 1e-9
# Four units in the last place, for the roundings of a total.
_SPARE_EPS = 1e-15
# Smaller probabilities may have left the range of doubles.
_SMALLEST_DELTA = 1e-290


@dataclass(frozen=True, eq=False)
class CompositionCurve:
    """All pairs (eps, delta) that hold for several messages of one user.

    Parameters
    ----------
    eps : array of float64
        Corners of the curve, descending, from the sum of all budgets to 0.
    delta : array of float64
        Smallest delta at each corner. Between two corners delta is a linear function of exp(eps).
    """

    eps: Float64Array
    delta: Float64Array

    def delta_at(self, eps: float) -> float:
        """Return the smallest delta at any eps of at least 0, in O(log n_rounds).

        Raises
        ------
        ValueError
            If eps is negative or not finite.
        """
        eps = Real(0.0).check("eps", eps)
        if eps >= self.eps[0]:
            return 0.0
        upper = int(np.searchsorted(-self.eps, -eps, side="right")) - 1
        if upper == self.eps.size - 1:
            return float(self.delta[-1])
        width = math.expm1(self.eps[upper + 1] - self.eps[upper])
        share = math.expm1(eps - self.eps[upper]) / width
        return float(self.delta[upper] + share * (self.delta[upper + 1] - self.delta[upper]))

    def eps_at(self, delta: float) -> float:
        """Return the smallest eps at which delta is enough, in O(log n_rounds); the sum for delta below 1e-290.

        Raises
        ------
        ValueError
            If delta is not in [0, 1).
        """
        delta = PROBABILITY.check("delta", delta)
        if delta < _SMALLEST_DELTA:
            return float(self.eps[0])
        if delta >= self.delta[-1]:
            return 0.0
        upper = int(np.searchsorted(self.delta, delta, side="right")) - 1
        share = (delta - self.delta[upper]) / (self.delta[upper + 1] - self.delta[upper])
        width = math.expm1(self.eps[upper + 1] - self.eps[upper])
        total = float(self.eps[upper] + math.log1p(share * width)) * (1 + _SPARE_EPS)
        return min(max(total, 0.0), float(self.eps[0]))


def kov_composition(eps: float, n_rounds: int) -> CompositionCurve:
    r"""Return the exact privacy of several pure messages of one user, each of the same eps.

    No smaller delta holds for all mechanisms: randomised response in every round attains the curve. Later messages may
    depend on earlier ones.

    Parameters
    ----------
    eps : float
        Pure privacy of each message, in (0, 20].
    n_rounds : int
        Number of messages T, from 1 to ten million.

    Returns
    -------
    CompositionCurve
        Its ``eps_at(delta)`` is never above the sum ``n_rounds * eps``.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Kairouz, Oh and Viswanath (2015), "The composition theorem for differential privacy". Let :math:`p_l` be the
    probability that l of T randomised responses lie. Their privacy loss is then :math:`(T - 2l)\varepsilon`, and at
    :math:`\varepsilon_i = (T - 2i)\varepsilon`

    .. math:: \delta_i = \sum_{l < i} p_l (1 - \rho^{i - l}), \qquad \rho = e^{-2\varepsilon}.

    With :math:`W_i = p_i + \rho W_{i-1}` this is :math:`\delta_{i+1} = \delta_i + (1 - \rho) W_i`: only positive
    numbers are added, so nothing cancels and the cost is O(T). Below :math:`\varepsilon_i` the curve has the slope
    :math:`-W_i` in :math:`e^{\varepsilon - \varepsilon_i}`. Every delta is raised by one part in 1e9, which is more
    than all roundings together.

    Examples
    --------
    >>> curve = kov_composition(0.1, 100)
    >>> print(f"{curve.eps_at(1e-6):.3f} instead of {basic_composition([0.1] * 100):.0f}")
    4.775 instead of 10
    """
    eps, n_rounds = EPS.check("eps", eps), _ROUNDS.check("n_rounds", n_rounds)
    lies = np.arange(n_rounds // 2 + 1, dtype=np.float64)
    chances = binom.pmf(lies, n_rounds, math.exp(-eps) / (1 + math.exp(-eps)))
    weights = lfilter([1.0], [1.0, -math.exp(-2 * eps)], chances)
    corners: Float64Array = (n_rounds - 2 * lies) * eps
    steps = -math.expm1(-2 * eps) * weights
    if n_rounds % 2:  # the last corner is at eps, and the curve goes on to 0
        corners = np.append(corners, 0.0)
        steps[-1] = -math.expm1(-eps) * weights[-1]
    else:
        steps = steps[:-1]
    delta: Float64Array = np.minimum((1 + _SPARE) * np.append(0.0, np.cumsum(steps)), 1.0)
    return CompositionCurve(corners, delta)


def basic_composition(eps: ArrayLike) -> float:
    """Return the privacy of several pure messages of one user whose budgets may differ: their sum.

    Parameters
    ----------
    eps : array-like of float
        Pure privacy of each message, each in (0, 20].

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If one of them is out of range.

    Examples
    --------
    >>> basic_composition([0.1, 0.2, 0.5])
    0.8
    """
    budgets = np.asarray(eps)
    if budgets.ndim != 1 or budgets.dtype.kind not in "iuf":
        raise ValueError(f"eps must be a one-dimensional array of numbers; got {eps!r}")
    return math.fsum(EPS.check(f"eps[{i}]", budget) for i, budget in enumerate(budgets.tolist()))
