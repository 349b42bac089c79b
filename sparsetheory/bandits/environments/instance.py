"""What an instance of a bandit is made of: rewards, features, and the linear function that nearly explains them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.environments.block_codes import BlockCodes, float_type
from sparsetheory.bandits.environments.problem import LinearBanditProblem
from sparsetheory.typing import AnyArray, Float64Array, FloatArray

__all__ = ["BanditInstance", "NeedleInstance"]


@dataclass(frozen=True, eq=False)
class BanditInstance:
    """A bandit all of which is known: for tests, experiments and proofs.

    Parameters
    ----------
    rewards : ndarray of shape (n_actions,)
        Mean rewards.
    theta : ndarray of shape (n_features,)
        Coefficients of the linear function.
    eps : float
        No reward is further than this from the linear function.
    n_nonzero : int
        Largest number of non-zeros of `theta`.
    table : ndarray of shape (n_actions, n_features), or BlockCodes
        Features, or the small integers that they are made of.

    Examples
    --------
    >>> from sparsetheory.bandits import make_sparse_misspecified
    >>> instance = make_sparse_misspecified(50, 8, 2, eps=0.1, random_state=0)
    >>> bool(abs(instance.rewards - instance.linear_rewards()).max() <= instance.eps)
    True
    """

    rewards: Float64Array
    theta: Float64Array
    eps: float
    n_nonzero: int
    table: FloatArray | BlockCodes

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return len(self.rewards)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.theta)

    @property
    def codes(self) -> AnyArray:
        """The small integers that features are made of, one row for each action.

        Raises
        ------
        AttributeError
            If features are kept as they are.
        """
        if not isinstance(self.table, BlockCodes):
            raise AttributeError(f"{type(self).__name__} has no codes: its features are a dense matrix")
        return self.table.codes

    def features(self, rows: ArrayLike | None = None, dtype: Any = np.float64) -> FloatArray:
        """Return features as a dense matrix.

        Parameters
        ----------
        rows : array-like of int, optional
            Numbers of actions; all by default.
        dtype : {"float64", "float32"} or dtype
            Precision.

        Returns
        -------
        ndarray of shape (len(rows), n_features)
        """
        if isinstance(self.table, BlockCodes):
            return self.table.dense(rows, dtype)
        chosen = self.table if rows is None else self.table[np.asarray(rows, dtype=np.intp)]
        return chosen.astype(float_type(dtype), copy=False)

    def linear_rewards(self) -> Float64Array:
        """Return what the linear function says: features times `theta`."""
        return np.asarray(self.features() @ self.theta, dtype=np.float64)

    def problem(self, noise_std: float = 0.0, random_state: Any = None, dtype: Any = np.float64) -> LinearBanditProblem:
        """Return the problem to give to an algorithm; only here all features are made dense.

        Parameters
        ----------
        noise_std : float
            Standard deviation of the noise of answers.
        random_state : int, Generator or None
            Seed of the noise.
        dtype : {"float64", "float32"} or dtype
            Precision of the features.
        """
        return LinearBanditProblem(
            self.features(dtype=dtype), self.rewards, eps=self.eps, noise_std=noise_std, random_state=random_state
        )


@dataclass(frozen=True, eq=False)
class NeedleInstance(BanditInstance):
    r"""One action earns, all others earn nothing, and features hardly tell them apart.

    With features of unit length and inner products of at most m, the linear function of the needle's own features is
    within m of the rewards.

    Parameters
    ----------
    needle : int
        The action that earns.
    coherence : float
        Largest magnitude of an inner product of two rows; see the function that made the instance whether it is exact,
        an upper bound, or a bound with a stated probability.

    Examples
    --------
    >>> from sparsetheory.bandits import make_reed_solomon_needle
    >>> instance = make_reed_solomon_needle(5, 4, 2, needle=7)
    >>> instance.rewards.argmax(), instance.eps, instance.codes.shape
    (np.int64(7), 0.25, (25, 4))
    """

    needle: int
    coherence: float

    def linear_rewards(self) -> Float64Array:
        """Return what the linear function says, from codes where there are some: no dense matrix is made."""
        if not isinstance(self.table, BlockCodes):
            return super().linear_rewards()
        # The linear function is a multiple of the needle's features, which have length one.
        scale = float(self.table.dense([self.needle])[0] @ self.theta)
        return scale * self.table.inner(self.needle)
