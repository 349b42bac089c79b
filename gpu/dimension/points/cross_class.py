"""The nearest pair of points of different classes, exactly."""

import math
from typing import Any

import torch
from torch import Tensor

from sparsetheory.gpu.dimension.points.rows import CentredRows, direct_squares

__all__ = ["nearest_of_different_classes"]

# Rows of a block against columns of it: on the CPU the product stays in the cache until its smallest entries are found.
_ROWS, _COLUMNS = 512, 1024
_ELSEWHERE = 16
# Pairs whose bound does not rule them out; for more of them in a block, all its pairs are looked at directly.
_CANDIDATES = 4096


def nearest_of_different_classes(X: Tensor, y: Tensor) -> tuple[int, int]:
    """Return the two rows of different classes with the smallest distance; there must be two classes.

    Matrix products give a lower bound of every distance. Only the pairs that the bound does not rule out are looked at,
    by differences of their coordinates in double precision. So the result is that of differences alone, whatever the
    products lose to cancellation. O(n^2 p) time in products, and memory for two further copies of the points.

    Parameters
    ----------
    X : Tensor of shape (n, p)
    y : Tensor of int64 of shape (n,)
        Classes.
    """
    order = torch.argsort(y, stable=True)
    search = _Search(CentredRows.of(X[order]), y[order])
    n, larger = len(X), 1 if X.device.type == "cpu" else _ELSEWHERE
    rows, columns = _ROWS * larger, _COLUMNS * larger
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        # Classes are sorted, so pairs with rows before the first class of this block were looked at from there.
        first = int(torch.searchsorted(search.y, search.y[start], right=True))
        for column in range(first, n, columns):
            search.look(start, stop, column, min(column + columns, n))
    i, j = sorted(int(order[row]) for row in search.pair)
    return i, j


class _Search:
    """The nearest pair so far."""

    def __init__(self, points: CentredRows, y: Tensor) -> None:
        self.points, self.y = points, y
        self.least, self.pair = math.inf, (-1, -1)
        self._arrays: Any = None

    def look(self, start: int, stop: int, first: int, last: int) -> None:
        """Compare all pairs of a block of rows and a block of columns with the nearest pair so far."""
        if self.least == 0:
            return
        bounds = self.points.lower_bounds(start, stop, first, last)
        if bool(self.y[stop - 1] >= self.y[first]):
            bounds.masked_fill_(self.y[start:stop, None] == self.y[None, first:last], math.inf)
        rows = self.points.shrunk[start:stop]
        lowest = bounds.amin(1).add_(rows)
        row = int(lowest.argmin())
        if not float(lowest[row]) < self.least:
            return
        # The most promising pair first: what it comes to rules out most of the others.
        if float(lowest[row]) < math.inf:
            self._directly(torch.tensor([start + row]), torch.tensor([first + int(bounds[row].argmin())]))
        open_rows = torch.nonzero(lowest <= self.least)[:, 0]
        left = bounds[open_rows] <= (self.least - rows[open_rows].double())[:, None]
        if int(left.sum()) > _CANDIDATES:
            self._all_directly(start, stop, first, last)
        else:
            i, j = torch.nonzero(left, as_tuple=True)
            self._directly(open_rows[i] + start, j + first)

    def _directly(self, i: Tensor, j: Tensor) -> None:
        """Look at pairs by the differences of their coordinates."""
        if not len(i):
            return
        raw = self.points.raw
        squares = direct_squares(raw, i.to(raw.device), j.to(raw.device), self.points.scale)
        place = int(squares.argmin())
        if float(squares[place]) < self.least:
            self.least, self.pair = float(squares[place]), (int(i[place]), int(j[place]))

    def _all_directly(self, start: int, stop: int, first: int, last: int) -> None:
        from sparsetheory.numba_kernels.nearest_pair import nearest_pair

        if self._arrays is None:
            raw = self.points.raw
            kept = raw if raw.dtype in (torch.float32, torch.float64) else raw.float()
            self._arrays = kept.cpu().contiguous().numpy(), self.y.cpu().numpy()
        least, i, j = nearest_pair(*self._arrays, start, stop, first, last, self.points.scale, self.least)
        if i >= 0:
            self.least, self.pair = float(least), (int(i), int(j))
