"""What evidence about the gap of an action has in common."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Self

import numpy as np

from sparsetheory.bandits.environments.problem import LinearBanditProblem, as_features
from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AGREE", "GapCertificate", "ObservedGapCertificate", "problem_of"]

# Bounds by two routes agree to this share of the bound and the largest reward; both allow for rounding that is smaller.
AGREE = 1e-6


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


@dataclass(frozen=True, eq=False)
class ObservedGapCertificate(GapCertificate):
    """The same, with the answers that prove it.

    Parameters
    ----------
    statement, bound, measured, status, reason, action
        As in :class:`GapCertificate`.
    queried : ndarray of int
        Actions that were queried.
    observed : ndarray of float
        Their rewards, or means of noisy ones.
    """

    queried: IndexArray = field(kw_only=True)
    observed: Float64Array = field(kw_only=True)

    @property
    def noise(self) -> float:
        """How far observed rewards may be from mean rewards."""
        return 0.0

    @property
    def value(self) -> float:
        """Return the observed reward of the action; minus infinity if there is none."""
        at = np.flatnonzero(self.queried == self.action)
        return float(self.observed[at[0]]) if at.size else -np.inf

    def tolerance(self) -> float:
        """Return by how much bounds by two routes may differ."""
        return AGREE * (float(np.abs(self.observed).max(initial=0.0)) + self.bound)

    def judged(self, problem: Any, found: float, tolerance: float, reason: str = "") -> Self:
        """Return what :class:`GapCertificate` does; answers that are not those of the problem prove nothing."""
        if isinstance(problem, LinearBanditProblem) and problem.rewards is not None:
            wrong = np.abs(problem.rewards[self.queried] - self.observed).max(initial=0.0)
            if wrong > self.noise + tolerance:
                reason = "the problem answers otherwise"
        return super().judged(problem, found, tolerance, reason)


def problem_of(*fitted_on: Any) -> Any:
    """Return the problem that was solved; of a live experiment, what is known of it: the features."""
    if len(fitted_on) != 1:
        raise ValueError(f"check must be given the problem or the features, alone; got {len(fitted_on)} arguments")
    (given,) = fitted_on
    return given if isinstance(given, LinearBanditProblem) else SimpleNamespace(features=as_features(given))
