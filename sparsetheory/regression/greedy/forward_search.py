"""State of a forward selection between two steps: residual, correlations, what is left of every column."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.numba_kernels.greedy.stepwise import advance, best_column
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.orthonormal import outside
from sparsetheory.typing import Float64Array

__all__ = ["Candidate", "ForwardSearch"]


# A column of which a smaller fraction of its square is left depends on what is fitted already. Differences of squares
# are accurate to about 1e-4 there, and the winner is formed explicitly.
_DEPENDENT = 1e-12
# A score above what the column itself gives by more than this was flattered by rounding.
_FLATTERED = 1e-6
# Correlations are recomputed from the residual after so many updates, or such a drop of its square.
_REFRESH_STEPS = 10
_REFRESH_DROP = 1e-8


@dataclass(frozen=True)
class Candidate:
    """What is left of one column: unit direction, squared length, and inner product with the residual.

    Attributes
    ----------
    index : int
        The column.
    direction : ndarray of shape (n_samples,)
        Unit vector, orthogonal to everything that is fitted.
    square : float
        Squared length before normalisation.
    coordinate : float
        Inner product of direction and residual; its square is the drop of the residual sum of squares.
    """

    index: int
    direction: Float64Array
    square: float
    coordinate: float


class ForwardSearch:
    """A forward selection that can be stopped after every step.

    Parameters
    ----------
    columns : Columns
        Design, seen through a projection.
    y : ndarray of shape (n_samples,)
        Response, projected alike.
    squares : ndarray of shape (n_features,)
        Squared norms of the projected columns.
    steps : int
        Room for so many columns.
    fixed_norms : bool
        Compare correlations with `squares`, not with what the selected columns leave of them.
    """

    def __init__(self, columns: Columns, y: Float64Array, squares: Float64Array, steps: int, fixed_norms: bool) -> None:
        self.columns = columns
        self.fixed_norms = fixed_norms
        self.residual = y
        self.correlations = columns.inner(y)
        self.left = squares.copy()
        self.floors = _DEPENDENT * squares
        self.basis = np.empty((y.size, steps), order="F")
        self.indices: list[int] = []
        self.coordinates: list[float] = []
        self.rss = [float(y @ y)]
        self._refreshed = 0

    @property
    def size(self) -> int:
        """Number of selected columns."""
        return len(self.indices)

    def propose(self) -> Candidate | None:
        """Return the best column, once its score is confirmed by the column itself; None if no column is left."""
        # 1. The best column by updated numbers, which are sums of differences and may flatter a column.
        index, score = self._account()
        examined: set[int] = set()
        while index >= 0:
            # 2. What the column itself says. It is accepted if that confirms its score; else its numbers are corrected,
            # and the best column is looked for again.
            candidate = self._examine(index)
            # `not >`, so that NaN depends. A column that comes back is the best: its score is its own by now.
            dependent = not candidate.square > self.floors[index]
            confirmed = index in examined or candidate.coordinate**2 >= (1 - _FLATTERED) * score
            if not dependent and confirmed:
                return candidate
            examined.add(index)
            self.correlations[index] = candidate.coordinate * np.sqrt(candidate.square)
            if dependent:
                self.left[index] = 0.0
            elif not self.fixed_norms:
                self.left[index] = candidate.square
            index, score = best_column(self.correlations, self.left, self.floors)
        return None

    def accept(self, candidate: Candidate) -> None:
        """Fit the candidate's direction and remove it from the residual."""
        self.basis[:, self.size] = candidate.direction
        self.indices.append(candidate.index)
        self.coordinates.append(candidate.coordinate)
        self.left[candidate.index] = 0.0
        self.residual = self.residual - candidate.coordinate * candidate.direction
        self.rss.append(float(self.residual @ self.residual))

    def _account(self) -> tuple[int, float]:
        """Bring the correlations up to date with the last direction: one pass over the design, rarely two."""
        if self.size == 0:
            return best_column(self.correlations, self.left, self.floors)
        stale = self._is_stale()
        if stale:
            self.residual = self._orthogonalise(self.residual)
            self._refreshed = self.size
        if not self.fixed_norms:
            inner = self.columns.inner(self.basis[:, self.size - 1])
            best = advance(self.correlations, self.left, self.floors, inner, self.coordinates[-1])
        if not (self.fixed_norms or stale):
            return best
        self.correlations = self.columns.inner(self.residual)
        return best_column(self.correlations, self.left, self.floors)

    def _is_stale(self) -> bool:
        dropped = self.rss[-1] < _REFRESH_DROP * self.rss[self._refreshed]
        return dropped or self.size - self._refreshed >= _REFRESH_STEPS

    def _examine(self, index: int) -> Candidate:
        """Form what is left of one column, projecting twice: the first time cancels digits."""
        column = self.columns.take(np.array([index]))[:, 0]
        column = self._orthogonalise(self._off_chosen(column))
        length = float(np.linalg.norm(column))
        direction = column / length if length > 0 else column
        return Candidate(index, direction, length**2, float(direction @ self.residual))

    def _orthogonalise(self, vector: Float64Array) -> Float64Array:
        return self.columns.project(self._off_chosen(vector))

    def _off_chosen(self, vector: Float64Array) -> Float64Array:
        return outside(self.basis[:, : self.size], vector)
