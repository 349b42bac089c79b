"""One batch of queries from an optimal design, and least squares."""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.base import BanditAlgorithm, Outcome
from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.algorithms.observations import block_means
from sparsetheory.bandits.algorithms.session import Batch, Batches
from sparsetheory.bandits.certificates.design_gap import DesignGapCertificate, design_gap
from sparsetheory.bandits.design.amplification import least_squares, ls_amplification, reweighted, spanning_design
from sparsetheory.bandits.design.optimal import g_optimal_design
from sparsetheory.bandits.design.weights import Design
from sparsetheory.bandits.errors import InconsistentOracleError
from sparsetheory.bandits.regression.predictions import greedy_action
from sparsetheory.constraints import COUNT, FRACTION, MISSING, NONNEGATIVE, POSITIVE, Constraint, Real
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["CoreSetBandit"]

# Residuals round by less, relative to the largest reward.
_ROUNDING = 1e-9


class CoreSetBandit(BanditAlgorithm):
    r"""Query the few actions of a G-optimal design, and take the action that least squares predict to be best.

    No sparsity is needed. The gap is at most :math:`2 \varepsilon (1 + A)`, where the amplification A of the design is
    at most the root of its largest leverage: :math:`\sqrt{2 d}`. So it is useless where `eps` is not small against
    :math:`1 / \sqrt{d}`, and no algorithm does better there without exponentially many queries.

    Parameters
    ----------
    eps : float, optional
        Misspecification: how far rewards are from a linear function, at most. That of the problem by default.
    noise_std : float
        Standard deviation of the noise, which is subgaussian.
    target_mult : float
        Largest leverage of the design, as a multiple of its rank.
    reps : int, optional
        Number m of queries with noise: each action a is queried ``ceil(m p_a)`` times for its weight p_a. By default so
        many that noise costs no more than misspecification.
    delta : float
        Probability with which noise may spoil the guarantee.
    norm_bound : float
        Bound of the Euclidean norm of the coefficients. It is needed only where the design drops a direction of the
        features.
    reward_range : float, optional
        Known difference of the largest and the smallest reward; for `vacuous_`. That of the observed ones by default.

    Attributes
    ----------
    theta_ : ndarray of shape (n_features,)
        Coefficients.
    design_ : Design
    amplification_ : float
        How much larger than `eps` an error of a prediction can be.

    Notes
    -----
    Lattimore, Szepesvari and Weisz (ICML 2020, arXiv:1911.07676) for the rate; constants are ours. With noise,
    least squares are weighted by numbers of queries, N in all, and err by at most
    :math:`\varepsilon A + \sigma \sqrt{2 \log(2 K / \delta)\, g_{\max} / N}` for K actions, with the amplification and
    the largest leverage of those weights.

    Takes the time of :func:`g_optimal_design`, and O(n_actions n d) for n queried actions. Features in single precision
    or in a file are read in blocks, and never copied as a whole.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import CoreSetBandit, LinearBanditProblem
    >>> features = np.random.default_rng(0).standard_normal((10_000, 8))
    >>> problem = LinearBanditProblem(features, rewards=features @ np.arange(8.0), eps=0.01)
    >>> search = CoreSetBandit().fit(problem)
    >>> problem.gap(search.action_), search.n_queries_ < 40, search.bound_ < 0.1
    (0.0, True, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "eps": MISSING | NONNEGATIVE,
        "noise_std": NONNEGATIVE,
        "target_mult": Real(1.0),
        "reps": MISSING | COUNT,
        "delta": FRACTION,
        "norm_bound": POSITIVE,
        "reward_range": MISSING | POSITIVE,
    }

    def __init__(
        self,
        eps: float | None = None,
        *,
        noise_std: float = 0.0,
        target_mult: float = 2.0,
        reps: int | None = None,
        delta: float = 0.05,
        norm_bound: float = 1.0,
        reward_range: float | None = None,
    ) -> None:
        self.eps = eps
        self.noise_std = noise_std
        self.target_mult = target_mult
        self.reps = reps
        self.delta = delta
        self.norm_bound = norm_bound
        self.reward_range = reward_range

    def _batches(self) -> Batches:
        if self._eps is None:
            raise ValueError("eps must be given to start a live experiment; got None")
        design = g_optimal_design(self._features, self.target_mult)
        counts = self._counts(design)
        rewards = yield Batch(np.repeat(design.support, counts))
        means = block_means(rewards, counts)
        if self.noise_std:
            design = reweighted(self._features, design, counts / counts.sum())
        self._refuse(design, means)
        theta = least_squares(self._features, design, means)
        amplification = ls_amplification(self._features, design)
        noise = self.noise_std * np.sqrt(2 * self._log() * design.max_leverage / counts.sum())
        eps = self._eps + design.rho_drop * self.norm_bound
        attributes = {"theta_": theta, "design_": design, "amplification_": amplification}
        return Outcome(greedy_action(self._features, theta), 2 * (eps * (1 + amplification) + noise), attributes)

    def _refuse(self, design: Design, means: Float64Array) -> None:
        """Raise an error for residuals that no linear function within `eps` leaves: their mean square is smaller."""
        white = np.asarray(self._features[design.support], dtype=np.float64) @ design.whitening
        left = means - white @ ((design.weights * means) @ white)
        lower = float(np.sqrt(design.weights @ left**2)) - _ROUNDING * float(np.abs(means).max())
        lower -= design.rho_drop * self.norm_bound
        if self.noise_std == 0 and lower > float(self._eps or 0.0):
            raise InconsistentOracleError(
                f"rewards must be within eps = {self._eps:g} of a linear function; got rewards that prove a "
                f"misspecification of at least {lower:.6g}",
                lower,
            )

    def _counts(self, design: Design) -> IndexArray:
        """Return how often each action of a design is queried."""
        if self.noise_std == 0:
            return np.ones(len(design.support), dtype=np.intp)
        if self.reps is None and not self._eps:
            raise ValueError("reps must be given where there is noise and eps is 0; got None")
        # Noise of standard deviation noise_std sqrt(g / m) costs what misspecification does, eps sqrt(g).
        m = 2 * self.noise_std**2 * self._log() / float(self._eps or 1.0) ** 2 if self.reps is None else self.reps
        return np.ceil(m * design.weights).astype(np.intp)

    def _log(self) -> float:
        return math.log(2 * len(self._features) / self.delta)

    def _certificate(self, action: int, means: MeanRewards, outcome: Outcome | None) -> DesignGapCertificate:
        design = None if outcome is None else outcome.attributes.get("design_")
        if design is None and not self.noise_std and len(means.actions):
            design = spanning_design(self._features, means.actions, np.full(len(means.actions), 1 / len(means.actions)))
        return design_gap(
            self._features, design, means, action, eps=float(self._eps or 0.0), noise_std=self.noise_std,
            delta=self.delta, norm_bound=float(self.norm_bound),
        )  # fmt: skip
