"""Search among finitely many candidate models: trust the most optimistic one until it is caught lying."""

import heapq
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.algorithms.base import BanditAlgorithm, Outcome
from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.algorithms.observations import Observations, repetitions, width_of_means
from sparsetheory.bandits.algorithms.session import Batches
from sparsetheory.bandits.certificates.candidate_gap import (
    CandidateGapCertificate,
    candidate_gap,
    optimistic_values,
    rounding_of,
)
from sparsetheory.bandits.errors import InconsistentOracleError
from sparsetheory.constraints import FRACTION, MISSING, NONNEGATIVE, POSITIVE, Array, Constraint
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["OptimisticElimination"]


class OptimisticElimination(BanditAlgorithm):
    r"""Query the best action of the most optimistic candidate, and drop candidates that the answer refutes.

    If a candidate is within `rho` of the true coefficients, the gap is at most :math:`2 (\varepsilon + L \rho)` for
    rows of norm L, after at most as many queries as there are candidates.

    Parameters
    ----------
    candidates : array-like of shape (n_candidates, n_features)
        Coefficients, for example all of a net of sparse ones.
    eps : float
        Misspecification: how far rewards are from a linear function, at most.
    rho : float
        Euclidean distance of the true coefficients to a candidate, at most.
    noise_std : float
        Standard deviation of the noise, which is subgaussian; actions are queried repeatedly if there is any.
    delta : float
        Probability with which noise may spoil the guarantee.
    width : float, optional
        How far a mean may be from the truth; `eps` by default.
    reward_range : float, optional
        Known difference of the largest and the smallest reward; for `vacuous_`. That of the observed ones by default.

    Attributes
    ----------
    alive_ : ndarray of int
        Candidates that the answers allow.

    Notes
    -----
    Ours. Takes O(m n_actions d) time for m candidates with d features, and O(m d) for each query after that.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import LinearBanditProblem, OptimisticElimination
    >>> features = np.random.default_rng(0).uniform(-1, 1, (500, 6))
    >>> problem = LinearBanditProblem(features, rewards=features[:, 2])
    >>> search = OptimisticElimination(np.vstack([np.eye(6), -np.eye(6)]), eps=0.0).fit(problem)
    >>> problem.gap(search.action_), search.alive_.tolist()
    (0.0, [2])
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "candidates": Array(),
        "eps": NONNEGATIVE,
        "rho": NONNEGATIVE,
        "noise_std": NONNEGATIVE,
        "delta": FRACTION,
        "width": MISSING | POSITIVE,
        "reward_range": MISSING | POSITIVE,
    }

    def __init__(
        self,
        candidates: ArrayLike,
        *,
        eps: float,
        rho: float = 0.0,
        noise_std: float = 0.0,
        delta: float = 0.05,
        width: float | None = None,
        reward_range: float | None = None,
    ) -> None:
        self.candidates = candidates
        self.eps = eps
        self.rho = rho
        self.noise_std = noise_std
        self.delta = delta
        self.width = width
        self.reward_range = reward_range

    def _batches(self) -> Batches:
        features, width = self._features, self._width()
        candidates = self._checked_candidates()
        observations = Observations(len(features), self._repeat())
        largest, greedy = optimistic_values(candidates, features)
        allowed = self._allowed() + rounding_of(candidates, features)
        order = [(-value, which) for which, value in enumerate(largest.tolist())]
        heapq.heapify(order)
        alive = np.ones(len(candidates), dtype=bool)
        while order:
            value, which = order[0]
            if not alive[which]:
                heapq.heappop(order)
                continue
            action = greedy[which]
            answer = yield from observations.answers(np.array([action]))
            wrong = np.abs(candidates @ features[action].astype(np.float64) - answer[0]) > allowed
            alive &= ~wrong
            if not alive.any():
                break
            if alive[which] or -value - answer[0] <= allowed[which]:
                attributes = {"alive_": np.flatnonzero(alive), "width_": width}
                return Outcome(int(action), 2 * float(allowed[alive].max()), attributes)
        raise self._refuted(observations, candidates)

    def _allowed(self) -> float:
        """Return how far an answer may be from the prediction of the best candidate."""
        longest = np.sqrt(np.einsum("ij,ij->i", self._features, self._features, dtype=np.float64).max())
        # Rewards of the size of their error round as well.
        return float(self.eps + self._width() + longest * self.rho) * (1 + 4 * float(np.finfo(np.float64).eps))

    def _width(self) -> float:
        return width_of_means(self.noise_std, self.eps, self.width)

    def _repeat(self) -> int:
        return repetitions(self.noise_std, self.delta, len(self._features), self._width())

    def _checked_candidates(self) -> Float64Array:
        candidates = np.asarray(self.candidates, dtype=np.float64)
        if candidates.ndim != 2 or candidates.shape[1] != self._features.shape[1] or not len(candidates):
            raise ValueError(
                f"candidates must have a row and {self._features.shape[1]} columns; got shape {candidates.shape}"
            )
        if not np.isfinite(candidates).all():
            row = int(np.argmin(np.isfinite(candidates).all(axis=1)))
            raise ValueError(f"candidates must be finite; got NaN or infinity in row {row}")
        return candidates

    def _refuted(self, observations: Observations, candidates: Float64Array) -> InconsistentOracleError:
        rows = np.asarray(self._features[observations.queried], dtype=np.float64)
        errors = np.abs(candidates @ rows.T - observations.observed).max(axis=1)
        lower = float(errors.min()) - (self._allowed() - self.eps)
        return InconsistentOracleError(
            f"rewards must be within eps = {self.eps:g} of a linear function near a candidate; got rewards that prove "
            f"a misspecification of at least {lower:.6g}",
            lower,
        )

    def _settled(self, means: MeanRewards) -> BoolArray:
        return means.counts >= self._repeat()

    def _certificate(self, action: int, means: MeanRewards, outcome: Outcome | None) -> CandidateGapCertificate:
        complete = self._settled(means)
        return candidate_gap(
            self._features, self._checked_candidates(), means.actions[complete], means.rewards[complete], action,
            eps=self.eps, width=self._width(), rho=self.rho,
        )  # fmt: skip
