"""What evidence about the gap of an action has in common."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

from sparsetheory.bandits.environments.problem import LinearBanditProblem
from sparsetheory.certificates import Certificate, Status

__all__ = ["GapCertificate"]


@dataclass(frozen=True, eq=False)
class GapCertificate(Certificate):
    """How much less an action earns than the best one, at most.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`Certificate`; `bound` is the largest possible gap, and `measured` the gap where the true rewards
        are known, else the bound by a second route.
    action : int
        The action.
    """

    action: int = field(kw_only=True)

    def promise(self) -> str:
        """Return the guarantee in words."""
        return f"action {self.action} earns at most {self.bound:.9g} less than the best one"

    def judged(self, problem: Any, found: float, tolerance: float, reason: str = "") -> Self:
        """Return the certificate with what a second route found, and with the truth where it is known.

        Parameters
        ----------
        problem : LinearBanditProblem, or what has features
        found : float
            Bound by the second route.
        tolerance : float
            By so much both routes may differ.
        reason : str
            Why it does not hold, if that is clear already.
        """
        measured = found
        if not reason and not found <= self.bound + tolerance:
            reason = f"other code bounds the gap by {found:.9g} only"
        if isinstance(problem, LinearBanditProblem) and problem.rewards is not None:
            measured = problem.gap(self.action)
            if measured > self.bound + tolerance:
                reason = "the gap is larger"
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason).unless_misstated()
