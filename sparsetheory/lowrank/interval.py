"""Two-sided bounds on the error of a best low-rank approximation."""

from dataclasses import dataclass
from typing import Self

import numpy as np

__all__ = ["ErrorInterval", "relative_slack", "rounding_slack"]

_UNIT_ROUNDOFF = 2.0**-53


def relative_slack(n_rows: int, n_columns: int) -> float:
    """Return :func:`rounding_slack` for unit energy."""
    return 100 * _UNIT_ROUNDOFF * max(int(n_rows), int(n_columns))


def rounding_slack(n_rows: int, n_columns: int, energy: float) -> float:
    """Bound the rounding error of a squared error computed in double precision.

    A backward-stable SVD or a chain of updates moves squared singular values by a small multiple of
    ``u * max(n_rows, n_columns)`` times the energy; the factor 100 covers the constants.

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


@dataclass(frozen=True)
class ErrorInterval:
    r"""The statement :math:`lo \le E_r(C)^2 \le hi` about a matrix of known energy.

    Parameters
    ----------
    lo, hi : float
        Bounds on the squared Frobenius error of the best rank-r approximation, rounding included.
    energy : float
        :math:`\|C\|_F^2`, the squared error of approximating by zero.
    method : str
        What produced the bounds.
    slack : float
        The rounding allowance contained in each end.
    unit : float
        A power of two. The three numbers are in units of ``unit**2``: 1 except for data so large or small that
        squares would leave the range of float64.

    Examples
    --------
    >>> interval = ErrorInterval(lo=0.5, hi=1.0, energy=100.0)
    >>> interval.relative()
    (0.070..., 0.1)
    >>> interval.decide(0.2), interval.decide(0.01), interval.decide(0.08)
    (True, False, None)
    """

    lo: float
    hi: float
    energy: float
    method: str = ""
    slack: float = 0.0
    unit: float = 1.0

    @classmethod
    def from_bounds(
        cls, lo: float, hi: float, energy: float, shape: tuple[int, int], method: str, unit: float = 1.0
    ) -> Self:
        """Widen computed bounds by the rounding slack of a matrix of this shape, and clip them to [0, energy]."""
        slack = rounding_slack(*shape, energy)
        low, high = max(float(lo) - slack, 0.0), min(float(hi) + slack, energy)
        return cls(low, high, energy, method, slack, unit)

    def relative(self) -> tuple[float, float]:
        """Return bounds on the relative error ``E_r / ||C||_F``; zero for a zero matrix."""
        if self.energy == 0:
            return 0.0, 0.0
        return float(np.sqrt(self.lo / self.energy)), float(np.sqrt(self.hi / self.energy))

    def decide(self, eps: float) -> bool | None:
        """Say whether the relative error is at most `eps`.

        Below ``sqrt(2 * slack / energy)`` (about 1e-6) double precision cannot tell an error from zero; such
        an `eps` is read as that resolution, so that ``eps=0`` accepts exact merges.

        Parameters
        ----------
        eps : float
            Tolerance, at least 0.

        Returns
        -------
        bool or None
            True or False where it is certain, None where the interval does not tell.
        """
        if not eps >= 0:
            raise ValueError(f"eps must be at least 0, got {eps!r}")
        threshold = max(eps**2 * self.energy, 2 * self.slack)
        if self.hi <= threshold:
            return True
        return False if self.lo > threshold else None

    def contains(self, squared_error: float) -> bool:
        """Say whether a squared error, in the units of the interval, lies inside."""
        return self.lo <= squared_error <= self.hi
