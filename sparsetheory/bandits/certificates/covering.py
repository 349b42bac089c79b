"""Evidence that the queried actions lie near all others, on every support."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy.spatial import cKDTree

from sparsetheory.bandits.certificates.gap import ObservedGapCertificate
from sparsetheory.bandits.supports.enumeration import all_supports
from sparsetheory.typing import AnyArray

__all__ = ["CoveringCertificate"]

# Distances and rewards round by less, relative to the largest.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class CoveringCertificate(ObservedGapCertificate):
    """The gap of the best of a net of actions.

    The second route measures the distance to the nearest queried action on every support, with trees.

    Parameters
    ----------
    statement, bound, measured, status, reason, action, queried, observed
        As in :class:`ObservedGapCertificate`.
    eps : float
        Assumed misspecification.
    width : float
        How far a mean may be from the mean reward.
    n_nonzero : int
        Assumed number of non-zero coefficients.
    norm_bound : float
        Assumed bound of the Euclidean norm of the coefficients.
    rho : float
        Euclidean distance from every action to a queried one, at most, in the features of every support.
    """

    eps: float = field(kw_only=True)
    width: float = field(kw_only=True)
    n_nonzero: int = field(kw_only=True)
    norm_bound: float = field(kw_only=True)
    rho: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "width", "n_nonzero", "norm_bound", "rho")

    @property
    def noise(self) -> float:
        """How far observed rewards may be from mean rewards."""
        return self.width

    def _second_route(self, features: AnyArray) -> tuple[float, str]:
        features = np.asarray(features, dtype=np.float64)
        radius = max(
            float(cKDTree(features[np.ix_(self.queried, support)]).query(features[:, support])[0].max())
            for support in all_supports(features.shape[1], self.n_nonzero)
        )
        found = 2 * (self.eps + self.width) + self.norm_bound * radius + float(self.observed.max()) - self.value
        far = radius > self.rho + _ROUNDING * np.abs(features).max()
        return found, f"some action is {radius:.9g} from the net" if far else ""

    def _tolerance(self, features: AnyArray) -> float:
        largest = max(float(np.max(features)), -float(np.min(features)))
        return _ROUNDING * (self.norm_bound * largest + float(np.abs(self.observed).max(initial=0.0)))
