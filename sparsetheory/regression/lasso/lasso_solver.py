"""One call for other solvers that need a weighted Lasso on prepared columns."""

import numpy as np

from sparsetheory.penalties.separable import L1
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.lasso.quadratic import DataQuadratic
from sparsetheory.regression.lasso.working_set import Solution, WorkingSetSolver
from sparsetheory.typing import Float64Array

__all__ = ["solve_lasso"]


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
        Levels; features of level zero stay at zero, so unpenalised ones belong in the basis.
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
