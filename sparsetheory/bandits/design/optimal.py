"""G-optimal designs: the best rows from which to learn a linear function on all rows."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.design.column_generation import by_column_generation
from sparsetheory.bandits.design.improving import improved, start_of
from sparsetheory.bandits.design.leverages import checked_matrix, checked_weights, column_scales, scaled_rows
from sparsetheory.bandits.design.pivoting import dropped_norm, pivoted_rows
from sparsetheory.bandits.design.weights import Design
from sparsetheory.constraints import COUNT, FLAG, MISSING, Choice, Real, generator
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["Design", "core_set_bound", "g_optimal_design"]

# Matrices with more entries than this are read a few times instead of in every step.
_LARGE = 2_000_000
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


def g_optimal_design(
    A: ArrayLike,
    target_mult: float = 2.0,
    method: str = "auto",
    *,
    away: bool | None = None,
    max_iter: int = 100_000,
    init: ArrayLike | None = None,
    random_state: Any = 0,
) -> Design:
    r"""Return a design whose largest leverage is at most `target_mult` times the rank.

    Parameters
    ----------
    A : array-like of shape (n, d)
        One row for each point, of any real type; computed with in double precision. Column generation reads a
        memory-mapped file in blocks.
    target_mult : float
        At least 1. With 2 few rows are enough; towards 1 the design becomes D-optimal, which is G-optimal.
    method : {"auto", "full", "column_generation"}
        Whether every step looks at all rows, or only at a growing subset, whose design is then checked on all rows.
        The second for more than two million entries.
    away : bool, optional
        Whether weight is also taken from the worst rows, which pays for goals near 1; below 1.2 by default.
    max_iter : int
        Most steps.
    init : array-like of shape (n,), optional
        Weights to start from, such as those of a design for more rows. Used if their rows span as much as all rows;
        else, and by default, the start is uniform on rows that do.
    random_state : int, Generator or None
        Seed of the first subset.

    Returns
    -------
    Design

    Raises
    ------
    ValueError
        If A holds NaN or infinity, or nothing but zeros, or `init` holds no weights.

    Notes
    -----
    Kiefer and Wolfowitz (1960): the designs with the largest determinant of :math:`V = \sum_a p_a a a^T` are those with
    the smallest largest leverage, which is the rank. Steps are those of Fedorov (1972), Wynn (1970) and Atwood (1973)
    with rank-one updates. A step costs O(n d), a pass over all rows O(n d^2).

    The unit of a column does not matter. Directions in which rows are shorter than 1e-5 of the longest, each column
    having the largest entry 1, are dropped, and ``rho_drop`` says what that costs.

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
    rng = generator(random_state)
    rows = checked_matrix(A)
    scales = column_scales(rows)
    start = None if init is None else checked_weights("init", init, len(rows))
    away = target_mult < 1.2 if away is None else away
    if method == "column_generation" or (method == "auto" and rows.size > _LARGE):
        return by_column_generation(rows, scales, target_mult, away, max_iter, start, rng)
    return _on_all_rows(rows, scales, target_mult, away, max_iter, start)


def _on_all_rows(
    A: AnyArray, scales: Float64Array, target_mult: float, away: bool, max_iter: int, init: Float64Array | None
) -> Design:
    scaled = scaled_rows(A, scales, np.arange(len(A)))
    pivots = pivoted_rows(scaled)
    rank, d = len(pivots.indices), A.shape[1]
    # With full rank the columns span themselves, and rows stay as they are.
    basis = pivots.basis.T if rank < d else np.eye(d)
    Z = scaled @ basis if rank < d else scaled
    inner = improved(Z, start_of(Z, pivots, init), target_mult, away, max_iter)
    used = np.flatnonzero(inner.weights)
    largest = float(inner.leverages.max())
    return Design(
        used,
        inner.weights[used],
        largest,
        rank,
        inner.n_iter,
        1,
        largest <= target_mult * rank,
        dropped_norm(A, scales, pivots.basis),
        (basis / scales[:, None]) @ inner.whitening,
    )
