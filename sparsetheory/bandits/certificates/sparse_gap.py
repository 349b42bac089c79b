"""Evidence about the gap of an action, from all sparse models that the answers allow."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bandits.certificates.gap import ObservedGapCertificate
from sparsetheory.bandits.certificates.programs import exceeded
from sparsetheory.bandits.certificates.upper_bounds import upper_bounds
from sparsetheory.bandits.supports.basis import support_basis
from sparsetheory.bandits.supports.consistency import consistent_supports
from sparsetheory.bandits.supports.enumeration import all_supports
from sparsetheory.certificates import Status
from sparsetheory.progress import tracked
from sparsetheory.typing import AnyArray, BoolArray, Float64Array, IndexArray

__all__ = ["SparseGapCertificate", "sparse_gap"]

# More numbers than this, over all supports that are consistent, are not looked at.
_PATIENCE = 4_000_000_000


@dataclass(frozen=True, eq=False)
class SparseGapCertificate(ObservedGapCertificate):
    """How much less an action earns than the best one, at most, if rewards are nearly sparse and linear.

    The second route looks at all supports, by singular values of their raw features and linear programs. For m supports
    and n answers it takes O(m (n_actions s + n s^2)) time, and that of a few linear programs for each support on which
    a first look does not suffice.

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
    """

    eps: float = field(kw_only=True)
    width: float = field(kw_only=True)
    n_nonzero: int = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "width", "n_nonzero")

    @property
    def noise(self) -> float:
        """How far observed rewards may be from mean rewards."""
        return self.width

    def _found(self, features: AnyArray) -> float:
        lower = self.value - self.width
        if not np.isfinite(lower):
            return np.inf
        largest = self._largest(np.asarray(features, dtype=np.float64), self.bound + lower)
        return max(float(self.observed.max(initial=-np.inf)) + self.width, largest) - lower

    def _largest(self, features: Float64Array, limit: float) -> float:
        """Return a bound of all rewards that are not known; sharp only if it is above a limit.

        Infinite if no support is consistent with the answers: then something that was assumed is wrong.
        """
        unknown = np.ones(len(features), dtype=bool)
        unknown[self.queried] = False
        supports = all_supports(features.shape[1], self.n_nonzero)
        blocks = (features[:, support] for support in supports)
        found = [self._largest_on(block, unknown, limit) for block in blocks]
        return max((value for value in found if value is not None), default=np.inf)

    def _largest_on(self, block: Float64Array, unknown: BoolArray, limit: float) -> float | None:
        sizes = np.linalg.norm(block, axis=0)
        block = block / np.where(sizes > 0, sizes, 1.0)
        n, size = len(self.queried), float(np.abs(self.observed).max(initial=0.0))
        block, spread = _orthonormal(block)
        left, singular, right = np.linalg.svd(block[self.queried], full_matrices=False)
        kept = singular > 1e-12 * singular.max(initial=0.0)
        left, singular, right = left[:, kept], singular[kept], right[kept]
        fitted = left.T @ self.observed
        spread += singular[0] / singular[-1] if kept.any() else 1.0
        error = self.eps + self.width + 8 * np.finfo(np.float64).eps * spread * size
        residual = self.observed - left @ fitted
        if np.linalg.norm(residual) > np.sqrt(n) * error:
            return None
        others = block[unknown]
        white = others @ (right.T / singular)
        middle = white @ fitted
        upper = middle + error * (np.sqrt(n) * np.linalg.norm(white, axis=1) + 1)
        outside = np.linalg.norm(others - (others @ right.T) @ right, axis=1)
        upper[outside > 1e-7 * np.linalg.norm(block, axis=1).max()] = np.inf
        above = np.flatnonzero(upper > limit)
        largest = float(upper.max(initial=-np.inf))
        if not above.size or not np.isfinite(largest) or not error > 0:
            return largest
        # In units of the error, and of the ball in which all coefficients lie.
        unit = error * np.sqrt(n)
        limit = limit + self._tolerance(block) / 2
        room = (limit - error - middle[above]) / unit
        excess = exceeded(np.sqrt(n) * left, residual / error, white[above], room)
        return None if excess == -np.inf else limit + unit * excess


def _orthonormal(block: Float64Array) -> tuple[Float64Array, float]:
    """Return an orthonormal basis of columns, without directions that are rounding, and their condition number."""
    left, singular, _ = np.linalg.svd(block, full_matrices=False)
    kept = singular > 1e-13 * singular.max(initial=0.0)
    return left[:, kept], float(singular[0] / singular[kept][-1]) if kept.any() else 1.0


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
    verbose: bool = False,
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
        Most supports that may be listed.
    verbose : bool
        Whether a progress bar is shown.

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
        bound, reason = _bound(features, queried, observed, action, eps, width, n_nonzero, max_supports, verbose)
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
    verbose: bool,
) -> tuple[float, str]:
    alive = consistent_supports(features[queried], observed, n_nonzero, eps + width, max_supports)
    if len(alive) * len(features) * n_nonzero > _PATIENCE:
        return np.inf, f"{len(alive)} supports are consistent with the answers, too many to bound rewards on each"
    unknown = np.ones(len(features), dtype=bool)
    unknown[queried] = False
    largest, refuted = float(observed.max()) + width, True
    columns = np.ascontiguousarray(features.T)
    for support in tracked(alive, "certificate", verbose):
        if largest == np.inf:
            break
        bounds = upper_bounds(support_basis(columns, support), queried, observed, eps + width, largest)
        if not bounds.refuted:
            refuted = False
            largest = max(largest, float(bounds.values[unknown].max(initial=-np.inf)))
    if refuted:
        return np.inf, "no support is consistent with the answers"
    value = float(observed[np.flatnonzero(queried == action)[0]]) - width
    return largest - value, "" if largest < np.inf else "the answers bound the rewards on no consistent support"
