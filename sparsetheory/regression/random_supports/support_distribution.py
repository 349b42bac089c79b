"""The law of random supports, and of anchors drawn blindly from it."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["SupportLaw"]


class SupportLaw:
    """Distinct columns, uniform or by given probabilities, never zero ones.

    Supports and anchors come from two streams: how many supports are drawn at a time changes no anchor.

    Parameters
    ----------
    usable : ndarray of bool, shape (n_features,)
        Columns that are not zero.
    prior : array-like of shape (n_features,) or None
        Relative probabilities; uniform by default.
    k : int
        Size of the supports, at most the number of usable columns where a prior is given.
    rng : Generator
        Seed of both streams.

    Attributes
    ----------
    columns : ndarray of int
        Columns that a support may contain.
    prior : ndarray of shape (n_features,) or None
        As given.
    """

    def __init__(self, usable: BoolArray, prior: ArrayLike | None, k: int, rng: np.random.Generator) -> None:
        self.prior = None if prior is None else _checked(prior, usable.size)
        if self.prior is not None:
            drawable = usable & (self.prior > 0)
            count = int(np.count_nonzero(drawable))
            if count < min(k, int(np.count_nonzero(usable))):
                raise ValueError(
                    f"support_prior must be positive for at least k={k} columns that are not zero; got {count}"
                )
            usable = drawable
        self.columns: IndexArray = np.flatnonzero(usable)
        # A support cannot be larger than what there is to draw from.
        self.size = min(k, self.columns.size)
        self._supports, self._anchors = np.random.default_rng(rng.integers(2**63, size=4)).spawn(2)
        self._shares = None if self.prior is None else self.prior[self.columns] / self.prior[self.columns].sum()
        self._cumulated = None if self._shares is None else np.cumsum(self._shares)

    def supports(self, count: int) -> IndexArray:
        """Draw supports, shape (count, k)."""
        return np.stack([self._distinct(self._supports, self.size) for _ in range(count)])

    def block(self) -> IndexArray:
        """Draw k - 1 distinct columns from the stream of anchors."""
        return self._distinct(self._anchors, self.size - 1)

    def anchors(self, m: int) -> IndexArray:
        """Draw anchors: m distinct ones where all columns are alike, else the distinct ones among m draws."""
        if self._shares is None:
            return self._distinct(self._anchors, m)
        return np.unique(self._anchors.choice(self.columns, m, p=self._shares))

    def _distinct(self, rng: np.random.Generator, count: int) -> IndexArray:
        if self._shares is None or self._cumulated is None:
            return self.columns[rng.choice(self.columns.size, count, replace=False, shuffle=False)]
        drawn = np.minimum(np.searchsorted(self._cumulated, rng.random(count), "right"), self.columns.size - 1)
        # What is missing follows the same law on the other columns. Only that rare step looks at all of them.
        found = np.unique(drawn)
        if found.size < count:
            rest = self._shares.copy()
            rest[found] = 0.0
            missing = rng.choice(rest.size, count - found.size, replace=False, p=rest / rest.sum())
            found = np.concatenate([found, missing])
        return self.columns[found]


def _checked(prior: ArrayLike, d: int) -> Float64Array:
    given = finite_array("support_prior", prior).astype(np.float64)
    if given.shape != (d,) or np.any(given < 0) or not given.any():
        raise ValueError(
            f"support_prior must be {d} finite non-negative numbers, one per feature, not all zero; got {prior!r}"
        )
    return given / given.max()
