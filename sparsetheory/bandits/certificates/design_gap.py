"""Evidence about the gap of an action, from least squares on a design; nothing has to be sparse.

With K actions and N queries in all, noise moves their mean by noise_std sqrt(2 log(2 K / delta) / N): more than that,
in units of the norms of whitened rows, happens somewhere with a probability of at most delta.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.certificates.gap import GapCertificate
from sparsetheory.bandits.certificates.intervals import design_intervals, intervals_by_pinv, outside_norms
from sparsetheory.bandits.design.leverages import BLOCK
from sparsetheory.bandits.design.weights import Design
from sparsetheory.certificates import Status
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["DesignGapCertificate", "design_gap"]

# Bounds by two routes agree to this share of the largest reward.
_AGREE = 1e-6


@dataclass(frozen=True, eq=False)
class DesignGapCertificate(GapCertificate):
    """How much less an action earns than the best one, at most, if rewards are nearly linear.

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
        Their mean rewards.
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
        Orthonormal basis of the directions that the design has kept.
    """

    queried: IndexArray = field(kw_only=True)
    observed: Float64Array = field(kw_only=True)
    weights: Float64Array = field(kw_only=True)
    n_queries: int = field(kw_only=True)
    eps: float = field(kw_only=True)
    noise_std: float = field(kw_only=True)
    delta: float = field(kw_only=True)
    norm_bound: float = field(kw_only=True)
    basis: Float64Array = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "noise_std", "delta", "norm_bound", "n_queries")

    def check(self, *fitted_on: Any, **options: Any) -> "DesignGapCertificate":
        """Bound the gap once more, by the pseudo-inverse of the weighted rows.

        Parameters
        ----------
        *fitted_on : LinearBanditProblem
            What `fit` took.
        **options
            Not used.

        Returns
        -------
        DesignGapCertificate
            Takes O(n_actions n d) time for n queried actions.
        """
        (problem,) = fitted_on
        features = np.asarray(problem.features, dtype=np.float64)
        tolerance = _AGREE * (float(np.abs(self.observed).max(initial=0.0)) + self.eps)
        found = 0.0 if len(features) == 1 else self._found(features)
        return self.judged(problem, found, tolerance)

    def _found(self, features: Float64Array) -> float:
        outside = float(outside_norms(features, self.basis).max())
        outside = outside if outside > 1e-12 * np.abs(features).max() else 0.0
        noise = self.noise_std * np.sqrt(2 * np.log(2 * len(features) / self.delta) / self.n_queries)
        predicted, error = intervals_by_pinv(
            features, self.queried, self.observed, self.weights, self.basis, self.eps + outside * self.norm_bound, noise
        )
        return float((predicted + error).max() - (predicted - error)[self.action])


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
        n_queries=n_queries, basis=np.linalg.qr(design.whitening)[0], **terms,
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
    largest = -np.inf
    for start in range(0, len(features), BLOCK):
        values, errors = design_intervals(features, features[start : start + BLOCK], design, observed, eps, noise)
        largest = max(largest, float((values + errors).max()))
    value, error = design_intervals(features, features[action : action + 1], design, observed, eps, noise)
    return largest - float(value[0] - error[0])
