"""Evidence that the queried actions lie near all others, on every support."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from scipy.spatial import cKDTree

from sparsetheory.bandits.environments.problem import LinearBanditProblem
from sparsetheory.bandits.supports.enumeration import all_supports
from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["CoveringCertificate"]

# Distances and rewards round by less, relative to the largest.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class CoveringCertificate(Certificate):
    """The gap of the best of a net of actions.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`Certificate`; `bound` is the largest possible gap, and `measured` the gap where the true rewards
        are known, else the bound by the second route.
    action : int
        The action.
    queried : ndarray of int
        Actions that were queried.
    observed : ndarray of float
        Their rewards, or means of noisy ones.
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

    action: int = field(kw_only=True)
    queried: IndexArray = field(kw_only=True)
    observed: Float64Array = field(kw_only=True)
    eps: float = field(kw_only=True)
    width: float = field(kw_only=True)
    n_nonzero: int = field(kw_only=True)
    norm_bound: float = field(kw_only=True)
    rho: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "width", "n_nonzero", "norm_bound", "rho")

    def promise(self) -> str:
        """Return the guarantee in words."""
        return f"action {self.action} earns at most {self.bound:.9g} less than the best one"

    def check(self, *fitted_on: Any, **options: Any) -> "CoveringCertificate":
        """Measure the distances to the nearest queried action on every support, with trees.

        Parameters
        ----------
        *fitted_on : LinearBanditProblem
            What `fit` took.
        **options
            Not used.

        Returns
        -------
        CoveringCertificate
        """
        (problem,) = fitted_on
        features = np.asarray(problem.features, dtype=np.float64)
        radius = max(
            float(cKDTree(features[np.ix_(self.queried, support)]).query(features[:, support])[0].max())
            for support in all_supports(features.shape[1], self.n_nonzero)
        )
        value = self.observed[self.queried == self.action]
        found = 2 * (self.eps + self.width) + self.norm_bound * radius
        sizes = self.norm_bound * np.abs(features).max() + np.abs(self.observed).max()
        reasons = {
            f"some action is {radius:.9g} from the net": radius <= self.rho + _ROUNDING * np.abs(features).max(),
            f"the net bounds the gap by {found:.9g} only": found <= self.bound + _ROUNDING * sizes,
            "a better action was observed": value.size == 1 and value[0] == self.observed.max(),
        }
        measured = found
        if isinstance(problem, LinearBanditProblem) and problem.rewards is not None:
            measured = problem.gap(self.action)
            reasons["the gap is larger"] = measured <= self.bound + _ROUNDING * sizes
        failed = [reason for reason, holds in reasons.items() if not holds]
        checked = replace(self, measured=measured, status=Status.of(not failed), reason="; ".join(failed))
        return checked.unless_misstated()
