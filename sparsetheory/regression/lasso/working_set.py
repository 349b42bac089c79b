"""Penalised least squares by working sets: solve few features exactly, prove that the others stay zero."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.numba_kernels.quadratic.coordinate_descent import zero_limits
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.separable import L1
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.lasso.active_set import ActiveGram
from sparsetheory.regression.lasso.quadratic import DataQuadratic, Quadratic
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["Solution", "WorkingSetSolver", "duality_gap", "solve_lasso"]

# Optimality on the working set is asked for this much more sharply than the final tolerance.
_SHARPER = 0.1
# and no more sharply than this, in the same unit: there rounding stops progress.
_SHARPEST = 1e-6


@dataclass(frozen=True)
class Solution:
    """The outcome for one strength of the penalty.

    Attributes
    ----------
    indices, values : ndarray
        The coefficients that are not zero.
    objective : float
        Value of loss plus penalty.
    gap : float
        For convex penalties the duality gap, else the largest violation of the optimality conditions.
    tolerance : float
        What `gap` had to reach.
    n_iter : int
        Working sets tried.
    screened : ndarray of bool, shape (n_features,)
        Features proved to be zero at the minimum, those that cannot change the fit included.
    """

    indices: IndexArray
    values: Float64Array
    objective: float
    gap: float
    tolerance: float
    n_iter: int
    screened: BoolArray

    @property
    def converged(self) -> bool:
        """Whether the tolerance was reached."""
        return self.gap <= self.tolerance


def duality_gap(
    fit: float, square: float, penalty: float, largest_ratio: float, *, positive: bool = False
) -> tuple[float, float]:
    """Return the gap of ``|y - Xw|^2 / (2n) + sum alpha_j |w_j|`` at the best dual point along the residual r.

    The ridge part of an elastic net, ``sum beta_j w_j^2 / 2``, is the squared residual of d more rows, ``sqrt(n
    beta_j)`` times the unit vectors, with response zero. Their residuals belong to `square` and to the products with
    columns.

    Parameters
    ----------
    fit, square : float
        ``y'r / n`` and ``r'r / n``.
    penalty : float
        Value of the penalty.
    largest_ratio : float
        ``max_j |x_j'r| / (n alpha_j)``; the dual points along r are those up to its inverse.
    positive : bool
        Whether coefficients must be at least zero: then only positive products bound the dual point, and the ratio is
        that of these.

    Returns
    -------
    gap, scale : float
        The dual point is this multiple of r.
    """
    # Primal value: square / 2 + penalty. Dual value at the point c r: c fit - c^2 square / 2, largest at fit / square.
    if square <= 0.0:
        return penalty, 0.0
    scale = fit / square
    if largest_ratio > 0.0:
        # The residual of an overshooting fit may point away from y: the dual point is bounded on both sides.
        scale = min(max(scale, -1.0 / largest_ratio), 1.0 / largest_ratio)
    if positive:
        # Products below zero bound nothing, so that a dual point against r need not be allowed.
        scale = max(scale, 0.0)
    return max(0.5 * square + penalty - scale * (fit - 0.5 * scale * square), 0.0), scale


class WorkingSetSolver:
    """Solve a sequence of penalised least-squares problems, each started from the last.

    The members of a working set are solved for exactly while all other features stay at zero. The others whose
    conditions of optimality are violated most then join, until no condition is violated.

    Parameters
    ----------
    quadratic : Quadratic
        The loss.
    penalty : Penalty
        Its kind; strengths are given to :meth:`solve`.
    tol : float
        Tolerance, relative to ``y'y / (2n)`` for the gap of convex penalties, to ``max |X'y| / n`` for the violation of
        the optimality conditions otherwise.
    max_iter : int
        Working sets for each strength.

    Notes
    -----
    *Few correlations are evaluated.* A feature may stay at zero while its correlation ``|x_j'r| / n`` with the
    residual r is at most a limit (alpha for the l1 norm). Where coefficients must not be negative,
    signed correlations take the place of absolute ones. When the residual moves from r to r', that correlation
    changes by at most ``|x_j| |r' - r| / n`` (Cauchy and Schwarz). The solver adds up the moves, divided by
    ``sqrt(n)``, in `travelled`, and notes in `stamp` what the sum was when a feature was last evaluated. So
    ``|correlation| + norms * (travelled - stamp)`` bounds the correlation of every feature at any time, and only
    features whose bound exceeds their limit need another product with their column.

    *Features are removed (convex penalties).* The dual objective is strongly concave: a dual point whose gap is g is
    within ``sqrt(2 g)`` of the best one, in root mean squares. A feature whose correlation with the dual point stays
    below alpha by more than its norm times that is zero at the minimum (the gap-safe sphere of Fercoq, Gramfort and
    Salmon 2015). It is not looked at again until the strength changes.

    *Cost.* One Gram block per new member, one product with a column per evaluation, and exact solutions of the size of
    the working set. No step passes over the whole design unless nearly all bounds are too weak.
    """

    def __init__(self, quadratic: Quadratic, penalty: Penalty, *, tol: float = 1e-6, max_iter: int = 100) -> None:
        self.quadratic = quadratic
        self.penalty = penalty
        self.l1_part = penalty.l1_part if penalty.convex else 1.0
        self.tol = tol
        self.max_iter = max_iter
        n_features = quadratic.linear.size
        self.active = ActiveGram(penalty.kind)
        self.members = np.empty(0, dtype=np.intp)
        self.is_member = np.zeros(n_features, dtype=bool)
        self.norms = np.sqrt(quadratic.curvature)
        self.correlation = quadratic.linear.copy()
        self.stamp = np.zeros(n_features)
        self.travelled = 0.0
        self.limit = np.full(n_features, np.inf)
        self.shapes = np.broadcast_to(np.asarray(penalty.shape, dtype=np.float64), n_features).copy()
        self.n_evaluations = 0

    def solve(self, alpha: Float64Array) -> Solution:
        """Solve for one strength of the penalty.

        Parameters
        ----------
        alpha : ndarray of shape (n_features,)
            Strength for each feature, positive.

        Returns
        -------
        Solution
        """
        quadratic, limit = self.quadratic, self._limits(alpha)
        alive = quadratic.curvature > 0.0
        self._start(limit, alive)
        tolerance = self._tolerance()
        sharp = _SHARPER * tolerance
        for iteration in range(1, self.max_iter + 1):  # noqa: B007
            # 1. Solve on the working set; the residual moves.
            self._minimise(alpha, sharp)
            self.travelled += quadratic.move(self.active.w[: self.active.size])
            # 2. Bound the correlations of all features, and evaluate those that the bounds do not settle.
            bound = self._refresh(limit, alive)
            outside = np.flatnonzero(alive & ~self.is_member & (bound > limit))
            if self.penalty.convex:
                gap, scale = self._gap(alpha, bound, alive)
            else:
                gap, scale = self._violation(alpha, bound, outside), 1.0
            if not np.isfinite(gap):
                raise ValueError(
                    "X, y and alpha must have products and squares in the range of float64, and a gram must be "
                    f"positive semidefinite; the fit reached a gap of {gap}"
                )
            # 3. Remove features that the gap proves to be zero.
            if self.penalty.convex:
                alive &= self.is_member | (scale * bound + self._dual_norms(alpha) * np.sqrt(2 * gap) >= limit)
            # 4. Stop, or sharpen the solution where no feature is missing, or let the most violating features join.
            if gap <= tolerance or (outside.size == 0 and sharp < _SHARPEST * tolerance):
                break
            if outside.size == 0:
                sharp *= _SHARPER
            self._add(self._most_violating(outside, bound, limit))
        return self._solution(alpha, gap, tolerance, iteration, alive)

    def _tolerance(self) -> float:
        if self.penalty.convex:
            return 0.5 * self.tol * self.quadratic.energy
        return self.tol * float(np.max(np.abs(self.quadratic.linear), initial=0.0))

    def _minimise(self, alpha: Float64Array, tol: float) -> None:
        """Solve on the working set to a gap (convex penalties) or violation of `tol`."""
        alpha, shape = alpha[self.members], self.shapes[self.members]
        active, energy, limit = self.active, self.quadratic.energy, self.limit[self.members]

        def is_done() -> bool:
            if not self.penalty.convex:
                return active.violation(alpha, shape) <= tol
            k = active.size
            w, g, b = active.w[:k], active.g[:k], active.b[:k]
            fit = energy - float(b @ w)
            ratio = float(np.max(self._member_pulls(alpha) / limit, initial=0.0))
            return self._gap_at(alpha, shape, fit, fit - float(g @ w), ratio)[0] <= tol

        active.minimise(alpha, shape, is_done)

    def _limits(self, alpha: Float64Array) -> Float64Array:
        """Return how large the correlation of a feature may be while it stays at zero."""
        if self.penalty.convex:
            return alpha * self.l1_part
        limits = np.empty(alpha.size)
        zero_limits(self.quadratic.curvature, alpha, self.shapes, self.penalty.kind, limits)
        return limits

    def _start(self, limit: Float64Array, alive: BoolArray) -> None:
        """Drop members that play no part, and add those that the strong rule expects (a guess, verified later)."""
        expected, known = limit.copy(), np.isfinite(self.limit)
        expected[known] -= 0.5 * (self.limit[known] - limit[known])
        self.limit = limit
        k = self.active.size
        current = self.penalty.pull(self.correlation[self.members])
        useful = (self.active.w[:k] != 0) | (current >= expected[self.members])
        if 1.25 * useful.sum() < k:
            self._keep(np.flatnonzero(useful))
        pull = self.penalty.pull(self.correlation)
        guess = np.flatnonzero(alive & ~self.is_member & (pull >= expected))
        self._add(self._most_violating(guess, pull, limit))

    def _keep(self, positions: IndexArray) -> None:
        self.active.keep(positions)
        self.quadratic.keep(positions)
        self.is_member[self.members] = False
        self.members = self.members[positions]
        self.is_member[self.members] = True

    def _most_violating(self, features: IndexArray, bound: Float64Array, limit: Float64Array) -> IndexArray:
        """Return the features beyond their limits by the largest factors, at most as many as there are members."""
        room = max(32, self.active.size)
        if features.size <= room:
            return features
        ratio = bound[features] / limit[features]
        return features[np.argpartition(-ratio, room)[:room]]

    def _add(self, features: IndexArray) -> None:
        if features.size == 0:
            return
        cross, own = self.quadratic.extend(features)
        self.active.extend(cross, own, self.quadratic.linear[features])
        self.members = np.concatenate([self.members, features])
        self.is_member[features] = True

    def _refresh(self, limit: Float64Array, alive: BoolArray) -> Float64Array:
        """Evaluate the correlations that the bounds do not settle; return upper bounds on the pull of all."""
        k = self.active.size
        self.correlation[self.members] = self.active.g[:k]
        self.stamp[self.members] = self.travelled
        bound = self.penalty.pull(self.correlation) + self.norms * (self.travelled - self.stamp)
        open_ = np.flatnonzero(alive & (bound > limit) & ~self.is_member)
        if open_.size:
            self.correlation[open_] = self.quadratic.gradient(open_)
            self.stamp[open_] = self.travelled
            bound[open_] = self.penalty.pull(self.correlation[open_])
            self.n_evaluations += open_.size
        return bound

    def _gap(self, alpha: Float64Array, bound: Float64Array, alive: BoolArray) -> tuple[float, float]:
        """Return the duality gap over the living features, and the size of the scale of the dual point."""
        if self.l1_part < 1.0:
            bound = bound.copy()
            bound[self.members] = self._member_pulls(alpha[self.members])
        ratio = float(np.max(bound[alive] / self.limit[alive], initial=0.0))
        numbers = alpha[self.members], self.shapes[self.members], *self.quadratic.residual_products()
        gap, scale = self._gap_at(*numbers, ratio)
        return gap, abs(scale)

    def _member_pulls(self, alpha: Float64Array) -> Float64Array:
        """Return the pull of the members, less what the ridge part of the penalty takes."""
        k = self.active.size
        g = self.active.g[:k]
        if self.l1_part < 1.0:
            g = g - (1.0 - self.l1_part) * alpha * self.active.w[:k]
        return g if self.penalty.positive else np.abs(g)

    def _gap_at(
        self, alpha: Float64Array, shape: Float64Array, fit: float, square: float, ratio: float
    ) -> tuple[float, float]:
        """Return the duality gap at the members, and the scale of the dual point."""
        penalty = self.active.penalty(alpha, shape)
        if self.l1_part < 1.0:
            ridge = (1.0 - self.l1_part) * float(alpha @ self.active.w[: self.active.size] ** 2)
            square, penalty = square + ridge, penalty - 0.5 * ridge
        return duality_gap(fit, square, penalty, ratio, positive=self.penalty.positive)

    def _dual_norms(self, alpha: Float64Array) -> Float64Array:
        """Return the norms of the columns with the rows that the ridge part adds."""
        if self.l1_part == 1.0:
            return self.norms
        return np.sqrt(self.quadratic.curvature + (1.0 - self.l1_part) * alpha)

    def _violation(self, alpha: Float64Array, bound: Float64Array, outside: IndexArray) -> float:
        inside = self.active.violation(alpha[self.members], self.shapes[self.members])
        return max(inside, float(np.max(bound[outside] - self.limit[outside], initial=0.0)))

    def _solution(self, alpha: Float64Array, gap: float, tolerance: float, iteration: int, alive: Any) -> Solution:
        k = self.active.size
        w, g, b = self.active.w[:k], self.active.g[:k], self.active.b[:k]
        penalty = self.active.penalty(alpha[self.members], self.shapes[self.members])
        objective = 0.5 * (self.quadratic.energy - float((b + g) @ w)) + penalty
        support = np.flatnonzero(w)
        order = support[np.argsort(self.members[support])]
        return Solution(self.members[order], w[order].copy(), objective, gap, tolerance, iteration, ~alive)


def solve_lasso(
    columns: Columns,
    y: Float64Array,
    alpha: Float64Array,
    *,
    squares: Float64Array | None = None,
    tol: float = 1e-6,
    max_iter: int = 100,
) -> Solution:
    """Minimise ``|y - Xw|^2 / (2n) + sum alpha_j |w_j|`` over projected columns.

    Parameters
    ----------
    columns : Columns
        Design; its basis is projected out.
    y : ndarray of shape (n_samples,)
        Response, projected alike.
    alpha : ndarray of shape (n_features,)
        Strength for each feature; features of strength zero stay at zero, so unpenalised ones belong in the basis.
    squares : ndarray of shape (n_features,), optional
        Squared norms of the projected columns, where known.
    tol, max_iter : float, int
        As in :func:`sparsetheory.regression.lasso_path`.

    Returns
    -------
    Solution
    """
    known = columns.live_squares() if squares is None else squares
    quadratic = DataQuadratic(columns, y, np.where(alpha > 0, known, 0.0))
    return WorkingSetSolver(quadratic, L1(1.0), tol=tol, max_iter=max_iter).solve(np.where(alpha > 0, alpha, 1.0))
