"""E-optimal designs: exploration that sees every direction as well as possible."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr

from sparsetheory.bandits.design.leverages import (
    all_leverages,
    checked_matrix,
    column_scales,
    leverages_of,
    whitening_of,
)
from sparsetheory.bandits.design.optimal import g_optimal_design
from sparsetheory.bandits.design.smallest_eigenvalue import central_point
from sparsetheory.bandits.design.weights import Design
from sparsetheory.constraints import COUNT, POSITIVE, Choice
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["EOptimalDesign", "e_optimal_design"]

_METHODS = ("auto", "full", "column_generation")
# Newton's matrix has one row for each row of the matrix: above this many a subset grows.
_FEW = 400
# Relative errors of singular values and norms, in units of the largest.
_ROUNDING = 100 * float(np.finfo(np.float64).eps)
# Weights below this share of the mean one leave the design if that costs little.
_FAINT = 1e-2


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
    method : {"auto", "full", "column_generation"}
        Whether the interior-point method looks at all rows, or only at a growing subset, whose design is then checked
        on all rows. The second for more than 400 rows.
    tol : float
        Relative to the lower bound: how much the upper bound may be above it.
    max_iter : int
        Most Newton steps.
    random_state : int, Generator or None
        Seed of the design that the subset begins with.

    Returns
    -------
    EOptimalDesign
        Not converged if rounding or `max_iter` came before `tol`; its bounds are proven all the same. Of rows that span
        less than all directions it is the best one on their span; in other directions every design has eigenvalue 0.

    Raises
    ------
    ValueError
        If A holds NaN or infinity, or nothing but zeros.

    Notes
    -----
    A semidefinite program, solved by an interior-point method on a subset of m rows, O(m^2 (m + d)) for each of a few
    dozen steps, and passes over all rows in O(n d^2). Its dual variable W proves the upper bound.

    Examples
    --------
    >>> import numpy as np
    >>> design = e_optimal_design(np.array([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]]))
    >>> design.converged, round(design.cmin_lower, 2), design.weights.round(2).tolist()
    (True, 0.8, [0.8, 0.2])
    """
    Choice(*_METHODS).check("method", method)
    tol = POSITIVE.check("tol", tol)
    max_iter = COUNT.check("max_iter", max_iter)
    rows = checked_matrix(A)
    start = g_optimal_design(rows, random_state=random_state)
    full = method == "full" or (method == "auto" and len(rows) <= _FEW)
    return _Search(rows, start, tol, max_iter).run(full)


class _Search:
    """Interior-point method on some rows, then a pass over all, until the bounds meet.

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

    def run(self, full: bool) -> EOptimalDesign:
        """Return the best design that was met."""
        n, rank = len(self.A), self.basis.shape[1]
        chosen = np.arange(n) if full else self.start.support
        x = np.full(len(chosen), 0.1 / n if full else 1e-300)
        x[np.searchsorted(chosen, self.start.support)] += self.start.weights
        gap = 1.0
        while True:
            rows = np.asarray(self.A[chosen], dtype=np.float64) @ self.basis
            x, least = _feasible(rows, x)
            # On the subset alone the gap shall be a part of what it is on all rows.
            goal = max(self.tol / 4, min(gap, 1.0) / 4) if not full else self.tol / 4
            strength = float(x.sum()) / (len(x) + rank)
            point = central_point(rows, x, strength * min(gap, 1.0), goal * strength / 2, self.max_iter - self.n_iter)
            self.n_iter += point.n_iter
            values = self._bounds(chosen, rows, point.x, point.dual_root)
            before, gap = gap, self.upper / self.lower - 1 if self.lower > 0 else np.inf
            violators = np.flatnonzero(values > 1 + goal / 4)
            new = np.setdiff1d(violators[np.argsort(-values[violators])][: 4 * rank], chosen)
            if gap <= self.tol or self.n_iter >= self.max_iter or (not new.size and not gap < before * (1 - 1e-3)):
                return self._result()
            chosen, x = _grown(chosen, point.x, values, new)

    def _bounds(
        self, chosen: IndexArray, rows: Float64Array, x: Float64Array, dual_root: Float64Array
    ) -> Float64Array:
        """Improve both bounds, and return what the dual variable gives to all rows, in units of its limit."""
        self.n_passes += 1
        values = all_leverages(self.A, self.basis @ dual_root)
        trace = float(np.einsum("ij,ij->", dual_root, dual_root))
        self.upper = min(self.upper, float(values.max()) / trace * (1 + _ROUNDING * len(dual_root)))
        for least in (_FAINT, 0.0):
            used = np.flatnonzero(x > least * x.mean())
            lower = _smallest_eigenvalue(rows[used], x[used] / x[used].sum())
            if lower > self.lower and (least == 0 or self.upper <= lower * (1 + self.tol)):
                self.lower, self.support, self.weights = lower, chosen[used], x[used] / x[used].sum()
                break
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


def _feasible(rows: Float64Array, x: Float64Array) -> tuple[Float64Array, float]:
    """Return weights that make the smallest eigenvalue two."""
    sizes = np.linalg.svd(np.sqrt(x)[:, None] * rows, compute_uv=False)
    return x * (2 / sizes[-1] ** 2), float(sizes[-1])


def _grown(
    chosen: IndexArray, x: Float64Array, values: Float64Array, new: IndexArray
) -> tuple[IndexArray, Float64Array]:
    """Drop rows that the design does not use and the dual does not need, and add new ones with small weights."""
    kept = (x > _FAINT * x.mean()) | (values[chosen] > 0.9)
    grown = np.concatenate([chosen[kept], new])
    order = np.argsort(grown)
    return grown[order], np.concatenate([x[kept], np.full(len(new), 0.05 * x.mean())])[order]
