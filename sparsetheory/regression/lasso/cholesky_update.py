"""Systems with nearby principal submatrices of one Gram matrix, without factoring each."""

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtrs

from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["UpdatedCholesky"]

# Removed members stay in the factor up to this many: each costs two triangular solves, a new factor k/6 of those.
_MAX_REMOVED = 32
# A member with a smaller fraction of its square left depends on the others: the solution would be rounding.
_DEPENDENT = 1e-14
# Below this fraction a solution has few correct digits.
_DOUBTFUL = 1e-10


class UpdatedCholesky:
    """A Cholesky factor of the Gram matrix of some members.

    Working sets change by a few features from one system to the next. Members that are added border the factor;
    members that are taken out stay in it, and a small system holds their part of the solution at zero.

    Notes
    -----
    *Adding.* With ``G = L L'`` for the old members, new columns c and their own block d give the factor
    ``[[L, 0], [C', M]]`` with ``L C = c`` and ``M M' = d - C'C``. O(k^2) per new member.

    *Removing.* Let R be the members that should be zero, E the columns of the identity at R, and x0 the solution of
    ``G x = rhs`` over all members, `rhs` being zero on R. Then ``x = x0 - G^{-1} E h`` solves the equations of the
    members outside R for every h, and is zero on R if ``(E' G^{-1} E) h = x0[R]``: a system of the size of R. O(k^2)
    per removed member.

    *Invariant.* `lower` is the factor of ``gram[members][:, members]`` at all times.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.members: IndexArray = np.empty(0, dtype=np.intp)
        self.lower = np.empty((0, 0), order="F")
        self._least_left = 1.0

    @property
    def doubtful(self) -> bool:
        """Whether some member nearly depends on the others."""
        return self._least_left < _DOUBTFUL

    def solve(self, gram: Float64Array, active: IndexArray, rhs: Float64Array) -> Float64Array | None:
        """Solve ``gram[active][:, active] z = rhs``.

        Parameters
        ----------
        gram : ndarray of shape (capacity, capacity)
            The same matrix at every call, as far as its members go.
        active : ndarray of int
            Sorted positions.
        rhs : ndarray of shape (active.size,)
            Right-hand side.

        Returns
        -------
        ndarray of shape (active.size,) or None
            None where the submatrix is not positive definite to working precision.
        """
        # 1. Make sure that the factor contains all active members; it may contain more.
        if not self._cover(gram, active):
            return None
        # 2. Solve over all members, with zeros on the right for those that are not active.
        inside = np.isin(self.members, active, assume_unique=True)
        place = np.empty(gram.shape[0], dtype=np.intp)
        place[self.members] = np.arange(self.members.size)
        where = place[active]
        right = np.zeros((self.members.size, 1), order="F")
        right[where, 0] = rhs
        solution = dpotrs(self.lower, right, lower=True)[0][:, 0]
        # 3. Hold the members that are not active at zero.
        removed = np.flatnonzero(~inside)
        if removed.size:
            solution = self._hold(solution, removed)
        return np.asarray(solution[where])

    def _hold(self, solution: Float64Array, removed: IndexArray) -> Float64Array:
        """Correct a solution so that removed members are zero in it."""
        units = np.zeros((self.members.size, removed.size), order="F")
        units[removed, np.arange(removed.size)] = 1.0
        columns = dpotrs(self.lower, units, lower=True)[0]
        held = np.linalg.lstsq(columns[removed], solution[removed])[0]
        return np.asarray(solution - columns @ held)

    def _cover(self, gram: Float64Array, active: IndexArray) -> bool:
        """Make the factor contain all active members."""
        shared = np.intersect1d(self.members, active, assume_unique=True).size
        if self.members.size - shared > _MAX_REMOVED or active.size - shared > max(_MAX_REMOVED, shared // 2):
            self.reset()
        new = np.setdiff1d(active, self.members, assume_unique=True)
        return new.size == 0 or self._border(gram, new)

    def _border(self, gram: Float64Array, new: IndexArray) -> bool:
        old = self.members.size
        coupling = np.empty((old, new.size), order="F")
        if old:
            coupling = dtrtrs(self.lower, np.asfortranarray(gram[np.ix_(self.members, new)]), lower=True)[0]
        corner, info = dpotrf(gram[np.ix_(new, new)] - coupling.T @ coupling, lower=True)
        left = float(np.min(np.diagonal(corner) ** 2 / np.diagonal(gram)[new])) if info == 0 else 0.0
        if left < _DEPENDENT:
            self.reset()
            self._least_left = left
            return False
        self._least_left = min(self._least_left, left)
        lower = np.zeros((old + new.size, old + new.size), order="F")
        lower[:old, :old] = self.lower
        lower[old:, :old] = coupling.T
        lower[old:, old:] = corner
        self.lower = lower
        self.members = np.concatenate([self.members, new])
        return True
