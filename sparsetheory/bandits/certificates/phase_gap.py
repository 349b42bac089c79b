"""Evidence about the gap of an action, from the phases of an elimination; nothing has to be sparse.

The plays of a phase are fixed when it begins, so its noise is independent of them, and least squares on its plays alone
give an interval for every reward. All intervals of all phases hold at once, except with a small probability. An
action that a phase did not span has no interval from it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.certificates.gap import AGREE, GapCertificate
from sparsetheory.bandits.certificates.intervals import design_intervals, gap_of, intervals_by_pinv, left_out
from sparsetheory.bandits.design.leverages import BLOCK, column_scales
from sparsetheory.bandits.design.weights import Design
from sparsetheory.certificates import Status
from sparsetheory.typing import AnyArray, Float64Array, IndexArray, Int64Array

__all__ = ["Phase", "PhaseGapCertificate", "phase_gap"]


@dataclass(frozen=True, eq=False)
class Phase:
    """The plays of one phase.

    Parameters
    ----------
    actions : ndarray of int
        Actions, each once.
    counts : ndarray of int
        How often each was played.
    observed : ndarray of float
        Their mean rewards.
    whitening : ndarray of shape (n_features, rank)
        Turns features into coordinates in which the plays are orthonormal.
    dropped : bool
        Whether short directions of the features were dropped.
    """

    actions: IndexArray
    counts: Int64Array
    observed: Float64Array
    whitening: Float64Array
    dropped: bool

    def unseen(self, features: AnyArray, rows: AnyArray, norm_bound: float, sizes: Float64Array) -> Float64Array:
        """Return how much of the linear part of rewards the phase says nothing about.

        What rows have beyond the directions that were learned counts by its length where some were dropped. Where none
        were, such rows were not active any more, and nothing is known of them.
        """
        own = np.asarray(features[self.actions], dtype=np.float64)
        lengths = np.empty(len(rows))
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            rest = left_out(rows[part], own, self.whitening, self.counts / self.counts.sum(), sizes)
            lengths[part] = np.linalg.norm(rest, axis=1)
        return np.where(lengths > 0, lengths * norm_bound if self.dropped else np.inf, 0.0)


@dataclass(frozen=True, eq=False)
class PhaseGapCertificate(GapCertificate):
    """How much less an action earns than the best one, at most, if rewards are nearly linear.

    The second route is the pseudo-inverse of the weighted rows of every phase; it takes O(n_actions n d) time for a
    phase with n different actions.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`Certificate`; `bound` is the largest possible gap, and `measured` the gap where the true rewards
        are known, else the bound by the second route.
    action : int
        The action.
    phases : tuple of Phase
        What complete phases saw.
    eps : float
        Assumed misspecification.
    noise_std : float
        Standard deviation of the noise.
    alpha : float
        Probability with which one estimate leaves its interval on one side.
    delta : float
        Probability with which any one does.
    norm_bound : float
        Assumed bound of the Euclidean norm of the coefficients; it counts where a phase dropped a direction.
    """

    phases: tuple[Phase, ...] = field(kw_only=True)
    eps: float = field(kw_only=True)
    noise_std: float = field(kw_only=True)
    alpha: float = field(kw_only=True)
    delta: float = field(kw_only=True)
    norm_bound: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "noise_std", "alpha", "delta", "norm_bound")

    def _second_route(self, features: AnyArray) -> tuple[float, str]:
        wrong = 2 * len(features) * len(self.phases) * self.alpha > self.delta * (1 + 1e-9) and self.noise_std
        return self._found(features), "noise spoils the intervals with a larger probability" if wrong else ""

    def _tolerance(self, features: AnyArray) -> float:
        largest = max((float(np.abs(phase.observed).max()) for phase in self.phases), default=0.0)
        return AGREE * (largest + self.eps)

    def _found(self, features: AnyArray) -> float:
        upper, lower = np.full(len(features), np.inf), -np.inf
        sizes = column_scales(features)
        for phase in self.phases:
            n_plays = phase.counts.sum()
            unseen = phase.unseen(features, features, self.norm_bound, sizes)
            scales = column_scales(features[phase.actions])
            basis = np.linalg.qr(phase.whitening * scales[:, None])[0]
            eps = self.eps + unseen[phase.actions].max()
            noise = _noise(self.noise_std, self.alpha, int(n_plays))
            predicted, error = intervals_by_pinv(
                features, phase.actions, phase.observed, phase.counts / n_plays, basis, eps, noise, scales
            )
            error += unseen
            upper = np.minimum(upper, predicted + error)
            lower = max(lower, float(predicted[self.action] - error[self.action]))
        return gap_of(upper, lower, self.action)


def phase_gap(
    features: AnyArray,
    phases: Sequence[tuple[Design, Int64Array, Float64Array]],
    action: int,
    *,
    eps: float | None,
    noise_std: float,
    alpha: float,
    most_phases: int,
    norm_bound: float,
) -> PhaseGapCertificate:
    """Return what complete phases prove of the gap of an action.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    phases : sequence of (Design, ndarray of int, ndarray of float)
        Of each phase the design, with its shares of the plays as weights, and for its actions the numbers of plays and
        the mean rewards.
    action : int
    eps, noise_std, alpha, norm_bound
        As in :class:`PhaseGapCertificate`; without eps nothing is proved.
    most_phases : int
        Number of phases that there may be at the end, so that what is proved at any time holds at all times.

    Returns
    -------
    PhaseGapCertificate
        Takes O(n_actions n d) time for every phase with n different actions, in blocks of rows.
    """
    n = len(features)
    delta = min(1.0, 2 * n * most_phases * alpha) if noise_std else 0.0
    bound, reason = 0.0, ""
    if n > 1:
        bound, reason = np.inf, _nothing(eps, delta, len(phases))
        if not reason:
            bound = _bound(features, phases, action, float(eps or 0.0), noise_std, alpha, norm_bound)
            reason = "" if bound < np.inf else "no phase has learned about all actions"
    terms = {"noise_std": noise_std, "alpha": alpha, "delta": delta, "norm_bound": norm_bound}
    kept = (
        Phase(design.support, counts, observed, design.whitening, design.rho_drop > 0)
        for design, counts, observed in phases
    )
    return PhaseGapCertificate(
        "", bound, None, Status.VALID if bound < np.inf else Status.NOT_APPLICABLE, reason=reason, action=action,
        phases=tuple(kept), eps=float(eps or 0.0), **terms,
    ).stated()  # fmt: skip


def _nothing(eps: float | None, delta: float, n_phases: int) -> str:
    """Return why nothing is proved, if so."""
    if eps is None:
        return "eps is not known"
    if n_phases == 0:
        return "no phase is complete"
    return "noise may spoil the intervals with probability 1" if delta >= 1 else ""


def _bound(
    features: AnyArray,
    phases: Iterable[tuple[Design, Int64Array, Float64Array]],
    action: int,
    eps: float,
    noise_std: float,
    alpha: float,
    norm_bound: float,
) -> float:
    upper, lower, sizes = np.full(len(features), np.inf), -np.inf, column_scales(features)
    for design, counts, observed in phases:
        seen = Phase(design.support, counts, observed, design.whitening, design.rho_drop > 0)
        unseen = float(seen.unseen(features, features[design.support], norm_bound, sizes).max())
        noise = _noise(noise_std, alpha, int(counts.sum()))
        for start in range(0, len(features), BLOCK):
            rows = features[start : start + BLOCK]
            predicted, error = design_intervals(features, rows, design, observed, eps + unseen, noise)
            error += seen.unseen(features, rows, norm_bound, sizes)
            at = slice(start, start + len(rows))
            upper[at] = np.minimum(upper[at], predicted + error)
            if start <= action < start + len(rows):
                lower = max(lower, float(predicted[action - start] - error[action - start]))
    return gap_of(upper, lower, action)


def _noise(noise_std: float, alpha: float, n_plays: int) -> float:
    return float(noise_std * np.sqrt(2 * np.log(1 / alpha) / n_plays))
