"""What all evidence about gaps has in common."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from sparsetheory.bandits.environments.problem import LinearBanditProblem
from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AGREE", "GapCertificate"]

# Bounds by two routes agree to this share of the bound and the largest reward; both allow for rounding that is smaller.
AGREE = 1e-6


@dataclass(frozen=True, eq=False)
class GapCertificate(Certificate):
    """How much less an action earns than the best one, at most.

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
    """

    action: int = field(kw_only=True)
    queried: IndexArray = field(kw_only=True)
    observed: Float64Array = field(kw_only=True)

    def promise(self) -> str:
        """Return the guarantee in words."""
        return f"action {self.action} earns at most {self.bound:.9g} less than the best one"

    @property
    def noise(self) -> float:
        """How far observed rewards may be from mean rewards."""
        return 0.0

    @property
    def value(self) -> float:
        """Return the observed reward of the action; minus infinity if there is none."""
        at = np.flatnonzero(self.queried == self.action)
        return float(self.observed[at[0]]) if at.size else -np.inf

    def judged(self, problem: Any, found: float, tolerance: float) -> Self:
        """Return the certificate with the verdict of a second bound, and of true rewards where they are known.

        Parameters
        ----------
        problem : LinearBanditProblem
        found : float
            The second bound.
        tolerance : float
            By how much the two may differ.
        """
        measured = found
        objections = {f"other code bounds the gap by {found:.9g} only": found > self.bound + tolerance}
        if isinstance(problem, LinearBanditProblem) and problem.rewards is not None:
            measured = problem.gap(self.action)
            wrong = np.abs(problem.rewards[self.queried] - self.observed).max(initial=0.0)
            objections["the gap is larger"] = measured > self.bound + tolerance
            objections["the problem answers otherwise"] = wrong > self.noise + tolerance
        reasons = [reason for reason, holds in objections.items() if holds]
        checked = replace(self, measured=measured, status=Status.of(not reasons), reason="; ".join(reasons))
        return checked.unless_misstated()

    def tolerance(self) -> float:
        """Return by how much bounds by two routes may differ."""
        return AGREE * (float(np.abs(self.observed).max(initial=0.0)) + self.bound)
