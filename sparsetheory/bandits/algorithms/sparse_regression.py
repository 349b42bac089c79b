"""Random exploration, and the smallest coefficients that agree with it."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.base import BanditAlgorithm, Outcome
from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.algorithms.session import Batches
from sparsetheory.bandits.certificates.regression_gap import (
    RegressionGapCertificate,
    largest_error,
    proved_error,
    regression_gap,
)
from sparsetheory.bandits.errors import InconsistentOracleError
from sparsetheory.bandits.regression.exploration import EXPLORATIONS, exploration_of
from sparsetheory.bandits.regression.fits import ESTIMATORS, L1Fit, beyond_the_model, fit_lasso, fit_within
from sparsetheory.bandits.regression.lasso import least_squares
from sparsetheory.bandits.regression.predictions import greedy_action
from sparsetheory.bandits.regression.samples import Samples
from sparsetheory.bandits.supports.enumeration import checked_size
from sparsetheory.bandits.supports.misspecification import estimate_eps
from sparsetheory.constraints import COUNT, FRACTION, MISSING, NONNEGATIVE, POSITIVE, SEED, Choice, Constraint
from sparsetheory.typing import Float64Array

__all__ = ["SparseRegressionBandit"]

# Supports for each of which the misspecification is bounded, where the rewards refute the model.
_FEW = 2000


class SparseRegressionBandit(BanditAlgorithm):
    r"""Query random actions, and take the one that a regression with small l1 norm predicts to be best.

    For features that are far from depending on each other the gap is of order :math:`\sqrt{s}\, \varepsilon` with
    "linf" and "bpdn" and of order :math:`s\, \varepsilon` with the "lasso", after about :math:`s \log d` queries. No
    such number is enough for all features.

    Parameters
    ----------
    n_nonzero : int
        Number s of coefficients that are not zero.
    eps : float
        Misspecification: how far rewards are from a linear function, at most.
    noise_std : float
        Standard deviation of the noise, which is subgaussian.
    estimator : {"linf", "bpdn", "lasso"}
        The smallest l1 norm of coefficients that miss no sample by more than the model allows; or that miss all of them
        by no more than that in root mean square; or the smallest sum of squared residuals and a penalty.
    n_samples : int or "auto"
        Number of queries; "auto" is :math:`4 s \log d`, for features that are nearly uncorrelated.
    exploration : {"uniform", "design", "e_optimal"}
        How actions are drawn, independently: all alike, by a G-optimal, or by an E-optimal design.
    delta : float
        Probability with which noise may spoil the guarantee.
    reward_range : float, optional
        Known difference of the largest and the smallest reward; for `vacuous_`. That of the observed ones by default.
    random_state : int, Generator or None
        Seed of the draws.

    Attributes
    ----------
    theta_ : ndarray of shape (n_features,)
    kappa_ : float
        Lower bound of the restricted eigenvalue of the samples; `bound_` is infinite where it is not positive.
    sup_error_ : float
        How much a prediction may err at any action.

    Raises
    ------
    InconsistentOracleError
        By `fit` and `tell`, if no linear function at all agrees with the samples ("linf" and "bpdn").

    Notes
    -----
    Ours, with the usual arguments for the Lasso. `kappa_` is the smallest eigenvalue of the second moments, or comes
    from their entries, whichever is larger; both are certain. With rewards :math:`\phi^\top \theta + \nu` an error
    :math:`\Delta` of the constrained estimates obeys :math:`|\Delta|_1 \le 4 \sqrt{s} \varepsilon / \sqrt{\kappa}`,
    that of the Lasso :math:`|\Delta|_1 \le 12 s \alpha / \kappa` with :math:`\alpha` twice the largest possible
    :math:`|X^\top \nu|_\infty / n`. The bounds that are used are of this form, with the residuals that were reached.

    Takes the time of one linear program, cone program or Lasso on n samples, and O((n_actions + n d) d) for d features.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import SparseRegressionBandit, make_sparse_misspecified
    >>> problem = make_sparse_misspecified(2000, 30, 2, 0.01, "sign", random_state=0).problem()
    >>> search = SparseRegressionBandit(2, eps=0.01, n_samples=300, random_state=0).fit(problem)
    >>> problem.gap(search.action_) < search.certificate_.bound <= search.bound_ < 0.4
    True
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_nonzero": COUNT,
        "eps": NONNEGATIVE,
        "noise_std": NONNEGATIVE,
        "estimator": Choice(*ESTIMATORS),
        "n_samples": Choice("auto") | COUNT,
        "exploration": Choice(*EXPLORATIONS),
        "delta": FRACTION,
        "reward_range": MISSING | POSITIVE,
        "random_state": SEED,
    }

    def __init__(
        self,
        n_nonzero: int,
        *,
        eps: float,
        noise_std: float = 0.0,
        estimator: str = "linf",
        n_samples: int | str = "auto",
        exploration: str = "uniform",
        delta: float = 0.05,
        reward_range: float | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.eps = eps
        self.noise_std = noise_std
        self.estimator = estimator
        self.n_samples = n_samples
        self.exploration = exploration
        self.delta = delta
        self.reward_range = reward_range
        self.random_state = random_state

    def _begin(self) -> None:
        self._fit: L1Fit | None = None

    def _batches(self) -> Batches:
        checked_size(self.n_nonzero, self._features.shape[1])
        batch = exploration_of(self.exploration, self._features).drawn(self._n(), np.random.default_rng(self._seed))
        rewards = yield batch
        self._fit = self._estimate(Samples.of(batch.actions, rewards))
        error = proved_error(self._features, self._fit, self.n_nonzero, self.eps, self.noise_std, self.delta)
        largest = largest_error(self._features, error)
        attributes = {"theta_": self._fit.theta, "kappa_": error.kappa, "sup_error_": largest}
        return Outcome(greedy_action(self._features, self._fit.theta), 2 * (self.eps + largest), attributes)

    def _n(self) -> int:
        if not isinstance(self.n_samples, str):
            return self.n_samples
        return max(self.n_nonzero, math.ceil(4 * self.n_nonzero * math.log(self._features.shape[1])))

    def _estimate(self, samples: Samples) -> L1Fit:
        X = samples.rows(self._features)
        level = beyond_the_model(self.estimator, X, samples, self.eps, self.noise_std, self.delta)
        if self.estimator == "lasso":
            return fit_lasso(self._features, samples, 2 * level)
        fit = fit_within(self.estimator, X, samples, level)
        if fit is None:
            raise self._refuted(X, samples, level)
        return fit

    def _refuted(self, X: Float64Array, samples: Samples, level: float) -> InconsistentOracleError:
        """Return the error for samples that no linear function is near, with what they prove of the true `eps`."""
        n, d = X.shape
        size = self.n_nonzero if math.comb(d, self.n_nonzero) <= _FEW else d
        lower = estimate_eps(X, samples.observed, size, noise_std=self.noise_std, delta=self.delta).eps_lower
        if self.estimator == "bpdn":
            left = np.linalg.norm(samples.observed - X @ least_squares(X, samples.observed))
            lower = max(lower, self.eps + float(left - level) / math.sqrt(n))
        return InconsistentOracleError(
            f"rewards must be within eps = {self.eps:g} of a linear function; got rewards that prove a "
            f"misspecification of at least {lower:.6g}",
            lower,
        )

    def _recommended(self, means: MeanRewards) -> int:
        return super()._recommended(means) if self._fit is None else greedy_action(self._features, self._fit.theta)

    def _certificate(self, action: int, means: MeanRewards, outcome: Outcome | None) -> RegressionGapCertificate:
        return regression_gap(
            self._features, self._fit, action, n_nonzero=self.n_nonzero, eps=float(self.eps), noise_std=self.noise_std,
            delta=self.delta,
        )  # fmt: skip
