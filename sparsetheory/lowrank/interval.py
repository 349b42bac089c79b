"""Two-sided bounds on the error of a best low-rank approximation."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Self

import numpy as np

__all__ = ["ErrorInterval", "relative_slack", "resolution", "rounding_slack"]

_UNIT_ROUNDOFF = 2.0**-53
# One more update of a summary, or one more merge, rounds a few times.
_PER_STEP = 16 * _UNIT_ROUNDOFF
_SUBNORMAL = 2.0**-1074


def relative_slack(n_rows: int, n_columns: int) -> float:
    """Return :func:`rounding_slack` for unit energy."""
    shape = int(n_rows), int(n_columns)
    return 100 * _UNIT_ROUNDOFF * (min(shape) + math.log2(max(*shape, 1)))


def rounding_slack(n_rows: int, n_columns: int, energy: float) -> float:
    """Bound the rounding error of a difference of sums of squares computed in double precision.

    Long sums are formed in pairs and wide matrices are reduced to triangles by a tree of factorisations, so that
    errors follow the smaller dimension and only the logarithm of the larger one; the factor 100 covers the constants.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the concatenated matrix.
    energy : float
        Its squared Frobenius norm.

    Returns
    -------
    float
    """
    return relative_slack(n_rows, n_columns) * energy


def resolution(n_rows: int, n_columns: int, steps: int = 0) -> float:
    """Return the smallest relative error that double precision tells from zero.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the concatenated matrix.
    steps : int
        Updates or merges that the error went through.
    """
    return 2 * _backward(n_rows, n_columns, steps)


def _backward(n_rows: int, n_columns: int, steps: int) -> float:
    """Relative size of the perturbation of the data that explains the rounding of factorisations."""
    return relative_slack(n_rows, n_columns) + _PER_STEP * steps


@dataclass(frozen=True)
class ErrorInterval:
    r"""The statement :math:`\text{lower} \le E_r(C)^2 \le \text{upper}` about a matrix of known energy.

    Parameters
    ----------
    lower, upper : float
        Bounds on the squared Frobenius error of the best rank-r approximation, rounding included.
    energy : float
        :math:`\|C\|_F^2`, the squared error of approximating by zero.
    method : str
        What produced the bounds.
    slack : float
        The rounding allowance contained in the upper end.
    unit : float
        A power of two. The three numbers are in units of ``unit**2``: 1 except for data so large or small that
        squares would leave the range of float64.

    Examples
    --------
    >>> interval = ErrorInterval(lower=0.5, upper=1.0, energy=100.0)
    >>> interval.relative()
    (0.070..., 0.1)
    >>> interval.decide(0.2), interval.decide(0.01), interval.decide(0.08)
    (True, False, None)
    """

    lower: float
    upper: float
    energy: float
    method: str = ""
    slack: float = 0.0
    unit: float = 1.0

    @classmethod
    def from_bounds(
        cls, lower: float, upper: float, energy: float, shape: tuple[int, int], method: str, unit: float = 1.0
    ) -> Self:
        """Widen differences of sums of squares by their rounding slack, and clip them to [0, energy].

        The slack of a difference is a multiple of the energy, so errors below about ``sqrt(slack / energy)``, which is
        1e-6 for matrices of some hundred rows, are not told from zero; :meth:`from_tails` resolves far smaller ones.
        """
        slack = rounding_slack(*shape, energy) + _vanished(shape)
        low, high = max(float(lower) - slack, 0.0), min(float(upper) + slack, energy)
        return cls(low, high, energy, method, slack, unit)

    @classmethod
    def from_tails(
        cls,
        lower: float,
        upper: float,
        energy: float,
        shape: tuple[int, int],
        method: str,
        unit: float = 1.0,
        *,
        steps: int = 0,
    ) -> Self:
        r"""Widen sums of small squares that a backward-stable method found, and clip them to [0, energy].

        Rounding acts like a perturbation of the data of relative size :math:`\delta`, and a best approximation error
        moves no further than the data do: :math:`|\hat E_r - E_r| \le \delta \|C\|_F`.

        Parameters
        ----------
        lower, upper, energy, shape, method, unit
            Computed squared errors, and the matrix they belong to.
        steps : int
            Updates or merges that the numbers went through; each rounds again.
        """
        moved = _backward(*shape, steps) * math.sqrt(energy)
        least = max(math.sqrt(max(float(lower), 0.0)) - moved, 0.0)
        largest = math.sqrt(max(float(upper), 0.0)) + moved
        low, high = max(least**2 - _vanished(shape), 0.0), largest**2 + _vanished(shape)
        return cls(low, min(high, energy), energy, method, high - float(upper), unit)

    def relative(self) -> tuple[float, float]:
        """Return bounds on the relative error ``E_r / ||C||_F``; zero for a zero matrix."""
        if self.energy == 0:
            return 0.0, 0.0
        return float(np.sqrt(self.lower / self.energy)), float(np.sqrt(self.upper / self.energy))

    def decide(self, eps: float) -> bool | None:
        """Say whether the relative error is at most `eps`.

        Nothing is decided within the rounding allowance: an exact approximation whose computed error is rounding noise
        is not known to meet ``eps=0``.

        Parameters
        ----------
        eps : float
            Tolerance, at least 0.

        Returns
        -------
        bool or None
            True or False where it is certain, None where the interval does not tell.
        """
        if not (isinstance(eps, Real) and eps >= 0):
            raise ValueError(f"eps must be at least 0; got {eps!r}")
        if self.upper == 0:
            return True
        threshold = float(eps) ** 2 * self.energy if eps < 1 else math.inf
        if self.upper <= threshold:
            return True
        return False if self.lower > threshold else None

    def contains(self, squared_error: float) -> bool:
        """Say whether a squared error, in the units of the interval, lies inside."""
        return self.lower <= squared_error <= self.upper


def _vanished(shape: tuple[int, int]) -> float:
    """Bound what sums of squares at the lower end of float64 lose."""
    return _SUBNORMAL * 64 * max(shape)
