"""Evidence about the gap of an action, from all candidate models that the answers allow."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.certificates.gap import ObservedGapCertificate
from sparsetheory.certificates import Status
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["CandidateGapCertificate", "candidate_gap", "optimistic_values", "rounding_of"]

# Rounding units that a term of a sum may lose.
_UNITS = 4
# An answer that is exactly as wrong as it may be rounds, too.
_EDGE = 1 + 4 * float(np.finfo(np.float64).eps)
# Numbers in a block of rows, and of predictions.
_BLOCK = 4_000_000


@dataclass(frozen=True, eq=False)
class CandidateGapCertificate(ObservedGapCertificate):
    """How much less an action earns than the best one, at most, if a candidate is near the truth.

    The second route looks at one action after another.

    Parameters
    ----------
    statement, bound, measured, status, reason, action, queried, observed
        As in :class:`ObservedGapCertificate`.
    eps : float
        Assumed misspecification.
    width : float
        How far a mean may be from the mean reward.
    rho : float
        Assumed distance of the true coefficients to a candidate.
    candidates : ndarray of shape (m, n_features)
        Coefficients.
    """

    eps: float = field(kw_only=True)
    width: float = field(kw_only=True)
    rho: float = field(kw_only=True)
    candidates: Float64Array = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "width", "rho")

    @property
    def noise(self) -> float:
        """How far observed rewards may be from mean rewards."""
        return self.width

    def _found(self, features: AnyArray) -> float:
        features = np.asarray(features, dtype=np.float64)
        error = self.eps + float(np.linalg.norm(features, axis=1).max()) * self.rho
        allowed = np.ones(len(self.candidates), dtype=bool)
        slack = rounding_of(self.candidates, features)
        for action, reward in zip(self.queried, self.observed, strict=True):
            predicted = np.einsum("ij,j->i", self.candidates, features[action])
            allowed &= np.abs(predicted - reward) <= (error + self.width) * _EDGE + slack
        ceiling = -np.inf if allowed.any() else np.inf
        for row in features:
            ceiling = max(ceiling, float(np.einsum("ij,j->i", self.candidates[allowed], row).max(initial=-np.inf)))
        return ceiling + error - (self.value - self.width)


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
        slack = rounding_of(candidates, features)
        alive = np.all(np.abs(predicted - observed) <= (error + width) * _EDGE + slack[:, None], axis=1)
        reason = "no candidate is consistent with the answers"
        if alive.any():
            value = float(observed[np.flatnonzero(queried == action)[0]])
            largest = float((optimistic_values(candidates[alive], features)[0] + slack[alive]).max())
            bound, reason = largest + error - (value - width), ""
    status = Status.VALID if np.isfinite(bound) else Status.NOT_APPLICABLE
    return CandidateGapCertificate(
        "", bound, None, status, reason=reason, action=action, queried=queried, observed=observed, eps=eps, width=width,
        rho=rho, candidates=candidates,
    ).stated()  # fmt: skip


def optimistic_values(candidates: Float64Array, features: AnyArray) -> tuple[Float64Array, IndexArray]:
    """Return the largest prediction of every candidate, and the action that has it.

    Parameters
    ----------
    candidates : ndarray of shape (m, n_features)
    features : ndarray of shape (n_actions, n_features)

    Returns
    -------
    largest : ndarray of shape (m,)
    greedy : ndarray of int, of shape (m,)
        Takes O(m n_actions n_features) time, and memory for a block.
    """
    largest, greedy = np.full(len(candidates), -np.inf), np.zeros(len(candidates), dtype=np.intp)
    step = max(1, _BLOCK // max(candidates.shape))
    for start in range(0, len(features), step):
        predicted = candidates @ np.asarray(features[start : start + step], dtype=np.float64).T
        at = predicted.argmax(axis=1)
        values = predicted[np.arange(len(candidates)), at]
        better = values > largest
        largest[better], greedy[better] = values[better], at[better] + start
    return largest, greedy


def rounding_of(candidates: Float64Array, features: AnyArray) -> Float64Array:
    """Return by how much predictions of each candidate round, at most; much if large coefficients cancel."""
    longest = np.sqrt(np.einsum("ij,ij->i", features, features, dtype=np.float64).max())
    units = _UNITS * (features.shape[1] + 1) * np.finfo(np.float64).eps
    return np.asarray(units * longest * np.linalg.norm(candidates, axis=1))
