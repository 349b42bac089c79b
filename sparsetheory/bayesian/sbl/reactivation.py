r"""Whether the data ask for a variance that was pruned.

With :math:`q = a^H C^{-1} a` and :math:`S = a^H C^{-1} y` of a column whose variance is zero, the cost as a function of
that variance alone is :math:`\log(1 + \gamma q) - \gamma |S|^2 / (1 + \gamma q)`. It falls where :math:`s = |S|^2 / q`
exceeds one, at best by :math:`s - 1 - \log s`, at :math:`\gamma = (s - 1) / q`.

Noise alone makes s exceed one for a third of all columns, and letting all of these in is how sparse Bayesian learning
with a learned noise variance ends in fitting the noise. A column comes back if that raises the log evidence by more
than the logarithm of the number of columns: what it takes to name one of them.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.bayesian.kronecker.algebra import contract
from sparsetheory.typing import Float64Array

__all__ = ["SlopeAtZero", "inclusion_penalty", "slope_at_zero"]


def inclusion_penalty(n_columns: int, n_snapshots: int, is_complex: bool) -> float:
    """Return how much a column that comes back must lower the cost, which is averaged over snapshots.

    Parameters
    ----------
    n_columns : int
        Number of columns, of all modes together.
    n_snapshots : int
        Snapshots.
    is_complex : bool
        Whether the data are complex: their log evidence is minus the cost, that of real data half of it.

    Returns
    -------
    float
    """
    return (1.0 if is_complex else 2.0) * math.log(max(n_columns, 2)) / n_snapshots


@dataclass(frozen=True, eq=False)
class SlopeAtZero:
    """How the cost changes with entries of a factor that are zero.

    Attributes
    ----------
    up, down : ndarray of shape (N_k,)
        Derivatives of the log determinant and, with the sign changed, of the data term.
    squares : ndarray of shape (N_k,)
        Sums of squares of the terms of `up`: with other modes an entry scales several variances, about
        ``up**2 / squares`` of them.
    """

    up: Float64Array
    down: Float64Array
    squares: Float64Array

    @property
    def ratio(self) -> Float64Array:
        """Down over up, at least one."""
        return np.maximum(np.divide(self.down, self.up, out=np.ones_like(self.up), where=self.up > 0), 1.0)

    @property
    def gain(self) -> Float64Array:
        """By how much the cost could fall, were the variances that an entry scales alike."""
        number = np.divide(self.up**2, self.squares, out=np.zeros_like(self.up), where=self.squares > 0)
        return number * (self.ratio - 1.0 - np.log(self.ratio))

    @property
    def best(self) -> Float64Array:
        """The entry at which it would."""
        scale = np.divide(self.up, self.squares, out=np.zeros_like(self.up), where=self.squares > 0)
        return (self.ratio - 1.0) * scale


def slope_at_zero(everywhere: Any, k: int) -> SlopeAtZero:
    """Return the slopes by the entries of one factor.

    Parameters
    ----------
    everywhere : PosteriorMoments
        Posterior on all columns, with variances of zero where they were pruned.
    k : int
        Mode.

    Returns
    -------
    SlopeAtZero
    """
    variances = everywhere.variances
    return SlopeAtZero(
        contract(everywhere.q, variances, k),
        contract(everywhere.power, variances, k),
        contract(everywhere.q**2, [gamma**2 for gamma in variances], k),
    )
