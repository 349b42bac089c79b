"""One instance of a theorem, in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Measurement"]


@dataclass(frozen=True)
class Measurement:
    """What was measured on one instance, and the bound the theorem puts on it.

    Parameters
    ----------
    measured, bound : float
        The theorem reads ``measured <= bound``.
    scale : float, optional
        What rounding tolerances are relative to (an energy, a norm); ``abs(bound)`` by default.
    extras : mapping of str to float
        Further curves for the plot of a sweep.
    also : tuple of (str, str)
        Further inequalities of the theorem: the first named value is at most the second. Names are "bound" and the
        keys of `extras`. :meth:`chain` and :meth:`and_chain` write them.
    """

    measured: float
    bound: float
    scale: float | None = None
    extras: Mapping[str, float] = field(default_factory=dict)
    also: tuple[tuple[str, str], ...] = ()

    @classmethod
    def chain(
        cls, measured: float, bound: float, further: Mapping[str, float], scale: float | None = None
    ) -> "Measurement":
        """State a chain of inequalities: ``measured <= bound <= first of further <= second <= ...``.

        Parameters
        ----------
        measured, bound : float
            Where the chain starts.
        further : mapping of str to float
            What follows, by the names that the plot of a sweep shows.
        scale : float, optional
            As in the class.

        Returns
        -------
        Measurement

        Examples
        --------
        >>> Measurement.chain(1.0, 2.0, {"loose bound": 3.0, "looser bound": 2.5}).excess()
        0.25
        """
        names = ["bound", *further]
        return cls(measured, bound, scale, further, tuple(pairwise(names)))

    def and_chain(self, values: Mapping[str, float]) -> "Measurement":
        """Add another chain of inequalities: each of the values is at most the next one.

        Examples
        --------
        >>> Measurement(1.0, 2.0).and_chain({"lower end": 0.0, "upper end": 1.0}).excess()
        0.0
        """
        return replace(self, extras={**self.extras, **values}, also=(*self.also, *pairwise(values)))

    @classmethod
    def worst(cls, measured: ArrayLike, bound: ArrayLike, scale: float | None = None) -> "Measurement":
        """Reduce a theorem with many inequalities to the one that is closest to failing.

        Parameters
        ----------
        measured, bound : array-like, broadcastable against each other
            All inequalities ``measured <= bound`` of one instance. Where there are none, the theorem holds.
        scale : float, optional
            As in the class.

        Returns
        -------
        Measurement
        """
        left, right = np.broadcast_arrays(np.asarray(measured, float), np.asarray(bound, float))
        if left.size == 0:
            return cls(0.0, 0.0, scale)
        # Relative to what the verdict compares with: the scale, or else each bound. Not a number is worst of all.
        sizes = np.abs(right) if scale is None else np.full(left.shape, float(scale))
        excess = left - right
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(excess == 0, 0.0, excess / sizes)
        index = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, relative)), left.shape)
        return cls(float(left[index]), float(right[index]), scale)

    def excess(self) -> float:
        """Return by how much any of the inequalities fails, relative to the scale; NaN counts as infinite."""
        named = {"bound": self.bound, **self.extras}
        pairs = [(self.measured, self.bound), *((named[left], named[right]) for left, right in self.also)]
        scale = abs(self.bound) if self.scale is None else self.scale
        return max(_excess(left - right, scale) for left, right in pairs)

    def tightness(self, rtol: float = 0.0) -> float:
        """Return the measured value as a share of its bound.

        Parameters
        ----------
        rtol : float
            Rounding allowance relative to the scale.

        Returns
        -------
        float
            Zero where the bound is not above what rounding is allowed: such a ratio would be one of rounding errors.
        """
        least = 0.0 if self.scale is None else rtol * self.scale
        return float(self.measured / self.bound) if least < self.bound < np.inf else 0.0

    def with_bound(self, factor: float) -> "Measurement":
        """Return the same measurement against the bound times a factor."""
        return replace(self, bound=self.bound * factor)


def _excess(difference: float, scale: float) -> float:
    if np.isnan(difference):
        return np.inf
    if difference <= 0:
        return 0.0
    return float(difference / scale) if scale > 0 else np.inf
