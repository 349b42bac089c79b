"""Binary grids as exact rows that see each other in the mean: a lower bound of the normaliser that only grows."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from sparsetheory.bayesian.markov.chain import check_evidence, line_pass
from sparsetheory.bayesian.markov.grid import check_table
from sparsetheory.constraints import COUNT, NONNEGATIVE
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["RowsMeanField", "grid_rows_mf"]


class RowsMeanField(NamedTuple):
    """A distribution of a grid whose rows are independent chains."""

    post: AnyArray
    """Probabilities of being on, shape (R, C)."""
    ext: AnyArray
    """Log-odds of each node without its own evidence, shape (R, C)."""
    bounds: Float64Array
    """Lower bounds of the log normaliser after each sweep, non-decreasing."""
    converged: bool
    """Whether the probabilities came to rest."""


def grid_rows_mf(
    ell: ArrayLike,
    row_table: ArrayLike,
    col_table: ArrayLike,
    max_iter: int = 100,
    tol: float = 1e-8,
    post: ArrayLike | None = None,
) -> RowsMeanField:
    r"""Approximate a binary grid by independent rows, each an exact chain, with a guaranteed bound.

    Maximises :math:`E_q[\ln w(S)] + H(q)`, which never exceeds the log normaliser of the weight w of
    :func:`sparsetheory.bayesian.grid_bp`, over :math:`q(S) = \prod_r q_r(S_r)`, row by row.

    Parameters
    ----------
    ell, row_table, col_table
        As in :func:`sparsetheory.bayesian.grid_bp`.
    max_iter : int
        Largest number of sweeps over the rows.
    tol : float
        Largest change of a probability at which to stop.
    post : array-like of shape (R, C), optional
        Probabilities to start from; one half everywhere by default.

    Returns
    -------
    RowsMeanField

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    O(R C) per sweep. Each row is set to its best distribution given the others, so the bound only grows. Probabilities
    are less accurate than those of sum-product (whose normaliser is no bound).

    Examples
    --------
    >>> from sparsetheory.bayesian import grid_rows_mf
    >>> alike = [[0.8, 0.2], [0.2, 0.8]]
    >>> found = grid_rows_mf([[2.0, 2.0], [2.0, 0.0]], alike, alike)
    >>> bool(found.post[1, 1] > 0.8), bool((found.bounds[1:] >= found.bounds[:-1] - 1e-12).all())
    (True, True)
    """
    values = check_evidence(ell, ndim=2)
    tables = check_table("row_table", row_table), check_table("col_table", col_table)
    NONNEGATIVE.check("tol", tol)
    start = np.full(values.shape, 0.5) if post is None else np.array(post, dtype=np.float64)
    if start.shape != values.shape or not np.all((start >= 0) & (start <= 1)):
        raise ValueError(f"post must hold probabilities of shape {values.shape}; got shape {start.shape}")
    probabilities, ext, bounds, converged = sweep_rows(values, *tables, start, COUNT.check("max_iter", max_iter), tol)
    dtype = np.float32 if getattr(ell, "dtype", None) == np.float32 else np.float64
    return RowsMeanField(probabilities.astype(dtype), ext.astype(dtype), bounds, converged)


def sweep_rows(
    ell: Float64Array,
    row_table: Float64Array,
    col_table: Float64Array,
    post: Float64Array,
    max_iter: int,
    tol: float,
    row_start: float = 0.0,
) -> tuple[Float64Array, Float64Array, Float64Array, bool]:
    """Sweep over the rows; return probabilities, extrinsic log-odds, the bounds, and whether they came to rest."""
    post, ext = post.copy(), np.empty_like(ell)
    weights = np.log(col_table)
    entropies = np.empty(ell.shape[0])
    bounds: list[float] = []
    for _ in range(max_iter):
        before = post.copy()
        for r in range(ell.shape[0]):
            field = _field(weights, post, r)
            lines = line_pass((ell[r] + field)[None], row_start, row_table)
            ext[r] = field + (lines.forward + lines.backward)[0]
            post[r] = expit(ext[r] + ell[r])
            # Expected log weight along the row plus entropy, without what the node weights contribute.
            entropies[r] = lines.log_z[0] - post[r] @ (ell[r] + field)
        bounds.append(float(entropies.sum() + (post * ell).sum() + _vertical(weights, post)))
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
