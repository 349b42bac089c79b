"""A bandit with known features, whose rewards are linear up to an error."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import NONNEGATIVE, generator
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["LinearBanditProblem"]


class LinearBanditProblem:
    r"""Actions with features :math:`\phi(a)` and rewards :math:`\langle \phi(a), \theta \rangle + \nu(a)`.

    The error :math:`\nu` is at most `eps` everywhere. Answers to queries are rewards, with noise if there is any; every
    query is counted.

    Parameters
    ----------
    features : array-like of shape (n_actions, n_features)
        One row for each action.
    rewards : array-like of shape (n_actions,), optional
        True mean rewards, which only :meth:`gap` and :meth:`query` see.
    oracle : callable, optional
        ``oracle(actions)`` answers queries instead of `rewards`.
    eps : float
        Bound of the misspecification.
    noise_std : float
        Standard deviation of the normal noise that is added to rewards.
    random_state : int, Generator or None
        Seed of the noise.

    Attributes
    ----------
    n_queries : int
        Queries so far.

    Examples
    --------
    >>> import numpy as np
    >>> problem = LinearBanditProblem(np.eye(3), rewards=[0.1, 0.9, 0.5])
    >>> problem.query([1, 2]).tolist(), problem.gap(2), problem.n_queries
    ([0.9, 0.5], 0.4, 2)
    """

    def __init__(
        self,
        features: ArrayLike,
        rewards: ArrayLike | None = None,
        oracle: Callable[[IndexArray], ArrayLike] | None = None,
        *,
        eps: float = 0.0,
        noise_std: float = 0.0,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.features: AnyArray = (
            features if isinstance(features, np.ndarray) else np.asarray(features, dtype=np.float64)
        )
        if self.features.ndim != 2 or not self.features.size:
            raise ValueError(f"features must be a matrix with entries; got shape {self.features.shape}")
        finite = np.isfinite(self.features).all(axis=1)
        if not finite.all():
            raise ValueError(f"features must be finite; got NaN or infinity in row {int(np.argmin(finite))}")
        if (rewards is None) == (oracle is None):
            raise ValueError("rewards or oracle must be given, and not both")
        self.rewards: Float64Array | None = None if rewards is None else np.asarray(rewards, dtype=np.float64)
        if self.rewards is not None and self.rewards.shape != (self.n_actions,):
            raise ValueError(f"rewards must be of shape {(self.n_actions,)}; got shape {self.rewards.shape}")
        if self.rewards is not None and not np.isfinite(self.rewards).all():
            raise ValueError(
                f"rewards must be finite; got NaN or infinity in row {int(np.argmin(np.isfinite(self.rewards)))}"
            )
        self.oracle = oracle
        self.eps = NONNEGATIVE.check("eps", eps)
        self.noise_std = NONNEGATIVE.check("noise_std", noise_std)
        self.n_queries = 0
        self._rng = generator(random_state)

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return len(self.features)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.features.shape[1]

    def query(self, actions: ArrayLike) -> Float64Array:
        """Return rewards of actions, each of which is one query.

        Parameters
        ----------
        actions : array-like of int
            Numbers of actions; the same one may be named several times.

        Returns
        -------
        ndarray, one for each query

        Raises
        ------
        ValueError
            If there is no such action, or the oracle answers with NaN or infinity.
        """
        chosen = np.atleast_1d(np.asarray(actions, dtype=np.intp))
        if chosen.size and (chosen.min() < 0 or chosen.max() >= self.n_actions):
            raise ValueError(
                f"actions must be numbers from 0 to {self.n_actions - 1}; got {chosen.min()} to {chosen.max()}"
            )
        self.n_queries += chosen.size
        given: Any = self.rewards[chosen] if self.rewards is not None else self.oracle(chosen)  # type: ignore[misc]
        answers = np.asarray(given, dtype=np.float64)
        if not np.isfinite(answers).all():
            raise ValueError(f"rewards must be finite; got {answers[~np.isfinite(answers)][0]!r} from the oracle")
        return answers + self.noise_std * self._rng.standard_normal(chosen.size) if self.noise_std else answers

    def gap(self, action: int) -> float:
        """Return how much less an action earns than the best one; known only where true rewards are."""
        if self.rewards is None:
            raise ValueError("rewards must be given to know a gap; got an oracle")
        return float(self.rewards.max() - self.rewards[action])
