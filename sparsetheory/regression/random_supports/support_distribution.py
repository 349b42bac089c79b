"""The distribution of random supports, and of anchors drawn blindly from it."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["SupportDistribution"]


class SupportDistribution:
    """Distinct columns, uniform or by given probabilities, never zero ones.

    Supports and anchors come from two streams: how many supports are drawn at a time changes no anchor.

    Parameters
    ----------
    usable : ndarray of bool, shape (n_features,)
        Columns that are not zero.
    prior : array-like of shape (n_features,) or None
        Relative probabilities; uniform by default.
    n_nonzero : int
        Size of the supports, at most the number of usable columns where a prior is given.
    random_state : Generator
        Seed of both streams.

    Attributes
    ----------
    columns : ndarray of int
        Columns that a support may contain.
    prior : ndarray of shape (n_features,) or None
        As given.
    """

    def __init__(
        self, usable: BoolArray, prior: ArrayLike | None, n_nonzero: int, random_state: np.random.Generator
    ) -> None:
        self.prior = None if prior is None else _checked(prior, usable.size)
        if self.prior is not None:
            drawable = usable & (self.prior > 0)
            count = int(np.count_nonzero(drawable))
            if count < min(n_nonzero, int(np.count_nonzero(usable))):
                raise ValueError(
                    f"support_prior must be positive for at least n_nonzero={n_nonzero} columns that are not zero; "
                    f"got {count}"
                )
            usable = drawable
        self.columns: IndexArray = np.flatnonzero(usable)
        # A support cannot be larger than what there is to draw from.
        self.size = min(n_nonzero, self.columns.size)
        self._supports, self._anchors = np.random.default_rng(random_state.integers(2**63, size=4)).spawn(2)
        self._probabilities = None if self.prior is None else self.prior[self.columns] / self.prior[self.columns].sum()
        self._cumulated = None if self._probabilities is None else np.cumsum(self._probabilities)

    def supports(self, count: int) -> IndexArray:
        """Draw supports, shape (count, n_nonzero)."""
        return np.stack([self._distinct(self._supports, self.size) for _ in range(count)])

    def block(self) -> IndexArray:
        """Draw distinct columns from the stream of anchors, one less than a support has."""
        return self._distinct(self._anchors, self.size - 1)

    def anchors(self, count: int) -> IndexArray:
        """Draw anchors: `count` distinct ones where all columns are alike, else the distinct ones of `count` draws."""
        if self._probabilities is None:
            return self._distinct(self._anchors, count)
        return np.unique(self._anchors.choice(self.columns, count, p=self._probabilities))

    def _distinct(self, rng: np.random.Generator, count: int) -> IndexArray:
        if self._probabilities is None or self._cumulated is None:
            return self.columns[rng.choice(self.columns.size, count, replace=False, shuffle=False)]
        drawn = np.minimum(np.searchsorted(self._cumulated, rng.random(count), "right"), self.columns.size - 1)
        # What is missing follows the same distribution on the other columns. Only that rare step looks at all of them.
        found = np.unique(drawn)
        if found.size < count:
            rest = self._probabilities.copy()
            rest[found] = 0.0
            missing = rng.choice(rest.size, count - found.size, replace=False, p=rest / rest.sum())
            found = np.concatenate([found, missing])
        return self.columns[found]


def _checked(prior: ArrayLike, n_features: int) -> Float64Array:
    given = finite_array("support_prior", prior).astype(np.float64)
    if given.shape != (n_features,) or np.any(given < 0) or not given.any():
        raise ValueError(
            f"support_prior must be {n_features} finite non-negative numbers, one per feature, not all zero; "
            f"got {prior!r}"
        )
    return given / given.max()
