"""Which positions along axes hold the same channel, and which channels can be permuted as one set.

Every position along a channel axis is a number here. Positions that must move alike are merged into a class, by union
and find. A class remembers the marks of the axes that it has positions in; classes with equal marks form a set, whose
members any permutation may exchange.
"""

from collections.abc import Hashable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["Classes", "Positions"]

Positions = NDArray[np.int64]
_FIXED = 0


class Classes:
    """Positions, merged as the operations of a network demand."""

    def __init__(self) -> None:
        self._parent = [_FIXED]
        self._marks: list[set[Hashable]] = [set()]
        # Every axis that occurs, also between parameters.
        self._axes: dict[bytes, Positions] = {}

    def new(self, n: int, mark: Hashable) -> Positions:
        """Return n new positions that move independently of all others."""
        first = len(self._parent)
        self._parent += range(first, first + n)
        self._marks += [{mark} for _ in range(n)]
        return self.see(np.arange(first, first + n))

    def see(self, positions: Positions) -> Positions:
        """Remember an axis, and return it."""
        self._axes[positions.tobytes()] = positions
        return positions

    def mark(self, positions: Positions, mark: Hashable) -> None:
        """Keep apart what has a mark from what has not."""
        for position in positions.tolist():
            self._marks[self._root(position)].add(mark)

    def tie(self, a: Positions, b: Positions) -> None:
        """Demand that positions of two axes of the same length move alike, one by one."""
        for one, other in zip(a.tolist(), b.tolist(), strict=True):
            first, second = sorted((self._root(one), self._root(other)))
            if first != second:
                # The fixed class is the lowest, so that what is merged with it is fixed.
                self._parent[second] = first
                self._marks[first] |= self._marks[second]

    def fix(self, positions: Positions) -> None:
        """Demand that positions stay where they are."""
        self.tie(positions, np.full_like(positions, _FIXED))

    def sets(self) -> Iterator[Positions]:
        """Yield the sets of at least two classes, each as the lowest positions of its classes, in ascending order.

        Left out are sets of which some axis holds one class more often than another, since there is no rule then which
        of its positions corresponds to which.
        """
        members: dict[frozenset[Hashable], list[int]] = {}
        for position, parent in enumerate(self._parent):
            if position != _FIXED and position == parent:
                members.setdefault(frozenset(self._marks[position]), []).append(position)
        roots = self.roots()
        counts = [np.bincount(roots[axis], minlength=len(roots)) for axis in self._axes.values()]
        for classes in members.values():
            chosen = np.array(classes, dtype=np.int64)
            if len(chosen) > 1 and all((count[chosen] == count[chosen[0]]).all() for count in counts):
                yield chosen

    def roots(self) -> Positions:
        """Return the lowest position of the class of every position."""
        return np.array([self._root(position) for position in range(len(self._parent))], dtype=np.int64)

    def _root(self, position: int) -> int:
        while self._parent[position] != position:
            self._parent[position] = self._parent[self._parent[position]]
            position = self._parent[position]
        return position
