"""Evidence about the gap of an action, from ridge regression on plays that were chosen in any way."""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from scipy.linalg import solve_triangular

from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.certificates.gap import AGREE, GapCertificate
from sparsetheory.bandits.design.leverages import BLOCK
from sparsetheory.bandits.regression.ellipsoid import radius_of, ridge
from sparsetheory.certificates import Status
from sparsetheory.typing import AnyArray

__all__ = ["EllipsoidGapCertificate", "ellipsoid_gap"]


@dataclass(frozen=True, eq=False)
class EllipsoidGapCertificate(GapCertificate):
    """How much less an action earns than the best one, at most, if rewards are nearly linear.

    The second route is a singular value decomposition of the rows with those of the penalty; it takes
    O((n_actions + n) d^2) time for n different actions.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`Certificate`; `bound` is the largest possible gap, and `measured` the gap where the true rewards
        are known, else the bound by the second route.
    action : int
        The action.
    means : MeanRewards
        Actions that were played, how often, and their mean rewards.
    eps : float
        Assumed misspecification.
    noise_std : float
        Standard deviation of the noise.
    delta : float
        Probability with which noise may spoil the guarantee, at any time.
    norm_bound : float
        Assumed bound of the Euclidean norm of the coefficients.
    regularization : float
        Strength of the ridge penalty.
    """

    means: MeanRewards = field(kw_only=True)
    eps: float = field(kw_only=True)
    noise_std: float = field(kw_only=True)
    delta: float = field(kw_only=True)
    norm_bound: float = field(kw_only=True)
    regularization: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "noise_std", "delta", "norm_bound", "regularization")

    def _tolerance(self, features: AnyArray) -> float:
        return AGREE * (1.0 + abs(self.bound))

    def _found(self, features: AnyArray) -> float:
        features = np.asarray(features, dtype=np.float64)
        roots, d = np.sqrt(self.means.counts), features.shape[1]
        rows = np.vstack([roots[:, None] * features[self.means.actions], math.sqrt(self.regularization) * np.eye(d)])
        left, singular, right = np.linalg.svd(rows, full_matrices=False)
        white = (features - features[self.action]) @ (right.T / singular)
        answers = np.concatenate([roots * self.means.rewards, np.zeros(d)])
        radius = self._radius(float(2 * np.log(singular).sum() - d * math.log(self.regularization)))
        return float((white @ (left.T @ answers) + radius * np.linalg.norm(white, axis=1)).max()) + 2 * self.eps

    def _radius(self, log_det: float) -> float:
        return radius_of(
            log_det, int(self.means.counts.sum()), eps=self.eps, noise_std=self.noise_std, delta=self.delta,
            norm_bound=self.norm_bound, regularization=self.regularization,
        )  # fmt: skip


def ellipsoid_gap(
    features: AnyArray,
    means: MeanRewards,
    action: int,
    *,
    eps: float | None,
    noise_std: float,
    delta: float,
    norm_bound: float,
    regularization: float,
) -> EllipsoidGapCertificate:
    """Return what plays prove of the gap of an action.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    means : MeanRewards
    action : int
    eps, noise_std, delta, norm_bound, regularization
        As in :class:`EllipsoidGapCertificate`; without eps nothing is proved.

    Returns
    -------
    EllipsoidGapCertificate
        Takes O((n_actions + n) d^2) time for n different actions.
    """
    blank = EllipsoidGapCertificate(
        "", 0.0, None, Status.VALID, action=action, means=means, eps=float(eps or 0.0), noise_std=float(noise_std),
        delta=float(delta), norm_bound=float(norm_bound), regularization=float(regularization),
    )  # fmt: skip
    if len(features) == 1:
        return blank.stated()
    if eps is None:
        reason = "eps is not known"
        return replace(blank, bound=math.inf, status=Status.NOT_APPLICABLE, reason=reason).stated()
    return replace(blank, bound=_bound(blank, features, means)).stated()


def _bound(terms: EllipsoidGapCertificate, features: AnyArray, means: MeanRewards) -> float:
    rows, d = np.asarray(features[means.actions], dtype=np.float64), features.shape[1]
    counts = means.counts.astype(np.float64)
    R, theta = ridge(rows, counts, counts * means.rewards, terms.regularization)
    radius = terms._radius(float(2 * np.log(np.abs(np.diagonal(R))).sum() - d * math.log(terms.regularization)))
    largest = 0.0
    for start in range(0, len(features), BLOCK):
        block = np.asarray(features[start : start + BLOCK], dtype=np.float64) - features[terms.action]
        white = solve_triangular(R, block.T, trans="T")
        upper = block @ theta + radius * np.sqrt(np.einsum("ij,ij->j", white, white))
        largest = max(largest, float(upper.max()))
    return largest + 2 * terms.eps
