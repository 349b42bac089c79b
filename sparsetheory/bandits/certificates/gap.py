"""What evidence about the gap of an action has in common."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from sparsetheory.bandits.environments.problem import LinearBanditProblem, as_features
from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["AGREE", "GapCertificate", "ObservedGapCertificate"]

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

    def check(self, *fitted_on: Any, **options: Any) -> Self:
        """Bound the gap once more, by the second route that the class names.

        Parameters
        ----------
        *fitted_on : LinearBanditProblem or array-like
            What `fit` or `start` took.
        **options
            Not used.

        Returns
        -------
        certificate
            Not applicable as before, if nothing was proved.
        """
        if len(fitted_on) != 1:
            raise ValueError(f"check must be given the problem or the features, alone; got {len(fitted_on)} arguments")
        (problem,) = fitted_on
        features = problem.features if isinstance(problem, LinearBanditProblem) else as_features(problem)
        if not np.isfinite(self.bound):
            return self.unless_misstated()
        found, reason = (0.0, "") if len(features) == 1 else self._second_route(features)
        tolerance = self._tolerance(features)
        if not reason and not found <= self.bound + tolerance:
            reason = f"other code bounds the gap by {found:.9g} only"
        measured = found
        if isinstance(problem, LinearBanditProblem) and problem.rewards is not None:
            measured = problem.gap(self.action)
            if not self._answered(problem.rewards, tolerance):
                reason = "the problem answers otherwise"
            if measured > self.bound + tolerance:
                reason = "the gap is larger"
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason).unless_misstated()

    def _second_route(self, features: AnyArray) -> tuple[float, str]:
        """Return a bound of the gap, and why the certificate is not valid, if something else says so."""
        return self._found(features), ""

    def _found(self, features: AnyArray) -> float:
        """Return a bound of the gap by other code."""
        raise NotImplementedError(f"{type(self).__name__} does not define _found")

    def _tolerance(self, features: AnyArray) -> float:
        """Return by how much bounds by two routes may differ."""
        raise NotImplementedError(f"{type(self).__name__} does not define _tolerance")

    def _answered(self, rewards: Float64Array, tolerance: float) -> bool:
        """Return whether the answers that the certificate holds, if any, are those of a problem."""
        return True


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

    def _tolerance(self, features: AnyArray) -> float:
        return AGREE * (float(np.abs(self.observed).max(initial=0.0)) + self.bound)

    def _answered(self, rewards: Float64Array, tolerance: float) -> bool:
        return bool(np.abs(rewards[self.queried] - self.observed).max(initial=0.0) <= self.noise + tolerance)
