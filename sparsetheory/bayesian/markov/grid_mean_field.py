"""Binary grids as exact rows that see each other in the mean: a lower bound of the normaliser that only grows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from sparsetheory.bayesian.markov.chain import check_evidence, line_pass
from sparsetheory.bayesian.markov.grid import check_table
from sparsetheory.constraints import COUNT, NONNEGATIVE
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["GridMeanField", "grid_mean_field"]


@dataclass(frozen=True, eq=False)
class GridMeanField:
    """A distribution of a grid whose rows are independent chains."""

    probability: AnyArray
    """Probabilities of being on, shape (n_rows, n_columns)."""
    extrinsic: AnyArray
    """Log-odds of each node without its own evidence, shape (n_rows, n_columns)."""
    bounds: Float64Array
    """Lower bounds of the log normaliser after each sweep, non-decreasing."""
    converged: bool
    """Whether the probabilities came to rest."""


def grid_mean_field(
    log_odds: ArrayLike,
    row_table: ArrayLike,
    column_table: ArrayLike,
    *,
    max_iter: int = 100,
    tol: float = 1e-8,
    initial: ArrayLike | None = None,
) -> GridMeanField:
    r"""Approximate a binary grid by independent rows, each an exact chain, with a guaranteed bound.

    Maximises :math:`E_q[\ln w(S)] + H(q)`, which never exceeds the log normaliser of the weight w of
    :func:`sparsetheory.bayesian.grid_belief_propagation`, over :math:`q(S) = \prod_r q_r(S_r)`, row by row.

    Parameters
    ----------
    log_odds, row_table, column_table
        As in :func:`sparsetheory.bayesian.grid_belief_propagation`.
    max_iter : int
        Largest number of sweeps over the rows.
    tol : float
        Tolerance, absolute: stop once a sweep changes no probability by more than this.
    initial : array-like of shape (n_rows, n_columns), optional
        Probabilities to start from; one half everywhere by default.

    Returns
    -------
    GridMeanField

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    O(n_rows n_columns) per sweep. Each row is set to its best distribution given the others, so the bound only grows.
    Probabilities are less accurate than those of sum-product (whose normaliser is no bound).

    Examples
    --------
    >>> from sparsetheory.bayesian import grid_mean_field
    >>> alike = [[0.8, 0.2], [0.2, 0.8]]
    >>> found = grid_mean_field([[2.0, 2.0], [2.0, 0.0]], alike, alike)
    >>> bool(found.probability[1, 1] > 0.8), bool((found.bounds[1:] >= found.bounds[:-1] - 1e-12).all())
    (True, True)
    """
    values = check_evidence(log_odds, ndim=2)
    tables = check_table("row_table", row_table), check_table("column_table", column_table)
    NONNEGATIVE.check("tol", tol)
    start = np.full(values.shape, 0.5) if initial is None else np.array(initial, dtype=np.float64)
    if start.shape != values.shape or not np.all((start >= 0) & (start <= 1)):
        raise ValueError(f"initial must hold probabilities of shape {values.shape}; got shape {start.shape}")
    probabilities, ext, bounds, converged = sweep_rows(values, *tables, start, COUNT.check("max_iter", max_iter), tol)
    dtype = np.float32 if getattr(log_odds, "dtype", None) == np.float32 else np.float64
    return GridMeanField(probabilities.astype(dtype), ext.astype(dtype), bounds, converged)


def sweep_rows(
    log_odds: Float64Array,
    row_table: Float64Array,
    column_table: Float64Array,
    post: Float64Array,
    max_iter: int,
    tol: float,
    row_start: float = 0.0,
) -> tuple[Float64Array, Float64Array, Float64Array, bool]:
    """Sweep over the rows; return probabilities, extrinsic log-odds, the bounds, and whether they came to rest."""
    # The bound is F(q) = E_q[log w(S)] + H(q) with q a product of one free distribution per row. As a function of row r
    # it is the expected log weight along the row, plus the entropy of q_r, plus expected log-odds of its nodes. The
    # rows above and below enter in the mean only: the expectation of the log weight of a vertical pair is linear in the
    # state of the node in row r. So the best q_r is a chain with the table of the row and log-odds shifted by that mean
    # field, and sum-product along it is exact: O(n_columns) per row.
    post, ext = post.copy(), np.empty_like(log_odds)
    weights = np.log(column_table)
    entropies = np.empty(log_odds.shape[0])
    bounds: list[float] = []
    for _ in range(max_iter):
        before = post.copy()
        for r in range(log_odds.shape[0]):
            # Invariant: rows before r are of this sweep, rows behind of the last one; each is the best given the others
            # at the time, so that the bound never falls.
            field = _field(weights, post, r)
            lines = line_pass((log_odds[r] + field)[None], row_start, row_table)
            ext[r] = field + (lines.forward + lines.backward)[0]
            post[r] = expit(ext[r] + log_odds[r])
            # At its optimum log Z_r is the expected log weight plus the entropy; the terms of the nodes are taken
            # out again, since the bound counts their own evidence and the vertical pairs once for the whole grid.
            entropies[r] = lines.log_z[0] - post[r] @ (log_odds[r] + field)
        bounds.append(float(entropies.sum() + (post * log_odds).sum() + _vertical(weights, post)))
        if np.abs(post - before).max() <= tol:
            return post, ext, np.array(bounds), True
    return post, ext, np.array(bounds), False


def _field(weights: Float64Array, post: Float64Array, r: int) -> Float64Array:
    """Return the mean log-odds that the rows above and below give to row r."""
    field = np.zeros(post.shape[1])
    if r > 0:
        above = post[r - 1]
        field += above * (weights[1, 1] - weights[1, 0]) + (1.0 - above) * (weights[0, 1] - weights[0, 0])
    if r + 1 < post.shape[0]:
        below = post[r + 1]
        field += below * (weights[1, 1] - weights[0, 1]) + (1.0 - below) * (weights[1, 0] - weights[0, 0])
    return field


def _vertical(weights: Float64Array, post: Float64Array) -> float:
    """Return the expected log weight of the vertical neighbours."""
    upper, lower = post[:-1], post[1:]
    off = (1.0 - lower) * weights[0, 0] + lower * weights[0, 1]
    on = (1.0 - lower) * weights[1, 0] + lower * weights[1, 1]
    return float(((1.0 - upper) * off + upper * on).sum())
