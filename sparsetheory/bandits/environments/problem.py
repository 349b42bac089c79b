"""A bandit with known features, whose rewards are linear up to an error."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from sparsetheory.bandits.environments.streams import own_stream
from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = ["LinearBanditProblem", "action_numbers", "as_features"]

# Rows that are looked at in one go; a file that is mapped into memory is never read as a whole.
_BLOCK = 65_536


def action_numbers(name: str, actions: ArrayLike, n_actions: int) -> IndexArray:
    """Return actions as an array of positions.

    Parameters
    ----------
    name : str
        What errors call them.
    actions : array-like of int
        One number, or several in one dimension.
    n_actions : int
        Number of actions there are.

    Raises
    ------
    ValueError
        If they are not integers from 0 to `n_actions` - 1.
    """
    numbers = np.atleast_1d(np.asarray(actions))
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be integers in one dimension; got {numbers.dtype} of shape {numbers.shape}")
    if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) < n_actions:
        raise ValueError(
            f"{name} must be numbers from 0 to {n_actions - 1}; got {int(numbers.min())} to {int(numbers.max())}"
        )
    return numbers.astype(np.intp)


def as_features(features: Any) -> FloatArray:
    """Return features as a dense matrix in single or double precision, without a copy where they are one."""
    if np.ma.is_masked(features):
        raise ValueError("features must have a value everywhere; got a masked array: fill or drop what is masked")
    dense = features.toarray() if sparse.issparse(features) else features
    if type(dense) not in (np.ndarray, np.memmap):
        try:
            dense = np.asarray(dense)
        except ValueError as error:
            raise ValueError(f"features must be a matrix of numbers; got rows of different lengths: {error}") from error
    if dense.dtype.kind not in "biuf":
        raise ValueError(f"features must be real numbers; got {type(features).__name__} of dtype {dense.dtype}")
    if dense.ndim != 2 or not dense.size:
        raise ValueError(f"features must be a matrix with entries; got shape {dense.shape}")
    if dense.dtype not in (np.float32, np.float64):
        dense = dense.astype(np.float64)
    for start in range(0, len(dense), _BLOCK):
        finite = np.isfinite(dense[start : start + _BLOCK]).all(axis=1)
        if not finite.all():
            raise ValueError(f"features must be finite; got NaN or infinity in row {start + int(np.argmin(finite))}")
    return dense


def _as_rewards(rewards: ArrayLike, n_actions: int) -> Float64Array:
    values = np.asarray(rewards)
    if values.dtype.kind not in "biuf" or values.shape != (n_actions,):
        raise ValueError(
            f"rewards must be real numbers of shape {(n_actions,)}; got {values.dtype} of shape {values.shape}"
        )
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        raise ValueError(f"rewards must be finite; got NaN or infinity in row {int(np.argmin(finite))}")
    return values


class LinearBanditProblem:
    r"""Actions with features :math:`\phi(a)` and rewards :math:`\langle \phi(a), \theta \rangle + \nu(a)`.

    The error :math:`\nu` is at most `eps` everywhere. Answers to queries are rewards, with noise if there is any; every
    query is counted.

    Parameters
    ----------
    features : array-like or sparse matrix of shape (n_actions, n_features)
        One row for each action. Sparse matrices are made dense. Single and double precision are kept without a copy,
        and a memory-mapped file of these stays on the disk; all else becomes float64.
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

    Raises
    ------
    ValueError
        If features or rewards hold NaN or infinity (the first such row is named), shapes do not fit, or not exactly
        one of `rewards` and `oracle` is given.

    Examples
    --------
    >>> import numpy as np
    >>> problem = LinearBanditProblem(np.eye(3), rewards=[0.1, 0.9, 0.5])
    >>> problem.query([1, 2]).tolist(), problem.gap(2), problem.n_queries
    ([0.9, 0.5], 0.4, 2)
    """

    def __init__(
        self,
        features: Any,
        rewards: ArrayLike | None = None,
        oracle: Callable[[IndexArray], ArrayLike] | None = None,
        *,
        eps: float = 0.0,
        noise_std: float = 0.0,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.features: FloatArray = as_features(features)
        if (rewards is None) == (oracle is None):
            raise ValueError("rewards or oracle must be given, and not both")
        if oracle is not None and not callable(oracle):
            raise ValueError(f"oracle must be a function of actions; got {oracle!r}")
        self.rewards: Float64Array | None = None if rewards is None else _as_rewards(rewards, self.n_actions)
        self.oracle = oracle
        self.eps = NONNEGATIVE.check("eps", eps)
        self.noise_std = NONNEGATIVE.check("noise_std", noise_std)
        self.n_queries = 0
        self._rng = own_stream(random_state, "noise of rewards")

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
            If there is no such action, or the oracle answers with NaN, infinity or another number of rewards.
        """
        chosen = action_numbers("actions", actions, self.n_actions)
        self.n_queries += chosen.size
        given: Any = self.rewards[chosen] if self.rewards is not None else self.oracle(chosen)  # type: ignore[misc]
        try:
            answers = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"oracle must answer with real numbers; got {given!r}") from error
        if answers.shape != chosen.shape:
            raise ValueError(f"oracle must answer with one reward for each action; got shape {answers.shape}")
        if not np.isfinite(answers).all():
            first = int(np.argmin(np.isfinite(answers)))
            raise ValueError(f"rewards must be finite; got {answers[first]} from the oracle for action {chosen[first]}")
        return answers + self.noise_std * self._rng.standard_normal(chosen.size) if self.noise_std else answers

    def gap(self, action: int) -> float:
        """Return how much less an action earns than the best one.

        Parameters
        ----------
        action : int
            Number of the action.

        Returns
        -------
        float
            In units of rewards.

        Raises
        ------
        ValueError
            If the true rewards are not known, or there is no such action.
        """
        if self.rewards is None:
            raise ValueError("rewards must be given to know a gap; got an oracle")
        chosen = action_numbers("action", action, self.n_actions)
        if len(chosen) != 1:
            raise ValueError(f"action must be the number of one action; got {len(chosen)} numbers")
        return float(self.rewards.max() - self.rewards[chosen[0]])
