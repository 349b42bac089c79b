"""Elimination in phases of doubling length."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.base import Outcome
from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.algorithms.observations import block_means
from sparsetheory.bandits.algorithms.session import Batch, Batches
from sparsetheory.bandits.certificates.intervals import left_out
from sparsetheory.bandits.certificates.phase_gap import PhaseGapCertificate, phase_gap
from sparsetheory.bandits.design.amplification import least_squares, ls_amplification, reweighted
from sparsetheory.bandits.design.leverages import BLOCK, column_scales
from sparsetheory.bandits.design.optimal import core_set_bound, g_optimal_design
from sparsetheory.bandits.design.weights import Design
from sparsetheory.bandits.regression.predictions import predictions
from sparsetheory.bandits.strategies.horizon import HorizonStrategy
from sparsetheory.bandits.strategies.phases import EliminationPhase, lost_afterwards, lost_in_plays
from sparsetheory.constraints import COUNT, FRACTION, MISSING, NONNEGATIVE, POSITIVE, Constraint, Real
from sparsetheory.typing import AnyArray, Float64Array, IndexArray, Int64Array

__all__ = ["PhasedElimination"]


class PhasedElimination(HorizonStrategy):
    r"""Play designs on the actions that are left, in phases of doubling length, and drop what is clearly worse.

    Nothing has to be sparse. Over n plays of K actions with d features the regret is of order
    :math:`\sqrt{d n \log(n K)} + \varepsilon n \sqrt{d} \log n`; the rule does not know `eps`.

    Parameters
    ----------
    horizon : int
        Number n of plays.
    noise_std : float
        Standard deviation of the noise, which is subgaussian.
    alpha : float, optional
        Probability of an error of one estimate on one side; 1 / (K n) by default.
    target_mult : float
        Largest leverage of the designs, as a multiple of their rank.
    eps : float, optional
        Misspecification, for bounds and certificates alone. That of the problem by default.
    norm_bound : float
        Bound of the Euclidean norm of the coefficients. It counts only where a design drops a direction of the
        features.
    reward_range : float, optional
        Known difference of the largest and the smallest mean reward, for `regret_bound_`; that of the problem by
        default, where it is known.

    Attributes
    ----------
    phases_ : tuple of EliminationPhase
        What each phase was like.
    active_ : ndarray of int
        Actions that are left.
    theta_ : ndarray of shape (n_features,)
        Coefficients from the last complete phase; zeros before there is one.

    See Also
    --------
    CoreSetBandit : One phase, for whoever is not paid on the way.

    Notes
    -----
    Lattimore, Szepesvari and Weisz (ICML 2020, arXiv:1911.07676) for the rule and the order; constants are ours. A
    phase of rank r with m planned plays plays action a of its design ``ceil(m p_a)`` times, and estimates from these
    plays alone: what is proved of a design needs that. Its width w is
    :math:`\sigma \sqrt{2 \log(1 / \alpha)}` times the largest norm of an active action in the inverse of its Gram
    matrix, at most :math:`2 \sigma \sqrt{r \log(1 / \alpha) / m}` with `target_mult` 2. Actions stay that are predicted
    within 2 w of the best. The first phase plans ``core_set_bound(r)`` plays, and each later one twice as many.

    `bound_` and `regret_bound_` use the amplifications and widths that the phases had in fact. Noise spoils them with
    probability at most :math:`2 K P \alpha` for P phases. A phase takes O(K d^2) time for K active actions, whatever
    the number of its plays.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import LinearBanditProblem, PhasedElimination
    >>> features = np.random.default_rng(0).standard_normal((200, 5))
    >>> features /= np.linalg.norm(features, axis=1, keepdims=True)
    >>> problem = LinearBanditProblem(features, rewards=features[:, 0], noise_std=1.0, random_state=0)
    >>> strategy = PhasedElimination(100_000).fit(problem)
    >>> strategy.n_queries_, bool(strategy.regret_curve_[-1] < strategy.regret_bound_ < 100_000)
    (100000, True)
    >>> [phase.n_active for phase in strategy.phases_][::4]
    [200, 200, 28]
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "horizon": COUNT,
        "noise_std": NONNEGATIVE,
        "alpha": MISSING | FRACTION,
        "target_mult": Real(1.0),
        "eps": MISSING | NONNEGATIVE,
        "norm_bound": POSITIVE,
        "reward_range": MISSING | POSITIVE,
    }

    def __init__(
        self,
        horizon: int,
        *,
        noise_std: float = 1.0,
        alpha: float | None = None,
        target_mult: float = 2.0,
        eps: float | None = None,
        norm_bound: float = 1.0,
        reward_range: float | None = None,
    ) -> None:
        self.horizon = horizon
        self.noise_std = noise_std
        self.alpha = alpha
        self.target_mult = target_mult
        self.eps = eps
        self.norm_bound = norm_bound
        self.reward_range = reward_range

    def _begin(self) -> None:
        # All of it follows from the answers, and is made anew from them where an experiment is resumed.
        self._active: IndexArray = np.arange(len(self._features))
        self._complete: list[EliminationPhase] = []
        self._seen: list[tuple[Design, Int64Array, Float64Array]] = []
        self._theta, self._greedy = np.zeros(self._features.shape[1]), 0
        self._planned, self._rank = math.ceil(core_set_bound(1)), 1

    def _batches(self) -> Batches:
        played, design = 0, None
        while played < self.horizon:
            left, n_active, rows = self.horizon - played, len(self._active), self._active_rows()
            if self._alone():
                self._rank = int(np.any(rows))
                yield Batch(np.full(left, self._active[0]))
                break
            if design is None or n_active < self._complete[-1].n_active:
                design = self._design(rows)
            self._rank, counts = design.rank, self._counts(design)
            rewards = yield Batch(np.repeat(self._active[design.support], counts)[:left])
            played += len(rewards)
            if len(rewards) < counts.sum():
                break
            self._learn(rows, reweighted(rows, design, counts / counts.sum()), counts, block_means(rewards, counts))
        return Outcome(self._greedy, self._lost())

    def _active_rows(self) -> AnyArray:
        """Return the features of active actions; a copy only where there are fewer than all."""
        return self._features if len(self._active) == len(self._features) else self._features[self._active]

    def _alone(self) -> bool:
        """Return whether nothing is left to be learned: one action is left, or some without features."""
        return len(self._active) == 1 or (bool(self._complete) and not np.any(self._active_rows()))

    def _design(self, rows: AnyArray) -> Design:
        """Return a design on the active actions."""
        design = g_optimal_design(rows, self.target_mult, init=self._shares())
        # Rows that span less than the whole space leave some rounding outside of it.
        return design if design.rho_drop and self._drops(rows, design) else replace(design, rho_drop=0.0)

    @staticmethod
    def _drops(rows: AnyArray, design: Design) -> bool:
        """Return whether active actions have more than rounding beyond what the design can learn."""
        own, sizes = np.asarray(rows[design.support], dtype=np.float64), column_scales(rows)
        return any(
            left_out(rows[start : start + BLOCK], own, design.whitening, design.weights, sizes).any()
            for start in range(0, len(rows), BLOCK)
        )

    def _shares(self) -> Float64Array | None:
        """Return what is left of the last design, as weights of the active actions."""
        shares = np.zeros(len(self._features))
        for design, _, _ in self._seen[-1:]:
            shares[design.support] = design.weights
        return shares[self._active] if shares[self._active].any() else None

    def _counts(self, design: Design) -> Int64Array:
        """Return how often a phase plays each action of its design."""
        if not self._complete:
            self._planned = math.ceil(core_set_bound(design.rank))
        m = self._planned * 2 ** len(self._complete)
        return np.ceil(m * design.weights * (1 - 1e-12)).astype(np.int64)

    def _learn(self, rows: AnyArray, design: Design, counts: Int64Array, observed: Float64Array) -> None:
        """Estimate from the plays of a phase, and drop actions."""
        noise = self.noise_std * math.sqrt(2 * math.log(1 / self._alpha()) / counts.sum())
        width = noise * math.sqrt(design.max_leverage)
        self._complete.append(
            EliminationPhase(
                len(rows), design.rank, int(counts.sum()), width, ls_amplification(rows, design), design.rho_drop
            )
        )
        self._seen.append((replace(design, support=self._active[design.support]), counts, observed))
        self._theta = least_squares(rows, design, observed)
        predicted = predictions(rows, self._theta)
        self._greedy = int(self._active[np.argmax(predicted)])
        self._active = self._active[predicted >= predicted.max() - 2 * width]

    def _alpha(self) -> float:
        return 1 / (len(self._features) * self.horizon) if self.alpha is None else self.alpha

    def _lost(self) -> float:
        """Return the gap of the action that the last complete phase predicts to be best, at most."""
        if self._eps is None:
            return np.inf
        return lost_afterwards(self._complete, self._eps, self.norm_bound, greedy=True, alone=self._alone())

    def _regret_bound(self, reward_range: float) -> float:
        if len(self._features) == 1:
            return 0.0
        if self._eps is None:
            return np.inf
        return lost_in_plays(
            self._complete, self.n_queries_, self._eps, self.norm_bound, reward_range, alone=self._alone()
        )

    def _recommended(self, means: MeanRewards) -> int:
        return self._greedy if self._complete else super()._recommended(means)

    def _finish(self) -> None:
        super()._finish()
        left = self.n_queries_ - sum(phase.n_plays for phase in self._complete)
        last = EliminationPhase(len(self._active), self._rank, left, np.inf, np.inf, 0.0)
        self.phases_ = (*self._complete, last) if left else tuple(self._complete)
        self.active_, self.theta_ = self._active, self._theta

    def _certificate(self, action: int, means: MeanRewards, outcome: Outcome | None) -> PhaseGapCertificate:
        # P complete phases have at least (2^P - 1) times the planned plays of the first one.
        most = max(1, (self.horizon // self._planned + 1).bit_length() - 1)
        return phase_gap(
            self._features, self._seen, action, eps=self._eps, noise_std=self.noise_std, alpha=self._alpha(),
            most_phases=most, norm_bound=float(self.norm_bound),
        )  # fmt: skip
