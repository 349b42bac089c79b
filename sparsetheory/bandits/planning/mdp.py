"""Decision problems with finitely many states and levels, all of which is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["TabularMDP"]

# Probabilities may be given in single precision.
_SUM = 1e-5


def _distributions(name: str, rows: Any, n_columns: int) -> Any:
    """Return rows of probabilities as a matrix in double precision."""
    matrix = rows.tocsr().astype(np.float64) if sparse.issparse(rows) else np.asarray(rows, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != n_columns:
        raise ValueError(f"{name} must have {n_columns} columns; got shape {matrix.shape}")
    entries: AnyArray = np.asarray(matrix.data) if sparse.issparse(matrix) else np.asarray(matrix)
    with np.errstate(invalid="ignore"):
        sums = np.asarray(matrix.sum(axis=1)).ravel()
        proper = np.abs(sums - 1.0) <= _SUM
    if not proper.all():
        first = int(np.argmin(proper))
        raise ValueError(f"{name} must hold probabilities that add up to one; got {sums[first]:.6g} in row {first}")
    if not (entries >= 0).all():
        raise ValueError(f"{name} must hold probabilities; got {entries.min():.6g}")
    return matrix


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """A decision problem of finitely many levels, with expected rewards and probabilities of the next state.

    In each level one is in a state, chooses an action, earns, and goes on to a state of the next level. The numbers of
    states and actions may differ between levels.

    Parameters
    ----------
    rewards : sequence of array-like of shape (n_states, n_actions)
        Expected rewards, one matrix for each level.
    transitions : sequence of array-like of shape (n_states, n_actions, n_next), or sparse matrices
        Probabilities of the next state, for each level but the last. A sparse matrix has one row for each pair of state
        and action, actions varying fastest.
    initial : array-like of shape (n_states,)
        Probabilities of the first state.

    Raises
    ------
    ValueError
        If shapes do not fit, rewards are not finite, or rows are not probabilities.

    Examples
    --------
    >>> from sparsetheory.bandits import TabularMDP
    >>> mdp = TabularMDP([[[0.0, 0.1]], [[1.0], [0.0]]], [[[[1.0, 0.0], [0.0, 1.0]]]], [1.0])
    >>> mdp.n_levels, mdp.optimal_value(), mdp.value([[1], [0, 0]])
    (2, 1.0, 0.1)
    """

    rewards: Sequence[Any]
    transitions: Sequence[Any]
    initial: Any

    def __post_init__(self) -> None:
        rewards = tuple(np.array(level, dtype=np.float64) for level in self.rewards)
        if not rewards or any(level.ndim != 2 or not level.size for level in rewards):
            raise ValueError("rewards must be one matrix of states and actions for each of at least one level")
        for h, level in enumerate(rewards):
            if not np.isfinite(level).all():
                row = int(np.argmin(np.isfinite(level).all(axis=1)))
                raise ValueError(f"rewards must be finite; got NaN or infinity in level {h}, state {row}")
        if len(self.transitions) != len(rewards) - 1:
            raise ValueError(f"transitions must be given for {len(rewards) - 1} levels; got {len(self.transitions)}")
        transitions = []
        for h, given in enumerate(self.transitions):
            name, pairs = f"transitions[{h}]", rewards[h].size
            if not sparse.issparse(given):
                given = np.asarray(given)
                if given.shape != (*rewards[h].shape, len(rewards[h + 1])):
                    expected = (*rewards[h].shape, len(rewards[h + 1]))
                    raise ValueError(f"{name} must be of shape {expected}; got shape {given.shape}")
                given = given.reshape(pairs, -1)
            matrix = _distributions(name, given, len(rewards[h + 1]))
            if len(rewards[h]) * rewards[h].shape[1] != matrix.shape[0]:
                raise ValueError(f"{name} must have one row for each of {pairs} pairs; got {matrix.shape[0]}")
            transitions.append(matrix)
        initial = _distributions("initial", np.atleast_2d(self.initial), len(rewards[0]))[0]
        object.__setattr__(self, "rewards", rewards)
        object.__setattr__(self, "transitions", tuple(transitions))
        object.__setattr__(self, "initial", initial)

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return len(self.rewards)

    def ahead(self, level: int, values: Float64Array) -> Float64Array:
        """Return expected values of the next state, for all states and actions of a level; zero after the last."""
        if level == self.n_levels - 1:
            return np.zeros(self.rewards[level].shape)
        return np.asarray(self.transitions[level] @ values).reshape(self.rewards[level].shape)

    def chances(self, level: int, decisions: ArrayLike) -> Float64Array:
        """Return a policy of one level as probabilities.

        Parameters
        ----------
        level : int
        decisions : array-like of int of shape (n_states,), or of float of shape (n_states, n_actions)
            An action for each state, or probabilities.

        Returns
        -------
        ndarray of shape (n_states, n_actions)
        """
        shape, given = self.rewards[level].shape, np.asarray(decisions)
        if given.shape == shape and given.dtype.kind == "f":
            return np.asarray(_distributions(f"policy[{level}]", given, shape[1]))
        if given.shape != shape[:1] or given.dtype.kind not in "iu" or not 0 <= given.min() <= given.max() < shape[1]:
            raise ValueError(
                f"policy[{level}] must be an action below {shape[1]} for each of {shape[0]} states, or probabilities "
                f"of shape {shape}; got {given.dtype} of shape {given.shape}"
            )
        return np.eye(shape[1])[given]

    def advance(self, level: int, occupancy: Float64Array, decisions: ArrayLike) -> Float64Array:
        """Return the distribution of the next state, given that of the state and a policy of one level."""
        pairs = occupancy[:, None] * self.chances(level, decisions)
        return np.asarray(self.transitions[level].T @ pairs.ravel())

    def optimal_q(self) -> tuple[Float64Array, ...]:
        """Return, level by level, what each action earns from then on if all later ones are best."""
        found: list[AnyArray] = [self.rewards[-1]]
        for level in range(self.n_levels - 2, -1, -1):
            found.insert(0, self.rewards[level] + self.ahead(level, found[0].max(axis=1)))
        return tuple(found)

    def policy_q(self, policy: Sequence[ArrayLike]) -> tuple[Float64Array, ...]:
        """Return, level by level, what each action earns from then on if a policy goes on.

        Parameters
        ----------
        policy : sequence of array-like
            For each level as in :meth:`chances`.
        """
        self._require_levels(policy)
        found: list[AnyArray] = [self.rewards[-1]]
        for level in range(self.n_levels - 2, -1, -1):
            values = (self.chances(level + 1, policy[level + 1]) * found[0]).sum(axis=1)
            found.insert(0, self.rewards[level] + self.ahead(level, values))
        return tuple(found)

    def optimal_value(self) -> float:
        """Return the most that a policy earns, by going back from the last level."""
        return float(self.initial @ self.optimal_q()[0].max(axis=1))

    def value(self, policy: Sequence[ArrayLike]) -> float:
        """Return what a policy earns, by going forward with the distribution of states.

        Parameters
        ----------
        policy : sequence of array-like
            For each level as in :meth:`chances`.
        """
        self._require_levels(policy)
        total, occupancy = 0.0, self.initial
        for level, decisions in enumerate(policy):
            total += float(occupancy @ (self.chances(level, decisions) * self.rewards[level]).sum(axis=1))
            if level < self.n_levels - 1:
                occupancy = self.advance(level, occupancy, decisions)
        return total

    def _require_levels(self, policy: Sequence[ArrayLike]) -> None:
        if len(policy) != self.n_levels:
            raise ValueError(f"policy must be given for {self.n_levels} levels; got {len(policy)}")
