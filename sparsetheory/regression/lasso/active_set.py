"""Minimise a small quadratic plus penalty, given its Gram matrix: sweeps and Newton steps in turn."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.lapack import dposv

from sparsetheory.numba_kernels.quadratic.coordinate_descent import (
    gram_sweeps,
    largest_violation,
    penalty_model,
    penalty_sum,
)
from sparsetheory.regression.lasso.cholesky_update import UpdatedCholesky
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["ActiveGram"]

# Sweeps between two Newton steps: enough to find which coefficients want to leave zero.
_SWEEPS = 3
# Shares of a Newton step that are tried when coefficients change sign on the way.
_FRACTIONS = (1.0, 0.5, 0.25, 0.125)
_ROUNDS = 500
# Objectives that differ by less, relative to their size, are equal.
_ROUNDING = 1e-14


class ActiveGram:
    """The problem restricted to a working set that grows and shrinks.

    Coordinate descent finds which coefficients are not zero; on a fixed pattern the penalty is smooth, and one Newton
    step (for the l1 norm: one linear system) ends what would take coordinate descent thousands of sweeps when columns
    are correlated.

    With Gram matrix G and linear term b, the objective is ``w'Gw / 2 - b'w + sum phi(w_j)``, and its negative gradient
    without the penalty is ``g = b - Gw``. On a fixed pattern of signs the Newton step solves
    ``(G + diag(phi'')) step = g - phi'`` over the coefficients that are not zero. Steps are accepted only if they lower
    the objective, and coefficients that cross zero on the way are set to zero: patterns never repeat, so the method
    ends. A sweep costs O(size) per coefficient that moves, a Newton step O(active^2) with an updated factor (l1 norm)
    or O(active^3) (other penalties).

    Attributes
    ----------
    size : int
        Number of members.
    w, g : ndarray of shape (capacity,)
        Coefficients and negative gradients; the leading `size` count.
    n_sweeps, n_newton : int
        Work done so far.
    """

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.size = 0
        self.gram = np.zeros((16, 16))
        self.b = np.zeros(16)
        self.w = np.zeros(16)
        self.g = np.zeros(16)
        self.factor = UpdatedCholesky()
        self.n_sweeps = 0
        self.n_newton = 0

    def extend(self, cross: Float64Array, own: Float64Array, b: Float64Array) -> None:
        """Append members: their Gram blocks with the old ones and among themselves, and their linear terms."""
        old, size = self.size, self.size + b.size
        self._reserve(size)
        self.gram[:old, old:size] = cross
        self.gram[old:size, :old] = cross.T
        self.gram[old:size, old:size] = own
        self.b[old:size] = b
        self.w[old:size] = 0.0
        self.size = size
        self.g[old:size] = b - cross.T @ self.w[:old]

    def keep(self, positions: IndexArray) -> None:
        """Drop all members but those at the given positions."""
        k = positions.size
        self.gram[:k, :k] = self.gram[np.ix_(positions, positions)]
        for vector in (self.b, self.w, self.g):
            vector[:k] = vector[positions]
        self.size = k
        self.factor.reset()

    def _reserve(self, size: int) -> None:
        capacity = self.b.size
        if size <= capacity:
            return
        room = max(size, 2 * capacity)
        gram = np.zeros((room, room))
        gram[: self.size, : self.size] = self.gram[: self.size, : self.size]
        self.gram = gram
        self.b, self.w, self.g = (np.pad(v, (0, room - capacity)) for v in (self.b, self.w, self.g))

    def minimise(self, alpha: Float64Array, shape: Float64Array, is_done: Callable[[], bool]) -> None:
        """Alternate Newton steps and sweeps until `is_done`.

        Parameters
        ----------
        alpha, shape : ndarray of shape (size,)
            Numbers of the penalty of each member.
        is_done : callable
            Looks at `w` and `g`.
        """
        for _ in range(_ROUNDS):
            while self._newton(alpha, shape):
                pass
            if is_done():
                return
            self.n_sweeps += gram_sweeps(self.gram, self.size, self.w, self.g, alpha, shape, self.kind, _SWEEPS, 0.0)
            if is_done():
                return

    def violation(self, alpha: Float64Array, shape: Float64Array) -> float:
        """Return how far any member is from its best value, in units of the gradient."""
        k = self.size
        curvature = np.ascontiguousarray(np.diagonal(self.gram)[:k])
        return float(largest_violation(curvature, self.w[:k], self.g[:k], alpha, shape, self.kind))

    def penalty(self, alpha: Float64Array, shape: Float64Array) -> float:
        """Return the value of the penalty."""
        return float(penalty_sum(self.w[: self.size], alpha, shape, self.kind))

    def _newton(self, alpha: Float64Array, shape: Float64Array) -> bool:
        """Move towards the minimiser of the smooth model on the current pattern, along a path that stops at zeros.

        Returns
        -------
        bool
            Whether coefficients became zero on the way, so that another step is worth its cost.
        """
        active = np.flatnonzero(self.w[: self.size])
        if active.size == 0:
            return False
        w = self.w[active]
        # 1. The Newton step on the pattern, as far as it lowers the objective.
        step = self._direction(active, w, alpha[active], shape[active])
        crossed = None if step is None else self._advance(active, w, step, alpha, shape)
        # 2. Where columns depend on each other the step is rounding: move along the dependence instead, which leaves
        # the fit as it is, until a coefficient is zero.
        if crossed is None and self.factor.doubtful:
            step = self._dependent_direction(active, w, alpha[active], shape[active])
            crossed = None if step is None else self._advance(active, w, step, alpha, shape)
        return bool(crossed)

    def _advance(
        self, active: IndexArray, w: Float64Array, step: Float64Array, alpha: Float64Array, shape: Float64Array
    ) -> bool | None:
        """Move by the largest fraction of a step that lowers the objective, if there is one.

        Returns
        -------
        bool or None
            Whether coefficients became zero; None if nothing has moved.
        """
        self.n_newton += 1
        k = self.size
        start, start_g = self.w[:k].copy(), self.g[:k].copy()
        current = self._objective(alpha, shape)
        crosses = (w + step) * w <= 0
        for fraction in (*_FRACTIONS, _first_crossing(w, step)):
            trial = w + fraction * step
            trial[crosses & (trial * w <= 0)] = 0.0
            self.w[active] = trial
            self.g[:k] = self.b[:k] - self.gram[:k, :k] @ self.w[:k]
            # A step that only sets coefficients to zero may leave the objective as it is: there are finitely many.
            slack = _ROUNDING * abs(current) if crosses.any() else 0.0
            if self._objective(alpha, shape) < current + slack:
                return bool(crosses.any())
        self.w[:k], self.g[:k] = start, start_g
        return None

    def _direction(
        self, active: IndexArray, w: Float64Array, alpha: Float64Array, shape: Float64Array
    ) -> Float64Array | None:
        slope, bend = self._model(w, alpha, shape)
        downhill = self.g[active] - slope
        if not bend.any():
            return self.factor.solve(self.gram, active, downhill)
        system = self.gram[np.ix_(active, active)]
        system[np.diag_indices(w.size)] += bend
        _, step, info = dposv(system, downhill, lower=True, overwrite_a=True)
        return step if info == 0 else None

    def _model(self, w: Float64Array, alpha: Float64Array, shape: Float64Array) -> tuple[Float64Array, Float64Array]:
        slope, bend = np.empty(w.size), np.empty(w.size)
        penalty_model(w, alpha, shape, self.kind, slope, bend)
        return slope, bend

    def _dependent_direction(
        self, active: IndexArray, w: Float64Array, alpha: Float64Array, shape: Float64Array
    ) -> Float64Array | None:
        """Move within dependent columns, which changes the penalty but not the fit, until a coefficient is zero."""
        slope, _ = self._model(w, alpha, shape)
        scale = 1.0 / np.sqrt(np.diagonal(self.gram)[active])
        correlation = self.gram[np.ix_(active, active)] * np.outer(scale, scale)
        null = scale * eigh(correlation, subset_by_index=[0, 0])[1][:, 0]
        if (self.g[active] - slope) @ null < 0:
            null = -null
        length = _first_crossing(w, null, limit=np.inf)
        # A hair beyond the crossing, so that rounding cannot keep the coefficient from being seen as zero.
        return null * length * (1 + 1e-12) if np.isfinite(length) else None

    def _objective(self, alpha: Float64Array, shape: Float64Array) -> float:
        # w'Gw/2 - b'w = -w'(b + g)/2, since g = b - Gw.
        k = self.size
        return -0.5 * float(self.w[:k] @ (self.b[:k] + self.g[:k])) + self.penalty(alpha, shape)


def _first_crossing(w: Float64Array, step: Float64Array, limit: float = 1.0) -> float:
    """Return the multiple of the step at which the first coefficient reaches zero, at most `limit`."""
    toward = w * step < 0
    return float(np.min(-w[toward] / step[toward], initial=limit))
