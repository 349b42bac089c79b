"""Which small variances are dropped from the loop."""

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
    """Which entries of a factor are dropped.

    Attributes
    ----------
    relative : list of float
        Shares of the largest entry, one per mode.
    absolute : list of float
        Thresholds, one per mode, in the units of the user.
    scales : list of ndarray, optional
        What factors are divided by to be in those units; ones by default.
    final : bool
        Whether nothing that was dropped comes back: the published rule.
    """

    relative: list[float]
    absolute: list[float]
    scales: list[Float64Array] | None = None
    final: bool = False

    def masks(self, gammas: Sequence[Float64Array], places: Sequence[IndexArray]) -> list[BoolArray]:
        """Say which entries of every mode stay, where `places` tells which entries of the start they are."""
        units = list(gammas)
        if self.scales is not None and any(self.absolute):
            units = balanced([g / scale[at] for g, scale, at in zip(gammas, self.scales, places, strict=True)])
        rules = zip(gammas, units, self.relative, self.absolute, strict=True)
        return [pruned_mask(g, relative, absolute, k, u) for k, (g, u, relative, absolute) in enumerate(rules)]


def pruned_mask(
    gamma: Float64Array, relative: float, absolute: float, mode: Any, in_units: Float64Array | None = None
) -> BoolArray:
    """Say which entries stay.

    Parameters
    ----------
    gamma : ndarray of shape (n,)
        Variances.
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
    given = gamma if in_units is None else in_units
    mask = (gamma >= relative * gamma.max()) & (given >= absolute)
    if not mask.any():
        warnings.warn(
            f"prune_abs would drop every entry of mode {mode}; its largest is kept",
            RuntimeWarning,
            stacklevel=2,
        )
        mask[np.argmax(gamma)] = True
    return mask
