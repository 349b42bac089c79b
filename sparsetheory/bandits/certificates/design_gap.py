"""Evidence about the gap of an action, from least squares on a design; nothing has to be sparse.

With K actions and N queries in all, noise moves their mean by noise_std sqrt(2 log(2 K / delta) / N): more than that,
in units of the norms of whitened rows, happens somewhere with a probability of at most delta.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.certificates.gap import ObservedGapCertificate
from sparsetheory.bandits.certificates.intervals import design_intervals, gap_of, intervals_by_pinv
from sparsetheory.bandits.design.leverages import BLOCK, column_scales
from sparsetheory.bandits.design.weights import Design
from sparsetheory.certificates import Status
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["DesignGapCertificate", "design_gap"]


@dataclass(frozen=True, eq=False)
class DesignGapCertificate(ObservedGapCertificate):
    """How much less an action earns than the best one, at most, if rewards are nearly linear.

    The second route is the pseudo-inverse of the weighted rows; it takes O(n_actions n d) time for n queried actions.

    Parameters
    ----------
    statement, bound, measured, status, reason, action, queried, observed
        As in :class:`ObservedGapCertificate`.
    weights : ndarray of float
        Their weights in least squares.
    n_queries : int
        Number of queries.
    eps : float
        Assumed misspecification.
    noise_std : float
        Standard deviation of the noise.
    delta : float
        Probability with which noise may spoil the guarantee.
    norm_bound : float
        Assumed bound of the Euclidean norm of the coefficients.
    basis : ndarray of shape (n_features, rank)
        Orthonormal basis of the directions that the design has kept, of features over the largest of each column.
    """

    weights: Float64Array = field(kw_only=True)
    n_queries: int = field(kw_only=True)
    eps: float = field(kw_only=True)
    noise_std: float = field(kw_only=True)
    delta: float = field(kw_only=True)
    norm_bound: float = field(kw_only=True)
    basis: Float64Array = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "noise_std", "delta", "norm_bound", "n_queries")

    @property
    def noise(self) -> float:
        """How far observed rewards may be from mean rewards."""
        return np.inf if self.noise_std else 0.0

    def _found(self, features: AnyArray) -> float:
        sizes = column_scales(features)
        outside = 0.0
        for start in range(0, len(features), BLOCK):
            scaled = np.asarray(features[start : start + BLOCK], dtype=np.float64) / sizes
            rest = scaled - (scaled @ self.basis) @ self.basis.T
            rest[np.abs(rest) <= 1e-12] = 0.0  # rounding, before a unit can make it large
            outside = max(outside, float(np.linalg.norm(rest * sizes, axis=1).max()))
        noise = self.noise_std * np.sqrt(2 * np.log(2 * len(features) / self.delta) / self.n_queries)
        predicted, error = intervals_by_pinv(
            features, self.queried, self.observed, self.weights, self.basis, self.eps + outside * self.norm_bound,
            noise, sizes,
        )  # fmt: skip
        return gap_of(predicted + error, float((predicted - error)[self.action]), self.action)


def design_gap(
    features: AnyArray,
    design: Design | None,
    means: MeanRewards,
    action: int,
    *,
    eps: float,
    noise_std: float,
    delta: float,
    norm_bound: float,
) -> DesignGapCertificate:
    """Return what the answers of a design prove of the gap of an action.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    design : Design or None
        With the weights of least squares; None as long as not all of its actions are known.
    means : MeanRewards
    action : int
    eps, noise_std, delta, norm_bound
        As in :class:`DesignGapCertificate`.

    Returns
    -------
    DesignGapCertificate
        Takes O(n_actions n d) time for n queried actions, in blocks of rows.
    """
    terms: dict[str, Any] = {"eps": eps, "noise_std": noise_std, "delta": delta, "norm_bound": norm_bound}
    n_queries = int(means.counts.sum())
    if design is None:
        known = len(features) == 1
        return DesignGapCertificate(
            "", 0.0 if known else np.inf, None, Status.VALID if known else Status.NOT_APPLICABLE,
            reason="" if known else "not all actions of the design are known", action=action, queried=means.actions,
            observed=means.rewards, weights=np.ones(len(means.actions)), n_queries=n_queries,
            basis=np.eye(features.shape[1]), **terms,
        ).stated()  # fmt: skip
    place = {int(a): i for i, a in enumerate(means.actions)}
    observed = means.rewards[[place[int(a)] for a in design.support]]
    bound = _bound(features, design, observed, action, eps + design.rho_drop * norm_bound, noise_std, delta, n_queries)
    return DesignGapCertificate(
        "", bound, None, Status.VALID, action=action, queried=design.support, observed=observed, weights=design.weights,
        n_queries=n_queries, basis=np.linalg.qr(design.whitening * column_scales(features)[:, None])[0], **terms,
    ).stated()  # fmt: skip


def _bound(
    features: AnyArray,
    design: Design,
    observed: Float64Array,
    action: int,
    eps: float,
    noise_std: float,
    delta: float,
    n_queries: int,
) -> float:
    noise = noise_std * np.sqrt(2 * np.log(2 * len(features) / delta) / n_queries)
    upper, lower = np.empty(len(features)), -np.inf
    for start in range(0, len(features), BLOCK):
        part = slice(start, start + BLOCK)
        values, errors = design_intervals(features, features[part], design, observed, eps, noise)
        upper[part] = values + errors
        if start <= action < start + BLOCK:
            lower = float(values[action - start] - errors[action - start])
    return gap_of(upper, lower, action)
