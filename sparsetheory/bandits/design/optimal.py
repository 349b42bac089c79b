"""G-optimal designs: the best rows from which to learn a linear function on all rows."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr, solve_triangular

from sparsetheory.bandits.design.pivoting import BLOCK, outside, pivoted_rows
from sparsetheory.constraints import COUNT, FLAG, MISSING, Choice, Real
from sparsetheory.numba_kernels.bandits.optimal_design import design_steps
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["Design", "core_set_bound", "g_optimal_design", "whitening_of"]

# Matrices with more entries than this are read a few times instead of in every step.
_LARGE = 2_000_000
# Rounding of rank-one updates adds up; after so many steps everything is made anew.
_STEPS = 200
_GOAL = Real(1.0, closed="left")
_METHODS = ("auto", "full", "column_generation")


def core_set_bound(rank: int) -> float:
    """Return the number of rows that a design within twice the optimum needs, at most.

    Parameters
    ----------
    rank : int
        Rank of the matrix.

    Returns
    -------
    float
        ``4 rank log(log rank) + 16``; below rank 3, where that is no number or negative, ``4 rank + 16``.

    Notes
    -----
    Quoted in Lattimore, Szepesvari and Weisz (2020), ICML, after Todd (2016), Minimum-Volume Ellipsoids.

    Examples
    --------
    >>> round(core_set_bound(10), 1)
    49.4
    """
    d = COUNT.check("rank", rank)
    return 4 * d * max(math.log(math.log(d)), 0.0) + 16 if d >= 3 else 4.0 * d + 16


@dataclass(frozen=True, eq=False)
class Design:
    """A probability vector over rows, and the leverages it gives to all rows.

    Parameters
    ----------
    support : ndarray of int
        Rows with positive weight, in increasing order.
    weights : ndarray of shape (len(support),)
        Their weights; they add up to one.
    max_leverage : float
        Largest leverage of any row, from a QR factorisation.
    rank : int
        Rank of the rows; no design has a smaller largest leverage.
    n_iter : int
        Steps.
    n_passes : int
        Times that all rows were read.
    converged : bool
        Whether the target was reached.
    rho_drop : float
        Largest norm of what a row has outside the directions that were kept; 0 where nothing was dropped. A linear
        function with coefficients theta is misspecified by at most this times the norm of theta.
    whitening : ndarray of shape (d, rank)
        The leverage of a row a is the squared norm of ``a @ whitening``.
    """

    support: IndexArray
    weights: Float64Array
    max_leverage: float
    rank: int
    n_iter: int
    n_passes: int
    converged: bool
    rho_drop: float
    whitening: Float64Array


def whitening_of(rows: AnyArray, weights: Float64Array) -> Float64Array:
    """Return the matrix T that makes ``sum w (a T)^T (a T)`` the identity, for rows of full column rank.

    By the QR factorisation of the weighted rows: forming their Gram matrix would square its condition number.
    """
    R = qr(np.sqrt(weights)[:, None] * rows, mode="r", check_finite=False)[0][: rows.shape[1]]
    return solve_triangular(R, np.eye(len(R)), check_finite=False)


def leverages_of(rows: AnyArray, whitening: Float64Array) -> Float64Array:
    """Return squared norms of whitened rows."""
    white = np.asarray(rows, dtype=np.float64) @ whitening
    return np.einsum("ij,ij->i", white, white)


def g_optimal_design(
    A: ArrayLike,
    target_mult: float = 2.0,
    method: str = "auto",
    *,
    away: bool | None = None,
    max_iter: int = 100_000,
    random_state: Any = 0,
) -> Design:
    r"""Return a design whose largest leverage is at most `target_mult` times the rank.

    Parameters
    ----------
    A : array-like of shape (n, d)
        One row for each point; a memory-mapped file is read in blocks. Of type float32 or float64.
    target_mult : float
        At least 1. With 2 few rows are enough; towards 1 the design becomes D-optimal, which is G-optimal.
    method : {"auto", "full", "column_generation"}
        Whether every step looks at all rows, or only at a growing subset, whose design is then checked on all rows.
        The second for more than two million entries.
    away : bool, optional
        Whether weight is also taken from the worst rows, which pays for goals near 1; below 1.2 by default.
    max_iter : int
        Most steps.
    random_state : int, Generator or None
        Seed of the first subset.

    Returns
    -------
    Design

    Raises
    ------
    ValueError
        If A holds NaN or infinity, or nothing but zeros.

    Notes
    -----
    Kiefer and Wolfowitz (1960): the designs with the largest determinant of :math:`V = \sum_a p_a a a^T` are those with
    the smallest largest leverage, which is the rank. Steps are those of Fedorov (1972), Wynn (1970) and Atwood (1973)
    with rank-one updates. A step costs O(n d), a pass over all rows O(n d^2).

    Examples
    --------
    >>> import numpy as np
    >>> A = np.random.default_rng(0).standard_normal((2000, 10))
    >>> design = g_optimal_design(A)
    >>> design.max_leverage <= 2 * design.rank, len(design.support) <= core_set_bound(10)
    (True, True)
    """
    target_mult = _GOAL.check("target_mult", target_mult)
    COUNT.check("max_iter", max_iter)
    Choice(*_METHODS).check("method", method)
    (MISSING | FLAG).check("away", away)
    rows = A if isinstance(A, np.ndarray) else np.asarray(A)
    if rows.ndim != 2 or rows.dtype.kind not in "fiub":
        raise ValueError(f"A must be a matrix of real numbers; got {rows.dtype} of shape {rows.shape}")
    scales = _column_scales(rows)
    away = target_mult < 1.2 if away is None else away
    if method == "column_generation" or (method == "auto" and rows.size > _LARGE):
        return _by_column_generation(rows, scales, target_mult, away, max_iter, np.random.default_rng(random_state))
    scaled = np.asarray(rows, dtype=np.float64) / scales
    pivots = pivoted_rows(scaled)
    Z = scaled @ pivots.basis.T if len(pivots.indices) < rows.shape[1] else scaled
    weights = np.zeros(len(Z))
    weights[pivots.indices] = 1 / len(pivots.indices)
    inner = _improve(Z, weights, target_mult, away, max_iter)
    basis = pivots.basis.T if Z is not scaled else np.eye(rows.shape[1])
    return _collect(
        np.arange(len(Z)),
        inner,
        (basis / scales[:, None]) @ inner.whitening,
        target_mult,
        1,
        pivots.rho_drop * scales.max(),
    )


@dataclass(eq=False)
class _Inner:
    """A design on rows in memory."""

    weights: Float64Array
    whitening: Float64Array
    leverages: Float64Array
    n_iter: int


def _column_scales(A: AnyArray) -> Float64Array:
    """Return the largest magnitude of every column; leverages do not depend on units, but ranks do."""
    largest = np.zeros(A.shape[1])
    for start in range(0, len(A), BLOCK):
        block = A[start : start + BLOCK]
        # Largest and smallest entries: NaN and infinity survive both.
        magnitudes = np.maximum(block.max(axis=0), -block.min(axis=0)).astype(np.float64)
        if not np.all(np.isfinite(magnitudes)):
            row = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise ValueError(f"A must be finite; got NaN or infinity in row {row}")
        largest = np.maximum(largest, magnitudes)
    if not largest.any():
        raise ValueError("A must have a row that is not zero; got zeros alone")
    return np.where(largest > 0, largest, 1.0)


def _improve(Z: Float64Array, weights: Float64Array, target_mult: float, away: bool, max_iter: int) -> _Inner:
    """Improve a design on rows of full rank until the largest leverage is at most `target_mult` times the rank."""
    Z = np.ascontiguousarray(Z)
    d = Z.shape[1]
    # The weights of a nearly optimal design are those of rows with nearly the largest leverage.
    least = (2.0 - target_mult) * d if away else 0.0
    if d == 1:  # the line search would divide by zero, and one row is all there is
        best = int(np.argmax(np.abs(Z[:, 0])))
        weights = np.zeros(len(Z))
        weights[best] = 1.0
    n_iter, direction = 0, np.empty(d)
    while True:
        used = np.flatnonzero(weights)
        T = whitening_of(Z[used], weights[used])
        leverages = leverages_of(Z, T)
        reached = leverages.max() <= target_mult * d and leverages[used].min() >= least
        if reached or n_iter >= max_iter or d == 1:
            return _Inner(weights, T, leverages, n_iter)
        # A little less than the target_mult: leverages made anew differ by rounding.
        steps = design_steps(
            Z, weights, T @ T.T, leverages, direction, target_mult * d * (1 - 1e-9), least * (1 + 1e-9), away,
            min(_STEPS, max_iter - n_iter),
        )  # fmt: skip
        n_iter += steps if steps >= 0 else -1 - steps
        weights /= weights.sum()


def _by_column_generation(
    A: AnyArray, scales: Float64Array, target_mult: float, away: bool, max_iter: int, rng: np.random.Generator
) -> Design:
    """Alternate between designs on a subset of rows and passes over all of them, until the design holds for all."""
    n, d = A.shape
    chosen = np.sort(rng.choice(n, min(n, max(20 * d, 1000)), replace=False))
    chosen = np.union1d(chosen, _longest(A, scales, d))
    pivots = pivoted_rows(A[chosen] / scales)
    rho_drop = 0.0
    if len(pivots.indices) < d:
        everything = pivoted_rows(A / scales if A.dtype == np.float64 else (A / scales.astype(A.dtype)))
        chosen = np.union1d(chosen, everything.indices)
        pivots = pivoted_rows(A[chosen] / scales)
        rho_drop = 0.0 if len(pivots.indices) == d else max(everything.rho_drop, outside(A / scales, pivots.basis))
    rank, basis = len(pivots.indices), pivots.basis.T / scales[:, None]
    weights = np.zeros(len(chosen))
    weights[pivots.indices] = 1 / rank
    inner_goal, n_iter, n_passes = 1 + (target_mult - 1) / 2, 0, 0
    while True:
        inner = _improve(A[chosen] @ basis, weights, inner_goal, away, max_iter - n_iter)
        n_iter, n_passes = n_iter + inner.n_iter, n_passes + 1
        whitening = basis @ inner.whitening
        leverages = _pass(A, whitening)
        if leverages.max() <= target_mult * rank or n_iter >= max_iter:
            inner.leverages = leverages
            inner.n_iter = n_iter
            return _collect(chosen, inner, whitening, target_mult, n_passes, rho_drop * scales.max())
        kept = chosen[(inner.weights > 0) | (leverages[chosen] > 0.7 * rank)]
        violators = np.flatnonzero(leverages > inner_goal * rank)
        if len(violators) > 2 * d:
            violators = violators[np.argpartition(-leverages[violators], 2 * d)[: 2 * d]]
        full = np.zeros(n)
        full[chosen] = inner.weights
        chosen = np.union1d(kept, violators)
        weights = full[chosen]


def _longest(A: AnyArray, scales: Float64Array, count: int) -> IndexArray:
    inverse = (1 / scales**2).astype(A.dtype)
    norms = np.concatenate([np.square(A[start : start + BLOCK]) @ inverse for start in range(0, len(A), BLOCK)])
    return np.argpartition(-norms, min(count, len(norms)) - 1)[:count]


def _pass(A: AnyArray, whitening: Float64Array) -> Float64Array:
    """Return the leverages of all rows, in blocks."""
    return np.concatenate([leverages_of(A[start : start + BLOCK], whitening) for start in range(0, len(A), BLOCK)])


def _collect(
    chosen: IndexArray, inner: _Inner, whitening: Float64Array, target_mult: float, n_passes: int, rho_drop: float
) -> Design:
    used = np.flatnonzero(inner.weights)
    rank = whitening.shape[1]
    largest = float(inner.leverages.max())
    return Design(
        chosen[used],
        inner.weights[used],
        largest,
        rank,
        inner.n_iter,
        n_passes,
        largest <= target_mult * rank,
        rho_drop,
        whitening,
    )
