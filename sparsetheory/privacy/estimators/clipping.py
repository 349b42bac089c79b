"""How much of the data a simulation clips; a real collection must not know."""

import warnings

import numpy as np

from sparsetheory.privacy.errors import ClippingWarning
from sparsetheory.typing import Float64Array

__all__ = ["ClippedFractions"]

# Clipping biases coefficients; beyond this fraction the bias is no longer a detail.
_MOST = 0.2


class ClippedFractions:
    """Counts what lies beyond the clips.

    Parameters
    ----------
    clip_x, clip_entries : float or None
        Bounds of the norm of the features and of each of them, in units of `scale_x`.
    clip_y : float
        Bound of the response.
    scale_x : float or tuple of float
    """

    def __init__(
        self,
        clip_x: float | None,
        clip_entries: float | None,
        clip_y: float | None,
        scale_x: float | tuple[float, ...],
    ) -> None:
        self._clips = {"clip_x": clip_x, "clip_entries": clip_entries, "clip_y": clip_y}
        self._scale = np.asarray(scale_x)
        self._beyond = dict.fromkeys(self._clips, 0)
        self._seen = dict.fromkeys(self._clips, 0)

    def count(self, X: Float64Array, y: Float64Array) -> None:
        """Look at further records."""
        with np.errstate(over="ignore"):
            scaled = np.abs(X / self._scale)
            norms = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
        for name, values in (("clip_x", norms), ("clip_entries", scaled), ("clip_y", np.abs(y))):
            clip = self._clips[name]
            if clip is not None:
                self._beyond[name] += int(np.count_nonzero(values > clip))
                self._seen[name] += values.size

    def warn(self) -> None:
        """Warn of every clip that cuts more than a fifth of what it is for."""
        for name, seen in self._seen.items():
            if seen and self._beyond[name] > _MOST * seen:
                warnings.warn(
                    f"{name} cuts {self._beyond[name] / seen:.0%} of the data, which biases coefficients; a larger one "
                    "has more noise and less bias",
                    ClippingWarning,
                    stacklevel=4,
                )
