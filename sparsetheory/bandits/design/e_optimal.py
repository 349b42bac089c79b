"""E-optimal designs: exploration that sees every direction as well as possible."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr

from sparsetheory.bandits.design.leverages import (
    all_leverages,
    checked_matrix,
    whitening_of,
)
from sparsetheory.bandits.design.optimal import g_optimal_design
from sparsetheory.bandits.design.smallest_eigenvalue import central_point
from sparsetheory.bandits.design.smoothed_eigenvalue import smoothed_steps
from sparsetheory.bandits.design.weights import Design
from sparsetheory.constraints import COUNT, POSITIVE, Choice
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["EOptimalDesign", "e_optimal_design"]

_METHODS = ("auto", "interior_point", "multiplicative")
# Newton's matrix has one row for each row of the subset. Up to this many, all rows are the subset.
_FEW = 400
# Beyond this many rows of the subset Newton's steps are slow.
_MOST = 800
# Subsets that may be tried in a row without progress.
_PATIENCE = 4
# Entries of a matrix on which multiplicative steps are quick.
_LARGE = 1_000_000
# Relative errors of singular values and norms, in units of the largest.
_ROUNDING = 100 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class EOptimalDesign(Design):
    r"""A design, with proven bounds of the largest smallest eigenvalue that any design has.

    Parameters
    ----------
    cmin_lower : float
        The smallest eigenvalue of :math:`V = \sum_a p_a a a^T` on the span of the rows, for this design, less rounding.
    cmin_upper : float
        No design has a larger one. It is :math:`\max_a a^T W a` for a positive semidefinite W of trace 1.
    """

    cmin_lower: float
    cmin_upper: float


def e_optimal_design(
    A: ArrayLike, method: str = "auto", tol: float = 1e-2, *, max_iter: int = 1000, random_state: Any = 0
) -> EOptimalDesign:
    r"""Return a design whose smallest eigenvalue is within `tol` of the largest possible one.

    Parameters
    ----------
    A : array-like of shape (n, d)
        One row for each point; a memory-mapped file is read in blocks. The unit of columns matters.
    method : {"auto", "interior_point", "multiplicative"}
        How. Multiplicative steps end some way from the optimum, in any dimension. The interior-point method
        reaches any tolerance; by default where the rank is at most 36, since optimal designs can need
        d (d + 1) / 2 rows.
    tol : float
        Relative to the lower bound: how much the upper bound may be above it.
    max_iter : int
        Most steps, those of the multiplicative start included, which are always done.
    random_state : int, Generator or None
        Seed of the design that the subset begins with.

    Returns
    -------
    EOptimalDesign
        Not converged if the method ended before `tol`; its bounds are proven all the same. Of rows that span
        less than all directions it is the best one on their span; in other directions every design has eigenvalue 0.

    Raises
    ------
    ValueError
        If A holds NaN or infinity, or nothing but zeros.

    Notes
    -----
    A semidefinite program. Multiplicative steps on at most a million entries take O(m d^2) for m rows, steps of the
    interior-point method O(m^2 (m + d)), a pass over all rows O(n d^2). The dual variable of either proves the upper
    bound on all rows.

    Examples
    --------
    >>> import numpy as np
    >>> design = e_optimal_design(np.diag([1.0, 2.0]))
    >>> design.converged, round(design.cmin_lower, 2), design.weights.round(2).tolist()
    (True, 0.8, [0.8, 0.2])
    """
    Choice(*_METHODS).check("method", method)
    tol = POSITIVE.check("tol", tol)
    max_iter = COUNT.check("max_iter", max_iter)
    rows = checked_matrix(A)
    start = g_optimal_design(rows, random_state=random_state)
    return _Search(rows, start, tol, max_iter).run(method)


class _Search:
    """Bounds and the best design so far, from steps on some rows and passes over all.

    Parameters
    ----------
    A : ndarray of shape (n, d)
    start : Design
        A design of full rank.
    tol : float
    max_iter : int
    """

    def __init__(self, A: AnyArray, start: Design, tol: float, max_iter: int) -> None:
        self.A, self.start, self.tol, self.max_iter = A, start, tol, max_iter
        self.basis = _span(A, start)
        self.lower, self.upper = 0.0, np.inf
        self.support, self.weights = start.support, start.weights
        self.n_iter = self.n_passes = 0

    def run(self, method: str) -> EOptimalDesign:
        """Return the best design that was met."""
        n, rank = len(self.A), self.basis.shape[1]
        dense = rank * (rank + 1) // 2 + 4 * rank  # no optimal design needs more rows
        if method == "auto":
            method = "interior_point" if min(n, dense) <= _MOST else "multiplicative"
        if n <= _FEW and method == "interior_point":
            chosen, x = np.arange(n), np.full(n, 0.1 / n)
            x[self.start.support] += self.start.weights
        else:
            chosen, x = self._multiply()
        if method == "interior_point" and self._gap() > self.tol:
            self._follow(chosen, x, max(dense, _FEW))
        return self._result()

    def _gap(self) -> float:
        return self.upper / self.lower - 1 if self.lower > 0 else np.inf

    def _multiply(self) -> tuple[IndexArray, Float64Array]:
        """Return weights from multiplicative steps on all rows, or on as many as are quick, until those suffice."""
        n, rank = len(self.A), self.basis.shape[1]
        leverages = all_leverages(self.A, self.start.whitening)
        chosen = np.sort(np.argsort(-leverages, kind="stable")[: max(_LARGE // rank, 4 * rank)])
        while True:
            rows = np.asarray(self.A[chosen], dtype=np.float64) @ self.basis
            x, dual_root, n_iter = smoothed_steps(rows, np.full(len(rows), 1 / len(rows)))
            self.n_iter += n_iter
            before = self._gap()
            values = self._bounds(chosen, rows, x, dual_root)
            violators = np.setdiff1d(np.flatnonzero(values > values[chosen].max()), chosen)
            if not violators.size or not self._gap() < 0.9 * before or len(chosen) == n:
                return chosen, x
            chosen = np.union1d(chosen, violators[np.argsort(-values[violators])][: len(chosen) // 4])

    def _follow(self, chosen: IndexArray, x: Float64Array, room: int) -> None:
        """Follow the central path on a subset of rows, which changes until its bounds hold for all rows."""
        rank, full, stalled = self.basis.shape[1], len(self.A) <= room, 0
        if not full:
            kept = np.sort(np.argsort(-x, kind="stable")[:room])
            chosen, x = chosen[kept], np.maximum(x[kept], 1e-6 * x.max())
        while True:
            rows = np.asarray(self.A[chosen], dtype=np.float64) @ self.basis
            x = _feasible(rows, x)
            # On the subset alone the gap shall be a part of what it is on all rows.
            before, goal = self._gap(), self.tol / 4 if full else max(self.tol / 4, min(self._gap(), 1.0) / 4)
            unit = float(x.sum()) / (len(x) + rank)
            start = unit * min(before, 1.0)
            T = whitening_of(rows, x)
            most = max(1, self.max_iter - self.n_iter)
            point = central_point(rows @ T, T.T @ T, x, start, unit * goal / 2, most)
            self.n_iter += point.n_iter
            values = self._bounds(chosen, rows, point.x, T @ point.dual_root)
            if self._gap() <= self.tol or self.n_iter >= self.max_iter or (full and not self._gap() < before):
                return
            # Without progress, rows that are needed may have left.
            stalled = 0 if self._gap() < 0.9 * before else stalled + 1
            if stalled > _PATIENCE:
                return
            room = room if not stalled else min(room + room // 4, 2 * _MOST)
            chosen, x = _changed(chosen, point.x, values, room, room // 4)

    def _bounds(self, chosen: IndexArray, rows: Float64Array, x: Float64Array, dual_root: Float64Array) -> Float64Array:
        """Improve both bounds, and return what the dual variable gives to all rows, in units of its limit."""
        self.n_passes += 1
        values = all_leverages(self.A, self.basis @ dual_root)
        trace = float(np.einsum("ij,ij->", dual_root, dual_root))
        self.upper = min(self.upper, float(values.max()) / trace * (1 + _ROUNDING * len(dual_root)))
        order = np.argsort(x, kind="stable")
        trimmed = np.sort(order[np.cumsum(x[order]) > self.tol / 10 * x.sum()])
        # Rows with the least weights leave if that costs little.
        for used, share in ((np.arange(len(x)), 1.0), (trimmed, 1 - self.tol / 10)):
            weights = x[used] / x[used].sum()
            lower = _smallest_eigenvalue(rows[used], weights)
            if lower > share * self.lower:
                self.lower, self.support, self.weights = lower, chosen[used], weights
        return values

    def _result(self) -> EOptimalDesign:
        used = np.asarray(self.A[self.support], dtype=np.float64) @ self.basis
        whitening = self.basis @ whitening_of(used, self.weights)
        return EOptimalDesign(
            self.support,
            self.weights,
            float(all_leverages(self.A, whitening).max()),
            self.basis.shape[1],
            self.n_iter,
            self.n_passes + 1,
            self.upper <= self.lower * (1 + self.tol),
            self.start.rho_drop,
            whitening,
            self.lower,
            self.upper,
        )


def _span(A: AnyArray, start: Design) -> Float64Array:
    """Return an orthonormal basis, as columns, of what the rows of a design span."""
    d = A.shape[1]
    if start.rank == d:
        return np.eye(d)
    rows = np.asarray(A[start.support], dtype=np.float64)
    return np.asarray(qr(rows.T, mode="economic", pivoting=True, check_finite=False)[0][:, : start.rank])


def _smallest_eigenvalue(rows: Float64Array, weights: Float64Array) -> float:
    """Return the smallest eigenvalue of the weighted rows, less rounding, from their singular values."""
    if len(rows) < rows.shape[1]:
        return 0.0
    sizes = np.linalg.svd(np.sqrt(weights)[:, None] * rows, compute_uv=False)
    return float(max(sizes[-1] - _ROUNDING * sizes[0], 0.0) ** 2)


def _feasible(rows: Float64Array, x: Float64Array) -> Float64Array:
    """Return weights in the same proportions that make the smallest eigenvalue two."""
    return np.asarray(x * (2 / np.linalg.svd(np.sqrt(x)[:, None] * rows, compute_uv=False)[-1] ** 2))


def _changed(
    chosen: IndexArray, x: Float64Array, values: Float64Array, room: int, count: int
) -> tuple[IndexArray, Float64Array]:
    """Keep the rows that the dual needs most, as many as there is room for, and add others that violate it most."""
    kept = np.argsort(-values[chosen], kind="stable")[:room]
    outside = values.copy()
    outside[chosen] = 0.0
    new = np.argpartition(-outside, min(count, len(values) - 1))[:count]
    new = new[outside[new] > 1]
    rows = np.concatenate([chosen[kept], new])
    order = np.argsort(rows)
    return rows[order], np.concatenate([x[kept], np.full(len(new), x.mean() / 20)])[order]
