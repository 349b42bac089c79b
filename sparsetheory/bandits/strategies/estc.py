"""Explore the sparsity, then commit."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.base import Outcome
from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.algorithms.session import Batch, Batches
from sparsetheory.bandits.certificates.regression_gap import (
    RegressionGapCertificate,
    largest_error,
    proved_error,
    regression_gap,
)
from sparsetheory.bandits.regression.exploration import EXPLORATIONS, exploration_of
from sparsetheory.bandits.regression.fits import L1Fit, fit_lasso
from sparsetheory.bandits.regression.predictions import greedy_action
from sparsetheory.bandits.regression.samples import Samples
from sparsetheory.bandits.strategies.horizon import HorizonStrategy
from sparsetheory.bandits.supports.enumeration import checked_size
from sparsetheory.constraints import COUNT, FRACTION, MISSING, NONNEGATIVE, POSITIVE, SEED, Choice, Constraint

__all__ = ["ESTC"]


class ESTC(HorizonStrategy):
    r"""Play random actions of a design that sees all directions, fit the Lasso, and play its best action ever after.

    Over n plays the regret is of order :math:`(s^2 \log(d) / C^2)^{1/3} n^{2/3}`, where C is the smallest eigenvalue of
    the design. With d above :math:`n^{1/3}` that may be less than what methods for dense coefficients lose. Rewards
    that are only nearly linear add a loss that grows with n.

    Parameters
    ----------
    n_nonzero : int
        Number s of coefficients that are not zero.
    horizon : int
        Number n of plays.
    noise_std : float
        Standard deviation of the noise, which is subgaussian.
    exploration : {"e_optimal", "design", "uniform"}
        How actions are drawn at first, independently: by an E-optimal design, by a G-optimal one, or all alike.
    max_reward : float
        Largest size of a mean reward. It sets the length of the exploration.
    alpha : float, optional
        Strength of the penalty; by default :math:`2 \sigma \sqrt{\log(d) / n_1}` after :math:`n_1` plays.
    eps : float, optional
        Misspecification, for bounds and certificates alone. That of the problem by default.
    delta : float
        Probability with which noise may spoil the guarantee.
    reward_range : float, optional
        Known difference of the largest and the smallest mean reward, for `regret_bound_`; that of the problem by
        default, where it is known.
    random_state : int, Generator or None
        Seed of the draws.

    Attributes
    ----------
    n_explored_ : int
        Number of plays before it commits.
    theta_ : ndarray of shape (n_features,)
    kappa_ : float
        Lower bound of the restricted eigenvalue of what was explored; nothing is proved where it is not positive.

    Notes
    -----
    Hao, Lattimore and Wang (NeurIPS 2020, arXiv:2011.04020), with the length of the exploration

    .. math:: n_1 = n^{2/3} \left(\frac{2 s^2 \sigma^2 \log(2 d)}{R^2 C^2}\right)^{1/3}, \quad R = max\_reward,

    but at least :math:`2 s \log(2d)` plays, and at most all; all of them where C is 0. `regret_bound_` is not that of
    the paper: it adds what the exploration can lose to what the estimate is proved to lose afterwards. A penalty as
    small as the default proves little, for the noise may exceed it.

    Takes the time of :func:`e_optimal_design` with the default exploration, that of one Lasso on the explored actions,
    and O(K d) for K actions with d features.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import ESTC, LinearBanditProblem
    >>> features = np.random.default_rng(0).choice([-1.0, 1.0], (300, 20))
    >>> problem = LinearBanditProblem(features, rewards=features[:, 3], noise_std=0.02, random_state=0)
    >>> strategy = ESTC(1, horizon=20_000, noise_std=0.02, random_state=0).fit(problem)
    >>> problem.gap(strategy.action_), strategy.n_explored_ < 500
    (0.0, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_nonzero": COUNT,
        "horizon": COUNT,
        "noise_std": NONNEGATIVE,
        "exploration": Choice(*EXPLORATIONS),
        "max_reward": POSITIVE,
        "alpha": MISSING | NONNEGATIVE,
        "eps": MISSING | NONNEGATIVE,
        "delta": FRACTION,
        "reward_range": MISSING | POSITIVE,
        "random_state": SEED,
    }

    def __init__(
        self,
        n_nonzero: int,
        *,
        horizon: int,
        noise_std: float = 1.0,
        exploration: str = "e_optimal",
        max_reward: float = 1.0,
        alpha: float | None = None,
        eps: float | None = None,
        delta: float = 0.05,
        reward_range: float | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.horizon = horizon
        self.noise_std = noise_std
        self.exploration = exploration
        self.max_reward = max_reward
        self.alpha = alpha
        self.eps = eps
        self.delta = delta
        self.reward_range = reward_range
        self.random_state = random_state

    def _begin(self) -> None:
        self._fit: L1Fit | None = None
        self._gap, self._kappa = math.inf, 0.0

    def _batches(self) -> Batches:
        d = self._features.shape[1]
        checked_size(self.n_nonzero, d)
        exploration = exploration_of(self.exploration, self._features)
        length = self._length(exploration.smallest_eigenvalue(self._features))
        batch = exploration.drawn(length, np.random.default_rng(self._seed))
        rewards = yield batch
        alpha = 2 * self.noise_std * math.sqrt(math.log(d) / length) if self.alpha is None else float(self.alpha)
        self._fit = fit_lasso(self._features, Samples.of(batch.actions, rewards), alpha)
        self._judge(self._fit)
        action = greedy_action(self._features, self._fit.theta)
        if length < self.horizon:
            yield Batch(np.full(self.horizon - length, action))
        return Outcome(action, self._gap)

    def _length(self, smallest_eigenvalue: float) -> int:
        """Return the number of plays that explore."""
        d = self._features.shape[1]
        if smallest_eigenvalue == 0:
            return self.horizon
        scale = 2 * (self.n_nonzero * self.noise_std / (self.max_reward * smallest_eigenvalue)) ** 2 * math.log(2 * d)
        length = max(self.horizon ** (2 / 3) * scale ** (1 / 3), 2 * self.n_nonzero * math.log(2 * d))
        return min(self.horizon, math.ceil(length))

    def _judge(self, fit: L1Fit) -> None:
        """Set what is proved of the action that the estimate prefers."""
        if self._eps is not None:
            error = proved_error(self._features, fit, self.n_nonzero, self._eps, self.noise_std, self.delta)
            self._kappa = max(error.kappa, 0.0)
            self._gap = 2 * (self._eps + largest_error(self._features, error))

    def _regret_bound(self, reward_range: float) -> float:
        if len(self._features) == 1:
            return 0.0
        explored = self._explored()
        later = self.n_queries_ - explored
        lost = explored * reward_range if explored else 0.0
        return lost + (later * min(self._gap, reward_range) if later else 0.0)

    def _explored(self) -> int:
        return min(self.n_queries_, self.n_queries_ if self._fit is None else self._fit.samples.total)

    def _recommended(self, means: MeanRewards) -> int:
        return super()._recommended(means) if self._fit is None else greedy_action(self._features, self._fit.theta)

    def _finish(self) -> None:
        super()._finish()
        self.n_explored_, self.kappa_ = self._explored(), self._kappa
        self.theta_ = np.zeros(self._features.shape[1]) if self._fit is None else self._fit.theta

    def _certificate(self, action: int, means: MeanRewards, outcome: Outcome | None) -> RegressionGapCertificate:
        return regression_gap(
            self._features, self._fit, action, n_nonzero=self.n_nonzero, eps=self._eps, noise_std=self.noise_std,
            delta=self.delta,
        )  # fmt: skip
