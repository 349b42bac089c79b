"""Optimism: play the action that may be best."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.base import Outcome
from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.algorithms.session import Batch, Batches
from sparsetheory.bandits.certificates.ellipsoid_gap import EllipsoidGapCertificate, ellipsoid_gap
from sparsetheory.bandits.regression.ellipsoid import Ellipsoid, radius_of
from sparsetheory.bandits.strategies.horizon import HorizonStrategy
from sparsetheory.constraints import COUNT, FLAG, FRACTION, MISSING, NONNEGATIVE, POSITIVE, Constraint

__all__ = ["LinUCB"]


class LinUCB(HorizonStrategy):
    r"""Play the action with the largest reward that a confidence ellipsoid allows.

    Nothing has to be sparse. For rewards that are linear the regret over n plays is of order :math:`d \sqrt{n} \log n`.
    Where they are only nearly linear, the ellipsoid has to be inflated to keep its promise, for a loss of order
    :math:`\varepsilon n \sqrt{d \log n}`; else nothing is promised.

    Parameters
    ----------
    horizon : int
        Number n of plays.
    noise_std : float
        Standard deviation of the noise, which is subgaussian.
    eps : float, optional
        Misspecification: how far rewards are from a linear function, at most. That of the problem by default.
    inflate : bool
        Whether the ellipsoid allows for it; the classical one does not.
    norm_bound : float
        Bound of the Euclidean norm of the coefficients.
    regularization : float
        Strength of the ridge penalty.
    delta : float
        Probability with which noise may spoil the guarantee, over all plays.
    batch : int
        Number of plays of an action before the next one is chosen, where rewards come late.
    reward_range : float, optional
        Known difference of the largest and the smallest mean reward, for `regret_bound_`; that of the problem by
        default, where it is known. It is not needed.

    Attributes
    ----------
    theta_ : ndarray of shape (n_features,)

    See Also
    --------
    PhasedElimination : A smaller regret for few actions, in few batches, that needs no bound of the coefficients.

    Notes
    -----
    Abbasi-Yadkori, Pal and Szepesvari (2011, NeurIPS) for the ellipsoid; Lattimore, Szepesvari and Weisz (ICML 2020,
    arXiv:1911.07676) for the inflation: after t plays the least-squares estimate moves by at most
    :math:`\varepsilon \sqrt{t}` in its metric. `regret_bound_` adds up, over all plays, twice the length of the
    interval of the action that was played, and 2 `eps`. The recommended action is the one with the largest lower end.

    A choice takes O(K d) time for K actions with d features. Features are kept in double precision: those in single
    precision, or in a file of single precision, are copied into memory.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import LinearBanditProblem, LinUCB
    >>> features = np.random.default_rng(0).standard_normal((100, 4))
    >>> features /= np.linalg.norm(features, axis=1, keepdims=True)
    >>> problem = LinearBanditProblem(features, rewards=features[:, 0], noise_std=0.1, random_state=0)
    >>> strategy = LinUCB(2000, noise_std=0.1).fit(problem)
    >>> bool(strategy.regret_curve_[-1] < strategy.regret_bound_ < 500), problem.gap(strategy.action_) < 0.1
    (True, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "horizon": COUNT,
        "noise_std": NONNEGATIVE,
        "eps": MISSING | NONNEGATIVE,
        "inflate": FLAG,
        "norm_bound": POSITIVE,
        "regularization": POSITIVE,
        "delta": FRACTION,
        "batch": COUNT,
        "reward_range": MISSING | POSITIVE,
    }

    def __init__(
        self,
        horizon: int,
        *,
        noise_std: float = 1.0,
        eps: float | None = None,
        inflate: bool = True,
        norm_bound: float = 1.0,
        regularization: float = 1.0,
        delta: float = 0.05,
        batch: int = 1,
        reward_range: float | None = None,
    ) -> None:
        self.horizon = horizon
        self.noise_std = noise_std
        self.eps = eps
        self.inflate = inflate
        self.norm_bound = norm_bound
        self.regularization = regularization
        self.delta = delta
        self.batch = batch
        self.reward_range = reward_range

    def _begin(self) -> None:
        self._ellipsoid = Ellipsoid(self._features, float(self.regularization))
        self._lengths: list[int] = []
        self._losses: list[float] = []

    def _batches(self) -> Batches:
        if self._eps is None and self.inflate:
            raise ValueError("eps must be given to start a live experiment that inflates; got None")
        ellipsoid = self._ellipsoid
        while ellipsoid.n_plays < self.horizon:
            radius = self._radius()
            action = ellipsoid.most_optimistic(radius)
            self._lengths.append(min(self.batch, self.horizon - ellipsoid.n_plays))
            self._losses.append(2 * (radius * ellipsoid.norm(action) + self._widening()))
            ellipsoid.learn(action, (yield Batch(np.full(self._lengths[-1], action))))
        action = ellipsoid.safest(self._radius())
        return Outcome(action, self._gap(action, ellipsoid.means()).bound)

    def _widening(self) -> float:
        """Return the misspecification that the rule allows for."""
        return float(self._eps or 0.0) if self.inflate else 0.0

    def _radius(self) -> float:
        return radius_of(
            self._ellipsoid.log_det, self._ellipsoid.n_plays, eps=self._widening(), noise_std=self.noise_std,
            delta=self.delta, norm_bound=float(self.norm_bound), regularization=float(self.regularization),
        )  # fmt: skip

    def _regret_bound(self, reward_range: float) -> float:
        if len(self._features) == 1:
            return 0.0
        if self._eps is None or self._eps > self._widening():
            return np.inf
        # The last choice may have been played a few times only.
        lengths = np.diff(np.minimum(np.cumsum([0, *self._lengths]), self.n_queries_))
        return float(lengths @ np.minimum(self._losses, reward_range)) if self._losses else 0.0

    def _recommended(self, means: MeanRewards) -> int:
        return self._ellipsoid.safest(self._radius())

    def _finish(self) -> None:
        super()._finish()
        self.theta_ = self._ellipsoid.theta()

    def _gap(self, action: int, means: MeanRewards) -> EllipsoidGapCertificate:
        return ellipsoid_gap(
            self._features, means, action, eps=self._eps, noise_std=self.noise_std, delta=self.delta,
            norm_bound=float(self.norm_bound), regularization=float(self.regularization),
        )  # fmt: skip

    def _certificate(self, action: int, means: MeanRewards, outcome: Outcome | None) -> EllipsoidGapCertificate:
        return self._gap(action, means)
