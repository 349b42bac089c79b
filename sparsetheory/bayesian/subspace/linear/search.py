"""The search for a subspace: its bound, and the moves that raise it."""

import math

import numpy as np

from sparsetheory.bayesian.subspace.linear.spectrum import SubspaceSpectrum
from sparsetheory.numba_kernels.quadratic.subspace_ascent import exchange_gains, grow, refit, swap
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["SubspaceSearch"]

# Gram rows computed in one pass over the data: the second to sixteenth cost little.
_ROWS = 16
# Known Gram rows beyond those of the active columns are forgotten where they would take more bytes.
_MEMORY = 2**27
# The bound is a difference of terms as large as kappa y'y, each known to some units of rounding.
_ROUNDING = 32.0 * float(np.finfo(np.float64).eps)
# Share of the trace of a Gram matrix that rounding may make of an eigenvalue of zero.
_SINGULAR = 16.0 * float(np.finfo(np.float64).eps)


class SubspaceSearch:
    r"""Subspaces of s columns, the exact posterior mean on each, and the bound up to terms that no subspace changes.

    Parameters
    ----------
    F : ndarray of shape (M, N)
        Design.
    y : ndarray of shape (M,)
        Data.
    size : int
        Columns of a subspace, at most the number of columns that are not zero.
    unit : float
        What columns are divided by; y comes divided by its unit.

    Attributes
    ----------
    squares : ndarray of shape (N,)
        Squares of the columns.
    usable : ndarray of bool of shape (N,)
        Columns that are not zero.
    typical, energy : float
        Mean square of those, and square of the data.
    bound : float
        Bound on the current subspace.
    kappa, prior : float
        Precision of the noise and variance of the prior.

    Notes
    -----
    Data are seen through :math:`F^\top y` and rows of :math:`F^\top F`, which are computed when a column first becomes
    likely to enter: O(MN) each, and none of the N^2 entries that nobody asks for. An exchange costs O(sN + s^2).
    """

    def __init__(self, F: Float64Array, y: Float64Array, size: int, unit: float) -> None:
        self._F, self._y, self._unit, n = F, y, unit, F.shape[1]
        self.squares = np.einsum("ij,ij->j", F, F) / unit**2
        self.usable = self.squares > 0
        self.typical = float(self.squares[self.usable].mean()) if self.usable.any() else 1.0
        self.b = (y @ F) / unit
        self.energy = float(y @ y)
        self._gram = np.empty((min(n, 2 * size + _ROWS), n))
        self._place = np.full(n, -1, dtype=np.int64)
        self._known: list[int] = []
        self._active = np.zeros(size, dtype=np.int64)
        self._is_active: BoolArray = np.zeros(n, dtype=np.bool_)
        self._mean, self._factor = np.zeros(size), np.zeros((size, size))
        self._g, self._best = np.empty(n), np.empty(n)
        self.kappa = self.prior = self.bound = math.nan

    @property
    def active(self) -> IndexArray:
        """The columns, in no order."""
        return self._active.astype(np.intp)

    @property
    def mean(self) -> Float64Array:
        """Posterior means of the active columns."""
        return self._mean.copy()

    @property
    def variance(self) -> Float64Array:
        """Variances of their factors."""
        return 2.0 * self._weight[self._active]

    @property
    def least_gain(self) -> float:
        """Gains up to here may be rounding."""
        return _ROUNDING * (1.0 + self.kappa * self.energy)

    def rounding(self, mean: Float64Array) -> float:
        """Return what of a gain may be rounding at means of the active columns, whose terms may exceed the data."""
        terms, size = np.sqrt(self.squares[self._active]) * np.abs(mean), math.sqrt(self.energy)
        # An exchange gives back the term of the column that leaves, of which the residual holds all.
        return _ROUNDING * (1.0 + self.kappa * (size + float(terms.max(initial=0.0))) * (size + float(terms.sum())))

    def spectrum(self, active: IndexArray | None = None) -> SubspaceSpectrum:
        """Decompose the columns of a subspace, by default of the current one."""
        return SubspaceSpectrum.of(self._F[:, self._active if active is None else active] / self._unit, self._y)

    def assume(self, kappa: float, prior: float) -> None:
        """Set the precision of the noise and the variance of the prior."""
        self.kappa, self.prior = kappa, prior
        curvature = kappa * prior * self.squares
        # The diagonal of the precision matrix in units of the prior, never below the rounding of its other entries.
        largest = float(curvature.max(initial=0.0)) * max(self._active.size, 1)
        self._ridge = max(1.0, _SINGULAR * largest)
        self._weight = 0.5 * prior / (1.0 + curvature)
        self._cost = np.where(self.usable, 0.5 * np.log1p(curvature), np.inf)

    def solve(self, active: IndexArray | None = None) -> float:
        """Solve on the columns given, by default on the active ones again; return the bound."""
        if active is not None:
            self._active[:] = active
            self.learn(self._active)
        given = (self._gram, self._place, self.b, self._cost, *self._moves())
        self.bound = refit(*given, self._active.size, self.kappa, self.prior, self._ridge)
        return self.bound

    def grow(self) -> None:
        """Start from nothing, and add the column that gains most until the subspace is full."""
        self._is_active[:] = False
        size = 0
        while True:
            given = (self._gram, self._place, self.b, self._weight, self._cost, *self._moves())
            size, needed = grow(*given, size, self.kappa, self.prior, self._ridge, self._g, self._best)
            if needed < 0:
                break
            self._learn_with(needed, self._active[:size])
        self.solve()

    def swap(self, least_gain: float, most: int) -> tuple[Float64Array, bool]:
        """Exchange columns until no exchange gains more than `least_gain`.

        Parameters
        ----------
        least_gain : float
            In nats; gains below rounding do not count either.
        most : int
            Most exchanges.

        Returns
        -------
        bounds : ndarray
            The bound before the first and after every exchange, strictly increasing.
        at_rest : bool
            Whether no exchange gained enough.
        """
        bounds, done = np.empty(min(most, 64) + 1), 0
        bounds[0] = self.bound
        least = max(least_gain, self.least_gain)
        while True:
            given = (self._gram, self._place, self.b, self._weight, self._cost, *self._moves(), self._active.size)
            done, needed = swap(*given, self.kappa, self.prior, self._ridge, self._g, self._best, least, bounds, done)
            if needed >= 0:
                self._learn_with(needed, self._active)
            elif done + 1 < bounds.size or done == most:
                break
            else:
                bounds = np.concatenate([bounds, np.empty(min(most - done, bounds.size))])
        self.bound = float(bounds[done])
        return bounds[: done + 1].copy(), done < most

    def best_exchange(self, mean: Float64Array) -> tuple[float, IndexArray]:
        """Return the largest gain of one exchange, and the columns after it.

        Parameters
        ----------
        mean : ndarray of shape (s,)
            Posterior means of the active columns, known to more digits than those that Gram matrices give. The gradient
            is found from the residual, for the same reason: O(MN).
        """
        active = self._active
        left = self._y - self._F[:, active] @ (mean / self._unit)
        g = self.kappa * (left @ self._F) / self._unit
        given = (self._gram, self._place, self._weight, self._cost, active, mean, self.kappa)
        exchange_gains(*given, g, self._best)
        self._best[active] = -np.inf
        gain = float(self._best.max(initial=-np.inf))
        if gain == -np.inf:
            return gain, self.active
        j = int(np.argmax(self._best))
        slopes = g[j] + self.kappa * mean * self._gram[self._place[active], j]
        leaving = self._cost[active] - mean**2 / (4.0 * self._weight[active])
        at = int(np.argmax(leaving + self._weight[j] * slopes**2))
        # In order, so that the bound of a subspace is the same to the last bit whenever it is met.
        return gain, np.sort(np.append(np.delete(self.active, at), j))

    def gradient(self, active: IndexArray, mean: Float64Array) -> Float64Array:
        """Return the gradient of the bound by every coefficient, for means on some columns whose rows are known."""
        return self.kappa * (self.b - mean @ self._gram[self._place[active]])

    def learn(self, wanted: IndexArray) -> None:
        """Compute Gram rows of some columns in one pass over the data."""
        new = wanted[self._place[wanted] < 0]
        if new.size == 0:
            return
        if len(self._known) + new.size > self._gram.shape[0]:
            self._make_room(new.size, wanted)
        end = len(self._known) + new.size
        np.matmul(self._F[:, new].T, self._F, out=self._gram[len(self._known) : end])
        self._gram[len(self._known) : end] /= self._unit**2
        self._place[new] = np.arange(len(self._known), end)
        self._known += new.tolist()

    def _learn_with(self, needed: int, active: IndexArray) -> None:
        """Compute the row of a column, and of others that gained much in the last pass and may follow it."""
        gains = np.where(self._place < 0, self._best, -np.inf)
        gains[needed] = np.inf
        count = min(_ROWS, gains.size)
        leading = np.argpartition(-gains, count - 1)[:count]
        self.learn(np.concatenate([active, leading[gains[leading] > -np.inf]]))

    def _make_room(self, count: int, wanted: IndexArray) -> None:
        """Enlarge the array of rows, or forget those that are not wanted where it would become too large."""
        n = self._place.size
        kept = np.array(self._known, dtype=np.int64)
        if 8 * n * 2 * self._gram.shape[0] > _MEMORY:
            kept = kept[np.isin(kept, wanted)]
        rows = self._gram[self._place[kept]]
        room = max(kept.size + count, min(n, 2 * self._gram.shape[0], max(1, _MEMORY // (8 * n))))
        self._gram = np.empty((room, n))
        self._gram[: kept.size] = rows
        self._place[:] = -1
        self._place[kept] = np.arange(kept.size)
        self._known = kept.tolist()

    def _moves(self) -> tuple[Float64Array, BoolArray, Float64Array, Float64Array]:
        return self._active, self._is_active, self._mean, self._factor  # type: ignore[return-value]
