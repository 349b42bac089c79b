"""A noise variance that is known, or learned above a floor."""

import warnings
from dataclasses import dataclass, field

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.kronecker.algebra import squared_modulus
from sparsetheory.typing import InexactArray

__all__ = ["NOISE_FLOOR", "NoiseVariance"]

# A learned noise variance stays above this fraction of the mean square of the data.
NOISE_FLOOR = 1e-12
# A learned noise variance has settled once it moves by no more than this fraction.
_NOISE_SETTLED = 1e-12


@dataclass
class NoiseVariance:
    """A noise variance, known or learned.

    Attributes
    ----------
    value : float
        Current value.
    learned : bool
        Whether updates move it.
    floor : float
        Smallest learned value: the cost may fall to minus infinity as it goes to zero.
    """

    value: float
    learned: bool
    floor: float = 0.0
    _warned: bool = field(default=False, repr=False)

    @classmethod
    def of(cls, noise: float | None, Y: InexactArray) -> "NoiseVariance":
        """Start from a given variance, or, if it is None, from a tenth of the variance of the data."""
        if noise is not None:
            return cls(noise, False)
        square = float(squared_modulus(Y).mean())
        spread = float(np.var(Y, ddof=1)) if Y.size > 1 else 0.0
        return cls(0.1 * (spread if spread > 0 else square), True, NOISE_FLOOR * square)

    def update(self, value: float) -> None:
        """Move to a new value, where the variance is learned."""
        if not self.learned:
            return
        if value < self.floor and not self._warned:
            warnings.warn(
                f"the learned noise variance reached {self.floor:.3g}, {NOISE_FLOOR:g} of the mean square of y, and "
                "stays there: the data seem to be without noise",
                ConvergenceWarning,
                stacklevel=2,
            )
            self._warned = True
        self.value = max(value, self.floor)

    @property
    def at_floor(self) -> bool:
        """Whether a learned variance is as small as it may be."""
        return self.learned and self.value <= self.floor

    def settled(self, value: float) -> bool:
        """Whether moving to a new value would change nothing."""
        return not self.learned or abs(max(value, self.floor) - self.value) <= _NOISE_SETTLED * self.value
