"""What was asked and answered, in the order of the answers."""

from dataclasses import dataclass, field

import numpy as np

from sparsetheory.typing import Float64Array, IndexArray, Int64Array

__all__ = ["MeanRewards", "QueryLog"]


@dataclass(frozen=True, eq=False)
class MeanRewards:
    """Actions that were queried, each once, in the order of their first answer.

    Parameters
    ----------
    actions : ndarray of int
    rewards : ndarray of float
        Mean rewards.
    counts : ndarray of int
        Numbers of answers.
    """

    actions: IndexArray
    rewards: Float64Array
    counts: Int64Array


@dataclass(eq=False)
class QueryLog:
    """A growing record of queries.

    Attributes
    ----------
    actions, rewards, propensities : ndarray of shape (n_queries,)
        Actions, their rewards, and the probabilities with which they were chosen.
    """

    _parts: list[tuple[IndexArray, Float64Array, Float64Array]] = field(default_factory=list)
    _length: int = 0

    def __len__(self) -> int:
        return self._length

    def add(self, actions: IndexArray, rewards: Float64Array, propensities: Float64Array) -> None:
        """Append answers."""
        self._parts.append((actions, rewards, propensities))
        self._length += len(actions)

    @property
    def actions(self) -> IndexArray:
        """Actions that were queried."""
        return self._column(0).astype(np.intp)

    @property
    def rewards(self) -> Float64Array:
        """Their rewards."""
        return self._column(1)

    @property
    def propensities(self) -> Float64Array:
        """Probabilities with which the actions were chosen."""
        return self._column(2)

    def means(self) -> MeanRewards:
        """Return mean rewards."""
        distinct, first, which, counts = np.unique(
            self.actions, return_index=True, return_inverse=True, return_counts=True
        )
        means = np.bincount(which, self.rewards, len(distinct)) / counts
        order = np.argsort(first, kind="stable")
        return MeanRewards(distinct[order], means[order], counts[order])

    def _column(self, which: int) -> Float64Array:
        if len(self._parts) > 1:  # joined once, not at every look
            self._parts = [tuple(np.concatenate(columns) for columns in zip(*self._parts, strict=True))]  # type: ignore[list-item]
        return np.asarray(self._parts[0][which]) if self._parts else np.empty(0)
