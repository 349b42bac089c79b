"""The level of the anchored l1 norm by cross-validation."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.model_selection import KFold

from sparsetheory.penalties.separable import L1
from sparsetheory.regression.lasso.path import data_path
from sparsetheory.regression.least_squares import prepare
from sparsetheory.regression.random_supports.anchored_fit import Anchored
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["cross_validated_level"]

_FOLDS, _LEVELS, _MIN_RATIO = 5, 40, 1e-3


def cross_validated_level(problem: Anchored, y: Float64Array, *, tol: float) -> float:
    """Return the level with the least mean squared error over five contiguous folds.

    The anchors and the weights, which depend on the design alone, stay; the span of the anchors and of what is always
    in the model is projected out afresh on every training fold.

    Parameters
    ----------
    problem : Anchored
        The design; parts that are always in the model are already projected out of the response.
    y : ndarray of shape (n_samples,)
        Response.
    tol : float
        As in :func:`sparsetheory.regression.lasso_path`.

    Returns
    -------
    float
    """
    n = problem.base.n_samples
    alive = np.flatnonzero(problem.squares > 0)
    weights = np.concatenate([np.sqrt(problem.squares[alive] / n), np.zeros(problem.anchors.size)])
    if alive.size == 0:
        return 1.0
    residual = problem.columns.project(y)
    largest = float(np.max(np.abs(problem.columns.correlate(residual)[alive]) / (n * weights[: alive.size])))
    if largest == 0.0:
        return 1.0
    levels = largest * np.geomspace(1.0, _MIN_RATIO, _LEVELS)
    used = _with_columns(problem.base.X[:, np.concatenate([alive, problem.anchors])], problem.base.basis)
    weights = np.concatenate([weights, np.zeros(used.shape[1] - weights.size)])
    free = np.arange(alive.size, weights.size)
    errors = np.zeros(_LEVELS)
    for train, test in KFold(_FOLDS).split(np.empty(n)):
        data = prepare(_rows(used, train), y[train], unpenalised=free)
        path = data_path(data, L1(1.0), weights, levels, _LEVELS, _MIN_RATIO, tol, 100)
        errors += np.sum((path.predict(_rows(used, test)) - y[test][:, None]) ** 2, axis=0)
    return float(levels[np.argmin(errors)])


def _rows(X: Any, rows: IndexArray) -> Any:
    return X[rows].tocsc() if hasattr(X, "tocsc") else X[rows]


def _with_columns(X: Any, basis: Float64Array | None) -> Any:
    """Return a design followed by what is always in the model."""
    if basis is None:
        return X
    return sparse.hstack([X, sparse.csc_array(basis)], format="csc") if sparse.issparse(X) else np.hstack([X, basis])
