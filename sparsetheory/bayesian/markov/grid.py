"""Binary grids with pairwise tables along rows and columns: loopy sum-product with exact lines."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.markov.chain import LinePass, check_evidence, line_pass
from sparsetheory.constraints import COUNT, NONNEGATIVE, Real
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["GridMessages", "bethe_log_z", "check_table", "grid_belief_propagation"]


@dataclass(frozen=True, eq=False)
class GridMessages:
    """What loopy sum-product says about the nodes of a grid."""

    probability: AnyArray
    """Approximate marginal probabilities of being on, shape (n_rows, n_columns)."""
    extrinsic: AnyArray
    """Log-odds that the neighbours send to each node, shape (n_rows, n_columns)."""
    n_iter: int
    """Iterations used."""
    converged: bool
    """Whether the messages came to rest."""


def check_table(name: str, table: ArrayLike) -> Float64Array:
    """Return a table of positive weights of neighbours.

    Raises
    ------
    ValueError
        If it is not of shape (2, 2), finite and positive.
    """
    out = np.asarray(table, dtype=np.float64)
    if out.shape != (2, 2) or not np.all(np.isfinite(out)) or not np.all(out > 0):
        raise ValueError(f"{name} must be a 2 x 2 table of positive finite weights; got {table!r}")
    return out


def grid_belief_propagation(
    log_odds: ArrayLike,
    row_table: ArrayLike,
    column_table: ArrayLike,
    *,
    damping: float = 0.5,
    max_iter: int = 100,
    tol: float = 1e-4,
) -> GridMessages:
    r"""Approximate the marginals of a binary grid by loopy sum-product.

    With the log-odds :math:`\ell` and the tables R and C of rows and columns the states s of the grid have the weight
    :math:`\prod e^{\ell_{rc} s_{rc}} \prod R_{s_{rc} s_{r,c+1}} \prod C_{s_{rc} s_{r+1,c}}`.

    Parameters
    ----------
    log_odds : array-like of shape (n_rows, n_columns)
        Log-odds of each node on its own.
    row_table, column_table : array-like of shape (2, 2)
        Positive weights of horizontal and vertical neighbours, indexed by the state of the left (upper) node and that
        of the right (lower) one, off first.
    damping : float
        Fraction of the old messages that stays, in [0, 1); the first iteration is not damped.
    max_iter : int
        Largest number of iterations.
    tol : float
        Tolerance, absolute, in log-odds: stop once an iteration changes no sum of two messages by more than this.

    Returns
    -------
    GridMessages
        The posterior log-odds are ``extrinsic + log_odds``.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Warns
    -----
    ConvergenceWarning
        If the messages still move after `max_iter` iterations.

    Notes
    -----
    O(n_rows n_columns) per iteration. An iteration runs all rows exactly, given what the columns say, and then all
    columns given what the rows say. Its fixed points are those of any schedule of sum-product messages, and a grid of
    one row or one column is solved exactly. On other grids the marginals are approximate: on 3 x 4 grids with tables in
    (0.05, 0.6) the median of the largest error is below 0.01.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import grid_belief_propagation
    >>> alike = [[0.8, 0.2], [0.2, 0.8]]
    >>> found = grid_belief_propagation([[2.0, 2.0], [2.0, 0.0]], alike, alike)
    >>> found.converged, bool(found.probability[1, 1] > 0.8)
    (True, True)
    """
    values = check_evidence(log_odds, ndim=2)
    tables = check_table("row_table", row_table), check_table("column_table", column_table)
    Real(0.0, 1.0, closed="left").check("damping", damping)
    NONNEGATIVE.check("tol", tol)
    rows, cols, n_iter, converged = grid_lines(values, *tables, damping, COUNT.check("max_iter", max_iter), tol)
    if not converged:
        warnings.warn(
            f"sum-product on the grid still moves after max_iter={max_iter} iterations; raise damping or max_iter",
            ConvergenceWarning,
            stacklevel=2,
        )
    ext = total(rows) + total(cols)
    dtype = np.float32 if getattr(log_odds, "dtype", None) == np.float32 else np.float64
    return GridMessages(expit(ext + values).astype(dtype), ext.astype(dtype), n_iter, converged)


def total(lines: LinePass) -> Float64Array:
    """Return what both sides of its line send to each node."""
    return lines.forward + lines.backward


def grid_lines(
    log_odds: Float64Array,
    row_table: Float64Array,
    column_table: Float64Array,
    damping: float,
    max_iter: int,
    tol: float,
    row_start: float = 0.0,
    col_start: float = 0.0,
) -> tuple[LinePass, LinePass, int, bool]:
    """Iterate; return the messages along rows and along columns, iterations used, and whether they came to rest."""
    across = down = np.zeros_like(log_odds)
    converged = False
    for n_iter in range(1, max_iter + 1):
        keep = damping if n_iter > 1 else 0.0
        rows = line_pass(log_odds + down, row_start, row_table)
        change = np.abs(total(rows) - across).max()
        across = keep * across + (1.0 - keep) * total(rows)
        cols = _column_pass(log_odds + across, col_start, column_table)
        change = max(change, np.abs(total(cols) - down).max())
        down = keep * down + (1.0 - keep) * total(cols)
        if change <= tol:
            converged = True
            break
    return rows, cols, n_iter, converged


def _column_pass(unary: Float64Array, start: float, table: Float64Array) -> LinePass:
    lines = line_pass(np.ascontiguousarray(unary.T), start, table)
    return LinePass(lines.forward.T, lines.backward.T, lines.log_z)


def bethe_log_z(
    log_odds: Float64Array, rows: LinePass, cols: LinePass, row_table: Float64Array, column_table: Float64Array
) -> float:
    """Return the Bethe approximation of the log normaliser at a fixed point: exact on one line, no bound on a grid.

    Sum over edges of the log normalisers of the pair beliefs, less those of the nodes as often as edges share them.
    The factors at the starts of the lines must stand in `log_odds`.
    """
    odds = log_odds + total(rows) + total(cols)
    n_rows, n_cols = log_odds.shape
    degrees = np.full(log_odds.shape, 4)
    for side in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        degrees[side] -= 1
    value = float(((1 - degrees) * np.logaddexp(0.0, odds)).sum())
    if n_cols > 1:
        value += _edges((odds - rows.backward)[:, :-1], (odds - rows.forward)[:, 1:], row_table)
    if n_rows > 1:
        value += _edges((odds - cols.backward)[:-1], (odds - cols.forward)[1:], column_table)
    return value


def _edges(left: Float64Array, right: Float64Array, table: Float64Array) -> float:
    weights = np.log(table)
    off = np.logaddexp(weights[0, 0], weights[0, 1] + right)
    on = left + np.logaddexp(weights[1, 0], weights[1, 1] + right)
    return float(np.logaddexp(off, on).sum())
