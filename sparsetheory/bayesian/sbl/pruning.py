"""The rule by which small variances are dropped from the loop."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.bayesian.sbl.updates.scaling import balanced
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["Pruning", "pruned_mask"]


@dataclass(frozen=True, eq=False)
class Pruning:
    """A rule that says which entries of the factors are dropped.

    Attributes
    ----------
    relative : list of float
        Thresholds relative to the largest entry, one per mode.
    absolute : list of float
        Thresholds, one per mode, in the units of the user.
    scales : list of ndarray, optional
        What factors are divided by to be in those units; ones by default.
    permanent : bool
        Whether what was dropped never comes back: the published rule.
    """

    relative: list[float]
    absolute: list[float]
    scales: list[Float64Array] | None = None
    permanent: bool = False

    def masks(self, variances: Sequence[Float64Array], places: Sequence[IndexArray]) -> list[BoolArray]:
        """Say which entries of every mode stay, where `places` tells which entries of the start they are."""
        units = list(variances)
        if self.scales is not None and any(self.absolute):
            units = balanced([g / scale[at] for g, scale, at in zip(variances, self.scales, places, strict=True)])
        rules = zip(variances, units, self.relative, self.absolute, strict=True)
        return [pruned_mask(g, relative, absolute, k, u) for k, (g, u, relative, absolute) in enumerate(rules)]


def pruned_mask(
    variances: Float64Array, relative: float, absolute: float, mode: Any, in_units: Float64Array | None = None
) -> BoolArray:
    """Say which entries stay.

    Parameters
    ----------
    variances : ndarray of shape (n,)
        Prior variances.
    relative, absolute : float
        Entries below ``relative * max`` or below `absolute` go.
    mode : Any
        For the warning.
    in_units : ndarray of shape (n,), optional
        Variances that `absolute` is compared with, if they have other units.

    Returns
    -------
    ndarray of bool
        At least one entry stays; a warning says if none would.
    """
    given = variances if in_units is None else in_units
    mask = (variances >= relative * variances.max()) & (given >= absolute)
    if not mask.any():
        warnings.warn(
            f"absolute_threshold would drop every entry of mode {mode}; its largest is kept",
            RuntimeWarning,
            stacklevel=2,
        )
        mask[np.argmax(variances)] = True
    return mask
