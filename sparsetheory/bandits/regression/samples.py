"""What was sampled: actions, and their rewards."""

from dataclasses import dataclass, replace

import numpy as np

from sparsetheory.typing import AnyArray, Float64Array, IndexArray, Int64Array

__all__ = ["Samples"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Queries of one experiment.

    Parameters
    ----------
    actions : ndarray of int
        Actions that were queried.
    counts : ndarray of int
        How many queries each entry stands for.
    observed : ndarray of float
        Their mean rewards.
    """

    actions: IndexArray
    counts: Int64Array
    observed: Float64Array

    @classmethod
    def of(cls, actions: IndexArray, rewards: Float64Array) -> "Samples":
        """Return single queries."""
        return cls(actions, np.ones(len(actions), dtype=np.int64), rewards)

    def merged(self) -> "Samples":
        """Return the same with each action once: least squares, penalised or not, see no difference."""
        actions, which = np.unique(self.actions, return_inverse=True)
        counts = np.bincount(which, self.counts)
        means = np.bincount(which, self.counts * self.observed) / counts
        return replace(self, actions=actions, counts=counts.astype(np.int64), observed=means)

    @property
    def total(self) -> int:
        """Number of queries."""
        return int(self.counts.sum())

    def rows(self, features: AnyArray) -> Float64Array:
        """Return the features of the entries."""
        return np.asarray(features[self.actions], dtype=np.float64)
