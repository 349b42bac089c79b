"""What one user has spent over several campaigns, pure and Gaussian ones together."""

import math
import sys
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from sparsetheory.privacy.accounting.composition import kov_composition
from sparsetheory.privacy.device.gaussian import gaussian_delta

__all__ = ["History"]

# Beyond this the formula of the Gaussian leaves the range of doubles; nobody calls it private either.
_LARGEST_EPS = 100.0
_BISECTIONS = 100
_GRID = 200
# Binomial probabilities round by less.
_SPARE = 1e-9
_SMALLEST = sys.float_info.min


@dataclass(frozen=True)
class History:
    r"""The messages of one user, as far as their privacy depends on them.

    Parameters
    ----------
    n_pure : int
        Number of pure messages.
    eps_sum, eps_max : float
        Sum and largest of their eps.
    mu_squared : float
        Sum of the squared mu of the Gaussian messages.
    total_variation : float
        Sum of the distances between the laws of the messages and those that eps and mu describe.

    Notes
    -----
    Two bounds hold, and the smaller one counts. Order does not matter for either, nor whether later messages depend on
    earlier ones: trade-off functions of adaptive messages are those of the product of independent worst cases (Dong,
    Roth and Su 2022).

    *Sum.* The Gaussian messages together are one Gaussian message with squared mu as summed. If it is
    :math:`(\varepsilon_2, \delta)`-private and the eps of the pure ones add up to :math:`\varepsilon_1`, all together
    are :math:`(\varepsilon_1 + \varepsilon_2, \delta)`-private.

    *Product.* Each of the n pure messages is no worse than a randomised response with the largest
    :math:`\varepsilon`. Let :math:`L_1` be the privacy loss of n such responses, which is
    :math:`(n - 2l)\varepsilon` with the binomial probability :math:`p_l` that l of them lie. Given it, a total of x
    leaves :math:`x - L_1` to the Gaussian, so that

    .. math:: \delta(x) = \sum_l p_l\, \delta_\mu(x - (n - 2l)\varepsilon).

    For the worst case this is an equality. Without Gaussian messages it is the curve of :func:`kov_composition`, and
    without pure ones that of :func:`gaussian_delta`, so nothing is lost in either case. No delta has to be split.

    *Rounding.* Laws that are t apart in total variation, for either record, have
    :math:`\delta(x) + (1 + e^x)\, t` instead of :math:`\delta(x)`. Distances of several messages add up.
    """

    n_pure: int = 0
    eps_sum: float = 0.0
    eps_max: float = 0.0
    mu_squared: float = 0.0
    total_variation: float = 0.0

    @property
    def mu(self) -> float:
        """Mu of all Gaussian messages together."""
        return math.sqrt(self.mu_squared)

    def after(self, eps: float | None, mu: float | None, total_variation: float = 0.0) -> "History":
        """Return the history with one more message, pure or Gaussian."""
        if mu is not None:
            distance = self.total_variation + total_variation
            return replace(self, mu_squared=self.mu_squared + mu**2, total_variation=distance)
        added = eps or 0.0
        return replace(self, n_pure=self.n_pure + 1, eps_sum=self.eps_sum + added, eps_max=max(self.eps_max, added))

    def delta_at(self, eps: float) -> float:
        """Return a proved delta at eps, in O(n_pure); the smallest one where nothing is rounded."""
        delta = min(self._delta_of_sum(eps), self._delta_of_product(eps))
        # That of a Gaussian is never 0, though it may be below the range of doubles.
        delta = max(delta, _SMALLEST) if self.mu_squared > 0 else delta
        if self.total_variation == 0:
            return delta
        return min(delta + (1 + math.exp(min(eps, _LARGEST_EPS))) * self.total_variation, 1.0)

    def eps_at(self, delta: float) -> float:
        """Return the smallest proved eps at delta: the upper end of a bisection, infinite where none is."""
        if self.mu_squared == 0:
            product = kov_composition(self.eps_max, self.n_pure).eps_at(delta) if self.n_pure else 0.0
            return min(self.eps_sum, product)
        low, high = 0.0, self.eps_sum + _LARGEST_EPS
        if self.delta_at(low) <= delta:
            return low
        if self.total_variation > 0:
            high = self._end_of_search(delta)
        if self.delta_at(high) > delta:
            return math.inf
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if self.delta_at(middle) <= delta:
                high = middle
            else:
                low = middle
        return high

    def _end_of_search(self, delta: float) -> float:
        """Return an eps where delta is enough, if there is one on a grid: rounding makes delta rise again with eps."""
        most = math.log(max(delta / self.total_variation - 1, 1.0))
        grid = np.linspace(0.0, min(most, _LARGEST_EPS), _GRID).tolist()
        return next((eps for eps in grid if self.delta_at(eps) <= delta), grid[-1])

    def _delta_of_sum(self, eps: float) -> float:
        left = eps - self.eps_sum
        return gaussian_delta(min(left, _LARGEST_EPS), self.mu) if left >= 0 else 1.0

    def _delta_of_product(self, eps: float) -> float:
        if self.n_pure == 0:
            return 1.0  # the sum is exact
        if self.mu_squared == 0:
            return kov_composition(self.eps_max, self.n_pure).delta_at(eps)
        lies = np.arange(self.n_pure + 1)
        chances = binom.pmf(lies, self.n_pure, math.exp(-self.eps_max) / (1 + math.exp(-self.eps_max)))
        left = eps - (self.n_pure - 2 * lies) * self.eps_max
        deltas = [_gaussian_hockey_stick(x, self.mu) for x in left.tolist()]
        return min((1 + _SPARE) * float(chances @ deltas), 1.0)


def _gaussian_hockey_stick(eps: float, mu: float) -> float:
    """Return delta of a Gaussian message for any real eps; as a Gaussian is symmetric, -eps says what eps says."""
    if eps >= 0:
        return gaussian_delta(min(eps, _LARGEST_EPS), mu)
    return -math.expm1(eps) + math.exp(eps) * gaussian_delta(min(-eps, _LARGEST_EPS), mu)
