"""Evidence about the gap of an action, from all candidate models that the answers allow."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bandits.environments.problem import LinearBanditProblem
from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["CandidateGapCertificate", "candidate_gap", "optimistic_values"]

# Predictions and rewards round by less, relative to the largest.
_ROUNDING = 1e-9
# Numbers in a block of predictions.
_BLOCK = 4_000_000


@dataclass(frozen=True, eq=False)
class CandidateGapCertificate(Certificate):
    """How much less an action earns than the best one, at most, if a candidate is near the truth.

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
    rho : float
        Assumed distance of the true coefficients to a candidate.
    candidates : ndarray of shape (m, n_features)
        Coefficients.
    """

    action: int = field(kw_only=True)
    queried: IndexArray = field(kw_only=True)
    observed: Float64Array = field(kw_only=True)
    eps: float = field(kw_only=True)
    width: float = field(kw_only=True)
    rho: float = field(kw_only=True)
    candidates: Float64Array = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "width", "rho")

    def promise(self) -> str:
        """Return the guarantee in words."""
        return f"action {self.action} earns at most {self.bound:.9g} less than the best one"

    def check(self, *fitted_on: Any, **options: Any) -> "CandidateGapCertificate":
        """Bound the gap once more, one action after another.

        Parameters
        ----------
        *fitted_on : LinearBanditProblem
            What `fit` took.
        **options
            Not used.

        Returns
        -------
        CandidateGapCertificate
        """
        (problem,) = fitted_on
        features = np.asarray(problem.features, dtype=np.float64)
        error = self.eps + float(np.linalg.norm(features, axis=1).max()) * self.rho
        allowed = np.ones(len(self.candidates), dtype=bool)
        size = float(np.abs(self.observed).max(initial=0.0))
        for action, reward in zip(self.queried, self.observed, strict=True):
            predicted = np.einsum("ij,j->i", self.candidates, features[action])
            size = max(size, float(np.abs(predicted).max()))
            allowed &= np.abs(predicted - reward) <= error + self.width + _ROUNDING * size
        ceiling = -np.inf
        for row in features:
            ceiling = max(ceiling, float(np.einsum("ij,j->i", self.candidates[allowed], row).max(initial=-np.inf)))
        value = self.observed[self.queried == self.action]
        found = ceiling + error - (float(value[0]) - self.width) if value.size else np.inf
        holds, reason = found <= self.bound + 4 * _ROUNDING * size or len(features) == 1, ""
        if not holds:
            reason = f"other code bounds the gap by {found:.9g} only"
        measured = found
        if isinstance(problem, LinearBanditProblem) and problem.rewards is not None:
            measured = problem.gap(self.action)
            if measured > self.bound + _ROUNDING * size:
                holds, reason = False, "the gap is larger"
        return replace(self, measured=measured, status=Status.of(holds), reason=reason).unless_misstated()


def candidate_gap(
    features: AnyArray,
    candidates: Float64Array,
    queried: IndexArray,
    observed: Float64Array,
    action: int,
    *,
    eps: float,
    width: float,
    rho: float,
) -> CandidateGapCertificate:
    """Return what answers prove of the gap of an action.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    candidates : ndarray of shape (m, n_features)
    queried : ndarray of int
    observed : ndarray of float
    action : int
    eps, width, rho
        As in :class:`CandidateGapCertificate`.

    Returns
    -------
    CandidateGapCertificate
    """
    longest = float(np.sqrt(np.einsum("ij,ij->i", features, features, dtype=np.float64).max()))
    error, bound, reason = eps + longest * rho, np.inf, "the action was not queried"
    if len(features) == 1:
        bound, reason = 0.0, ""
    elif action in queried:
        predicted = candidates @ np.asarray(features[queried], dtype=np.float64).T
        slack = _ROUNDING * max(float(np.abs(predicted).max()), float(np.abs(observed).max()))
        alive = np.all(np.abs(predicted - observed) <= error + width + slack, axis=1)
        reason = "no candidate is consistent with the answers"
        if alive.any():
            value = float(observed[np.flatnonzero(queried == action)[0]])
            bound, reason = (
                float(optimistic_values(candidates[alive], features)[0].max()) + error + slack - (value - width),
                "",
            )
    status = Status.VALID if np.isfinite(bound) else Status.NOT_APPLICABLE
    return CandidateGapCertificate(
        "", bound, None, status, reason=reason, action=action, queried=queried, observed=observed, eps=eps, width=width,
        rho=rho, candidates=candidates,
    ).stated()  # fmt: skip


def optimistic_values(candidates: Float64Array, features: AnyArray) -> tuple[Float64Array, IndexArray, float]:
    """Return the largest prediction of every candidate, the action that has it, and the largest magnitude of all.

    Parameters
    ----------
    candidates : ndarray of shape (m, n_features)
    features : ndarray of shape (n_actions, n_features)

    Returns
    -------
    largest : ndarray of shape (m,)
    greedy : ndarray of int, of shape (m,)
    size : float
        Takes O(m n_actions n_features) time, and memory for a block.
    """
    largest, greedy = np.full(len(candidates), -np.inf), np.zeros(len(candidates), dtype=np.intp)
    step, size = max(1, _BLOCK // len(candidates)), 0.0
    for start in range(0, len(features), step):
        predicted = candidates @ np.asarray(features[start : start + step], dtype=np.float64).T
        at = predicted.argmax(axis=1)
        values = predicted[np.arange(len(candidates)), at]
        better = values > largest
        largest[better], greedy[better] = values[better], at[better] + start
        size = max(size, float(np.abs(predicted).max()))
    return largest, greedy, size
