"""Evidence about the gap of an action, from all sparse models that the answers allow."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bandits.certificates.upper_bounds import upper_bounds
from sparsetheory.bandits.environments.problem import LinearBanditProblem
from sparsetheory.bandits.supports.basis import support_basis
from sparsetheory.bandits.supports.consistency import consistent_supports
from sparsetheory.bandits.supports.enumeration import all_supports
from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["SparseGapCertificate", "sparse_gap"]

# More numbers than this, over all supports that are consistent, are not looked at.
_PATIENCE = 4_000_000_000

# Bounds by two routes agree to this share of the largest reward; both add an allowance for rounding that is smaller.
_AGREE = 1e-6


@dataclass(frozen=True, eq=False)
class SparseGapCertificate(Certificate):
    """How much less an action earns than the best one, at most, if rewards are nearly sparse and linear.

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
    """

    action: int = field(kw_only=True)
    queried: IndexArray = field(kw_only=True)
    observed: Float64Array = field(kw_only=True)
    eps: float = field(kw_only=True)
    width: float = field(kw_only=True)
    n_nonzero: int = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "width", "n_nonzero")

    def promise(self) -> str:
        """Return the guarantee in words."""
        return f"action {self.action} earns at most {self.bound:.9g} less than the best one"

    def check(self, *fitted_on: Any, **options: Any) -> "SparseGapCertificate":
        """Bound the gap once more: all supports, by the pseudo-inverse of their raw features.

        Parameters
        ----------
        *fitted_on : LinearBanditProblem
            What `fit` took.
        **options
            Not used.

        Returns
        -------
        SparseGapCertificate
            Takes O(m (n_actions s + n s^2)) time for m supports.
        """
        (problem,) = fitted_on
        features = np.asarray(problem.features, dtype=np.float64)
        found = self._largest(features) - (self._value() - self.width)
        tolerance = _AGREE * (np.abs(self.observed).max(initial=0.0) + self.eps)
        holds = found <= self.bound + tolerance or len(features) == 1
        reason = "" if holds else f"other code bounds the gap by {found:.9g} only"
        measured = found
        if isinstance(problem, LinearBanditProblem) and problem.rewards is not None:
            measured = problem.gap(self.action)
            if measured > self.bound + tolerance:
                holds, reason = False, "the gap is larger"
        checked = replace(self, measured=measured, status=Status.of(holds), reason=reason)
        return checked.unless_misstated()

    def _value(self) -> float:
        at = np.flatnonzero(self.queried == self.action)
        return float(self.observed[at[0]]) if at.size else -np.inf

    def _largest(self, features: Float64Array) -> float:
        unknown = np.ones(len(features), dtype=bool)
        unknown[self.queried] = False
        eps, n = self.eps + self.width, len(self.queried)
        largest = float(self.observed.max(initial=-np.inf)) + self.width
        for support in all_supports(features.shape[1], self.n_nonzero):
            sizes = np.linalg.norm(features[:, support], axis=0)
            block = features[:, support] / np.where(sizes > 0, sizes, 1.0)
            rows = block[self.queried]
            left, singular, right = np.linalg.svd(rows, full_matrices=False)
            kept = singular > 1e-12 * singular.max(initial=0.0)
            left, singular, right = left[:, kept], singular[kept], right[kept]
            fitted = left.T @ self.observed
            spread = _spread(block) + (singular[0] / singular[-1] if kept.any() else 1.0)
            error = eps + 64 * np.finfo(np.float64).eps * spread * np.abs(self.observed).max(initial=0.0)
            if np.linalg.norm(self.observed - left @ fitted) > np.sqrt(n) * error:
                continue
            others = block[unknown]
            white = others @ (right.T / singular)
            upper = white @ fitted + error * (np.sqrt(n) * np.linalg.norm(white, axis=1) + 1)
            outside = np.linalg.norm(others - (others @ right.T) @ right, axis=1)
            upper[outside > 1e-7 * np.linalg.norm(block, axis=1).max()] = np.inf
            largest = max(largest, float(upper.max(initial=-np.inf)))
        return largest


def _spread(block: Float64Array) -> float:
    """Return the condition number of columns, of those that are not combinations of the others."""
    singular = np.linalg.svd(block, compute_uv=False)
    kept = singular[singular > 1e-13 * singular.max(initial=0.0)]
    return float(kept[0] / kept[-1]) if kept.size else 1.0


def sparse_gap(
    features: AnyArray,
    queried: IndexArray,
    observed: Float64Array,
    action: int,
    *,
    eps: float,
    width: float,
    n_nonzero: int,
    max_supports: int,
) -> SparseGapCertificate:
    """Return what answers prove of the gap of an action.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    queried : ndarray of int
    observed : ndarray of float
    action : int
    eps, width, n_nonzero
        As in :class:`SparseGapCertificate`.
    max_supports : int

    Returns
    -------
    SparseGapCertificate
        Of an infinite bound if the answers prove nothing, or too many supports are consistent with them.
    """
    if len(features) == 1:
        bound, reason = 0.0, ""
    elif action not in queried:
        bound, reason = np.inf, "the action was not queried"
    else:
        bound, reason = _bound(features, queried, observed, action, eps, width, n_nonzero, max_supports)
    status = Status.VALID if np.isfinite(bound) else Status.NOT_APPLICABLE
    terms: dict[str, Any] = {"eps": eps, "width": width, "n_nonzero": n_nonzero}
    return SparseGapCertificate(
        "", bound, None, status, reason=reason, action=action, queried=queried, observed=observed, **terms
    ).stated()


def _bound(
    features: AnyArray,
    queried: IndexArray,
    observed: Float64Array,
    action: int,
    eps: float,
    width: float,
    n_nonzero: int,
    max_supports: int,
) -> tuple[float, str]:
    alive = consistent_supports(features[queried], observed, n_nonzero, eps + width, max_supports)
    if len(alive) * len(features) * n_nonzero > _PATIENCE:
        return np.inf, f"{len(alive)} supports are consistent with the answers, too many to bound rewards on each"
    unknown = np.ones(len(features), dtype=bool)
    unknown[queried] = False
    largest, refuted = float(observed.max()) + width, True
    columns = np.ascontiguousarray(features.T)
    for support in alive:
        bounds = upper_bounds(support_basis(columns, support), queried, observed, eps + width)
        if not bounds.refuted:
            refuted = False
            largest = max(largest, float(bounds.values[unknown].max(initial=-np.inf)))
    if refuted:
        return np.inf, "no support is consistent with the answers"
    value = float(observed[np.flatnonzero(queried == action)[0]]) - width
    return largest - value, "" if largest < np.inf else "the answers bound the rewards on no consistent support"
