"""Estimators for penalised least squares with any penalty of the package."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.model_selection import check_cv

from sparsetheory.constraints import (
    COUNT,
    FLAG,
    FRACTION,
    JOBS,
    MISSING,
    POSITIVE,
    Anything,
    Array,
    Choice,
    Constraint,
    Instance,
    check_parameters,
)
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.separable import PENALTY_NAMES
from sparsetheory.regression.lasso.certificate import LassoCertificate, warn_if_rounding_spoils
from sparsetheory.regression.lasso.path import (
    RegularizationPath,
    check_weights,
    data_path,
    largest_alpha,
    penalty_for,
    prepare_penalised,
)
from sparsetheory.regression.lasso.quadratic import Quadratic
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.regression.linear_model import SparseLinearModel
from sparsetheory.regression.row_weights import check_row_weights
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["WorkingSetLasso", "WorkingSetLassoCV"]

# What both estimators take.
_SHARED: Mapping[str, Constraint] = MappingProxyType(
    {
        "penalty": Choice(*PENALTY_NAMES) | Instance(Penalty),
        "positive": FLAG,
        "weights": MISSING | Array("one non-negative number per feature"),
        "unpenalised": MISSING | Array("indices of features"),
        "fit_intercept": FLAG,
        "tol": POSITIVE,
        "max_iter": COUNT,
    }
)
# Strengths on the way to a single one, for penalties whose solution depends on the start.
_N_WARM = 20


class _PenalisedModel(SparseLinearModel):
    """What the two estimators have in common: the path on validated data, and one solution of it as the model."""

    penalty: str | Penalty
    positive: bool
    weights: ArrayLike | None
    unpenalised: ArrayLike | None
    fit_intercept: bool
    tol: float
    max_iter: int

    def _path(
        self, X: Any, y: Any, sample_weight: Any, alphas: Any, n_alphas: int = 100, min_ratio: float = 1e-3
    ) -> tuple[LeastSquaresData, RegularizationPath]:
        weights = check_weights(self.weights, X.shape[1])
        penalty = penalty_for(self.penalty, X.shape[1], positive=self.positive)
        data = prepare_penalised(
            X, y, sample_weight, weights, fit_intercept=self.fit_intercept, unpenalised=self.unpenalised
        )
        path = data_path(
            data, penalty, weights, alphas, n_alphas, min_ratio, self.tol, self.max_iter, dtype=self._dtype
        )
        return data, path

    def _keep(self, data: LeastSquaresData, path: RegularizationPath, index: int, X: Any, y: AnyArray) -> Self:
        """Make one solution of a path the fitted model, and check it on the data."""
        coef, intercept = path.coefs[:, index], float(path.intercepts[index])
        self.coef_, self.intercept_ = coef, intercept
        self.support_ = np.flatnonzero(coef)
        self.n_iter_ = int(path.n_iter[index])
        alpha = float(path.alphas[index])
        strengths = alpha * check_weights(self.weights, coef.size)
        strengths[data.free] = 0.0
        self.certificate_ = LassoCertificate.of(
            penalty_for(self.penalty, coef.size, positive=self.positive).with_alpha(alpha),
            strengths,
            coef.copy(),
            intercept,
            bound=path.gap_bound,
            tol=float(self.tol),
            fit_intercept=bool(self.fit_intercept),
        ).on(X, y, data)
        self.dual_gap_ = float(self.certificate_.measured or 0.0)
        warn_if_rounding_spoils(self.certificate_, converged=path.gaps[index] <= path.gap_bound)
        return self


class WorkingSetLasso(_PenalisedModel):
    r"""Least squares with the l1 norm or any other penalty of the package, at one strength.

    Minimises :math:`\frac{1}{2n}\|y - Xw - b\|^2 + \sum_j \phi(w_j; \lambda u_j)`.

    Parameters
    ----------
    alpha : float
        Strength of the penalty, positive.
    penalty : str or Penalty
        One of the names "l1", "elastic_net", "l0", "cel0", "mcp" and "scad", or an object such as ``MCP(alpha=1,
        gamma=3)`` whose strength `alpha` replaces. Penalties that need a number have no default for it: pass ``Lq(1.0,
        q=0.5)``, ``LogSum(1.0, eps=0.1)`` or ``CappedL1(1.0, theta=1.0)``. For penalties that are not convex the
        solution is approached along 20 decreasing strengths.
    positive : bool
        Whether penalised coefficients must be at least zero, as they must where the object says so.
    weights : array-like of shape (n_features,), optional
        Factors u of the strength; zero means not penalised.
    unpenalised : array-like of int, optional
        Features fitted by least squares.
    fit_intercept : bool
        Whether to fit a constant.
    tol : float
        Tolerance, relative to half the mean square of the response for the duality gap of convex penalties; for other
        penalties relative to ``max |X'y| / n`` for the largest violation of the optimality conditions.
    max_iter : int
        Working sets tried.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Features with coefficients that are not zero.
    dual_gap_ : float
        Duality gap of the model as it predicts, or distance of its coefficients from their best values.
    n_iter_ : int
        Working sets used.
    certificate_ : LassoCertificate
        ``certificate_.check(X, y)`` recomputes the gap from the data.

    See Also
    --------
    lasso_path : All strengths at once.
    WorkingSetLassoCV : Strength by cross-validation.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import WorkingSetLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 200))
    >>> y = X[:, 3] - 2 * X[:, 7]
    >>> model = WorkingSetLasso(alpha=0.1).fit(X, y)
    >>> model.support_.tolist(), model.certificate_.check(X, y).valid
    ([3, 7], True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {"alpha": POSITIVE, **_SHARED}

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        penalty: str | Penalty = "l1",
        positive: bool = False,
        weights: ArrayLike | None = None,
        unpenalised: ArrayLike | None = None,
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int = 100,
    ) -> None:
        self.alpha = alpha
        self.penalty = penalty
        self.positive = positive
        self.weights = weights
        self.unpenalised = unpenalised
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design; Fortran order is fastest.
        y : array-like of shape (n_samples,)
            Response.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights, normalised to mean one.

        Returns
        -------
        self
        """
        check_parameters(self)
        X, y = self._check_arrays(X, y)
        data, path = self._path(X, y, sample_weight, self._descent)
        return self._keep(data, path, -1, X, y)

    def _descent(self, quadratic: Quadratic, penalty: Penalty, weights: Float64Array) -> Float64Array:
        """Return the strength, after others on the way to it where the solution depends on the start."""
        if penalty.convex:
            return np.array([self.alpha])
        start = largest_alpha(quadratic, penalty, weights)
        return np.geomspace(max(start, self.alpha), self.alpha, _N_WARM)


class WorkingSetLassoCV(_PenalisedModel):
    """Penalised least squares whose strength is chosen by cross-validation along one warm-started path per fold.

    Parameters
    ----------
    penalty, positive
        As in :class:`WorkingSetLasso`.
    n_alphas : int
        Number of strengths, at least 1.
    min_ratio : float
        Smallest strength over the largest.
    alphas : array-like, optional
        Strengths to use instead.
    cv : int, splitter or iterable
        As in scikit-learn.
    weights, unpenalised, fit_intercept, tol, max_iter
        As in :class:`WorkingSetLasso`.
    n_jobs : int, optional
        Folds in parallel, as joblib counts.

    Attributes
    ----------
    alpha_ : float
        Strength with the least mean squared error.
    alphas_ : ndarray of shape (n_alphas,)
        Strengths, decreasing.
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Mean squared errors on the held-out rows.
    path_ : RegularizationPath
        Solutions for all strengths, fitted on all rows.
    coef_, intercept_, support_, dual_gap_, n_iter_, certificate_
        As in :class:`WorkingSetLasso`, at `alpha_`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import WorkingSetLassoCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 30))
    >>> y = X[:, 3] - 2 * X[:, 7] + 0.1 * rng.standard_normal(100)
    >>> WorkingSetLassoCV(penalty="mcp", n_alphas=20).fit(X, y).support_.tolist()
    [3, 7]
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_alphas": COUNT,
        "min_ratio": FRACTION,
        "alphas": MISSING | Array("positive finite numbers"),
        "cv": Anything("an integer, a splitter or an iterable of splits"),
        "n_jobs": JOBS,
        **_SHARED,
    }

    def __init__(
        self,
        *,
        penalty: str | Penalty = "l1",
        positive: bool = False,
        n_alphas: int = 100,
        min_ratio: float = 1e-3,
        alphas: ArrayLike | None = None,
        cv: Any = 5,
        weights: ArrayLike | None = None,
        unpenalised: ArrayLike | None = None,
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int = 100,
        n_jobs: int | None = None,
    ) -> None:
        self.penalty = penalty
        self.positive = positive
        self.n_alphas = n_alphas
        self.min_ratio = min_ratio
        self.alphas = alphas
        self.cv = cv
        self.weights = weights
        self.unpenalised = unpenalised
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Choose the strength and fit the model on all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design.
        y : array-like of shape (n_samples,)
            Response.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights, in fits and errors alike.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range, or all rows of a fold have weight zero.
        """
        check_parameters(self)
        X, y = self._check_arrays(X, y)
        weight = None if sample_weight is None else check_row_weights(sample_weight, X)[0] ** 2
        data, path = self._path(X, y, weight, self.alphas, self.n_alphas, self.min_ratio)
        splits = list(check_cv(self.cv).split(X, y))
        if weight is not None and not all(weight[test].any() for _, test in splits):
            raise ValueError("sample_weight must be positive somewhere in every fold of cv; a fold has only zeros")
        errors = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(self._fold_errors)(X, y, weight, path.alphas, train, test) for train, test in splits
        )
        self.alphas_, self.mse_path_, self.path_ = path.alphas, np.stack(errors, axis=1), path
        best = int(np.argmin(self.mse_path_.mean(axis=1)))
        self.alpha_ = float(path.alphas[best])
        return self._keep(data, path, best, X, y)

    def _fold_errors(
        self, X: Any, y: Any, weight: Any, alphas: Any, train: IndexArray, test: IndexArray
    ) -> Float64Array:
        inside, outside = (None, None) if weight is None else (weight[train], weight[test])
        rows = X[train].tocsc() if hasattr(X, "tocsc") else X[train]
        path = self._path(rows, y[train], inside, alphas)[1]
        errors = path.predict(X[test]) - y[test].astype(np.float64)[:, None]
        return np.asarray(np.average(errors**2, axis=0, weights=outside))
