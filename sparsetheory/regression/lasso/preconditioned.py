"""Lassos after a change of the design: singular values made equal, or outlying directions left without penalty."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.certificates import Status
from sparsetheory.constraints import COUNT, FLAG, MISSING, POSITIVE, Array, Constraint, check_parameters
from sparsetheory.penalties.separable import L1
from sparsetheory.regression.best_subset.subset_least_squares import inverse_norms
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.lasso.certificate import warn_if_rounding_spoils
from sparsetheory.regression.lasso.outlier_peeling import outlying_features
from sparsetheory.regression.lasso.preconditioned_certificate import PeelingCertificate, PufferCertificate
from sparsetheory.regression.lasso.working_set import Solution, solve_lasso
from sparsetheory.regression.least_squares import LeastSquaresData, prepare
from sparsetheory.regression.linear_model import SparseLinearModel
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["OutlierPeelingLasso", "PufferLasso"]

# Singular values below this fraction of the largest, and the squares of these for eigenvalues, are taken for zero.
_RANK = 1e-10


class _PreconditionedLasso(SparseLinearModel):
    """The final step of both estimators."""

    tol: float
    max_iter: int
    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "alpha": POSITIVE,
        "tol": POSITIVE,
        "max_iter": COUNT,
        "fit_intercept": FLAG,
    }

    def _solve(
        self, data: LeastSquaresData, columns: Columns, y: Float64Array, alpha: Float64Array, scale: Any
    ) -> Solution:
        """Solve a Lasso and store its coefficients, multiplied by `scale`."""
        solution = solve_lasso(columns, y, alpha, tol=self.tol, max_iter=self.max_iter)
        if not solution.converged:
            warnings.warn(
                f"{type(self).__name__}: duality gap {solution.gap:.2e} above its tolerance {solution.tolerance:.2e} "
                f"after max_iter={self.max_iter} working sets; increase max_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        coef = np.zeros(columns.n_features)
        coef[solution.indices] = solution.values
        self.n_iter_ = solution.n_iter
        self._set_coefficients(data, coef * scale)
        return solution

    def _certify(self, certificate: Any, X: Any, y: AnyArray, data: LeastSquaresData, solution: Solution) -> Self:
        """Check a certificate on the data and keep it."""
        self.certificate_ = certificate.on(X, y, data)
        self.dual_gap_ = float(self.certificate_.measured)
        warn_if_rounding_spoils(self.certificate_, converged=solution.converged)
        return self


class PufferLasso(_PreconditionedLasso):
    r"""Lasso after all singular values of the design are made equal.

    With :math:`X = U S V^T` (columns normalised to mean square one) and :math:`F = \sqrt n\, U S^{-1} U^T`, minimises
    :math:`\frac{1}{2n}\|F y - F X w\|^2 + \lambda \|w\|_1`. If the columns are orthogonal this is the plain Lasso.

    Parameters
    ----------
    alpha : float
        Strength of the penalty for normalised columns, positive.
    tol : float
        Tolerance, relative to half the mean square of the preconditioned response, for the duality gap.
    max_iter : int
        Working sets tried.
    fit_intercept : bool
        Whether to fit a constant.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Features with coefficients that are not zero.
    rank_ : int
        Singular values kept (those above 1e-10 of the largest).
    dual_gap_ : float
        Of the preconditioned problem, for the model as it predicts.
    n_iter_ : int
        Working sets used.
    certificate_ : PufferCertificate
        ``certificate_.check(X, y)`` recomputes the gap from the data.

    Notes
    -----
    One singular value decomposition, O(n d min(n, d)); sparse designs become dense. Preconditioning removes
    correlations between columns, but multiplies the noise along direction i by :math:`1/s_i`: on ill-conditioned
    designs the result is often worse than zero. Jia and Rohe (2015), Electron. J. Stat. 9.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import PufferLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 40)) + 3 * rng.standard_normal((100, 1))
    >>> y = X[:, 3] - 2 * X[:, 7] + 0.1 * rng.standard_normal(100)
    >>> PufferLasso(0.2).fit(X, y).support_.tolist()
    [3, 7]
    """

    def __init__(
        self, alpha: float = 0.1, *, tol: float = 1e-6, max_iter: int = 100, fit_intercept: bool = True
    ) -> None:
        self.alpha = alpha
        self.tol = tol
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design.
        y : array-like of shape (n_samples,)
            Response.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights, normalised to mean one.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        """
        check_parameters(self)
        X, y = self._check_arrays(X, y)
        data = prepare(X, y, sample_weight, fit_intercept=self.fit_intercept)
        scale = inverse_norms(data.columns) * np.sqrt(data.n_samples)
        left, values, right = _decompose(data.columns, scale)
        self.rank_ = values.size
        # The Lasso sees inner products of rows only: coordinates along U stand for F X and F y.
        size = np.sqrt(max(values.size, 1))
        rows, target = size * right, size * (left.T @ data.y) / values
        if values.size == 0:
            rows, target = np.zeros((1, data.n_features)), np.zeros(1)
        strengths = np.full(data.n_features, float(self.alpha))
        solution = self._solve(data, Columns(np.asfortranarray(rows)), target, strengths, scale)
        certificate = PufferCertificate(
            "",
            solution.tolerance,
            None,
            Status.INVALID,
            alpha=float(self.alpha),
            coef=self.coef_.copy(),
            intercept=self.intercept_,
            fit_intercept=bool(self.fit_intercept),
            tol=float(self.tol),
        ).stated()
        return self._certify(certificate, X, y, data, solution)


def _decompose(columns: Columns, scale: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the singular value decomposition of the scaled columns up to the numerical rank."""
    dense = columns.take(np.arange(columns.n_features)) * scale
    left, values, right = scipy.linalg.svd(dense, full_matrices=False, check_finite=False, overwrite_a=True)
    kept = values > _RANK * np.max(values, initial=0.0)
    return left[:, kept], values[kept], right[kept]


class OutlierPeelingLasso(_PreconditionedLasso):
    r"""Lasso that does not penalise the features behind the weakest directions of the design.

    A few directions in which the columns nearly cancel let small predictions have large coefficients, which the l1
    norm then refuses. The features that carry those directions are fitted by least squares instead.

    Parameters
    ----------
    alpha : float
        Strength of the penalty for columns of mean square one, positive.
    n_nonzero : int
        Number k of features that the model is thought to need; more are peeled for larger k.
    threshold : float
        Eigenvalues of the correlation matrix below this fraction of their mean (zeros left out) are outliers.
    covariance : array-like of shape (n_features, n_features), optional
        Covariance of the features, where it is known. Without it, that of the sample is used, which shows no outliers
        unless there are more samples than features.
    tol : float
        Tolerance, relative to half the mean square of the response, for the duality gap.
    max_iter : int
        Working sets tried.
    fit_intercept : bool
        Whether to fit a constant.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Features with coefficients that are not zero.
    peeled_ : ndarray of int
        Features without penalty, sorted; at most a third of the number of samples.
    n_outliers_ : int
        Outlying eigenvalues.
    dual_gap_, n_iter_
        As in :class:`PufferLasso`, for the problem without the peeled features.
    certificate_ : PeelingCertificate
        ``certificate_.check(X, y)`` recomputes the gap from the data, given the peeled features.

    Notes
    -----
    One eigenvalue decomposition; sparse designs become dense. A reconstruction of the idea of Kelner, Koehler, Meka
    and Rohatgi (2023), "Feature adaptation for sparse linear regression"; the rule and its constants are ours, see
    :func:`~sparsetheory.regression.lasso.outlier_peeling.outlying_features`. It is made for few outliers: where
    eigenvalues are spread over decades, nearly every feature would have to be peeled.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import OutlierPeelingLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 50))
    >>> X[:, 1] = X[:, 0] + 0.001 * rng.standard_normal(200)
    >>> y = 1000 * (X[:, 1] - X[:, 0]) + 0.1 * rng.standard_normal(200)
    >>> model = OutlierPeelingLasso(0.05).fit(X, y)
    >>> model.peeled_.tolist(), round(model.score(X, y), 2)
    ([0, 1], 0.99)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        **_PreconditionedLasso._constraints,
        "n_nonzero": COUNT,
        "threshold": POSITIVE,
        "covariance": MISSING | Array("a matrix of numbers"),
    }

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        n_nonzero: int = 5,
        threshold: float = 1e-3,
        covariance: ArrayLike | None = None,
        tol: float = 1e-6,
        max_iter: int = 100,
        fit_intercept: bool = True,
    ) -> None:
        self.alpha = alpha
        self.n_nonzero = n_nonzero
        self.threshold = threshold
        self.covariance = covariance
        self.tol = tol
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design.
        y : array-like of shape (n_samples,)
            Response.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights, normalised to mean one.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range, or `covariance` has another shape or is not symmetric.

        Warns
        -----
        UserWarning
            If more than a third of the number of samples would have to be peeled.
        """
        check_parameters(self)
        X, y = self._check_arrays(X, y)
        data = prepare(X, y, sample_weight, fit_intercept=self.fit_intercept)
        scale = inverse_norms(data.columns) * np.sqrt(data.n_samples)
        self.peeled_ = self._peel(data, scale)
        left = prepare(X, y, sample_weight, fit_intercept=self.fit_intercept, unpenalised=self.peeled_)
        # A column of zeros has no scale; no strength can make it useful.
        alpha = self.alpha / np.where(scale > 0, scale, 1.0)
        solution = self._solve(left, left.columns, left.y, alpha, 1.0)
        alpha[self.peeled_] = 0.0
        certificate = PeelingCertificate.of(
            L1(float(self.alpha)),
            alpha,
            self.coef_.copy(),
            self.intercept_,
            bound=solution.tolerance,
            tol=float(self.tol),
            fit_intercept=bool(self.fit_intercept),
            peeled=self.peeled_,
        )
        return self._certify(certificate, X, y, left, solution)

    def _peel(self, data: LeastSquaresData, scale: Float64Array) -> IndexArray:
        values, vectors = self._spectrum(data, scale)
        outlying = values < self.threshold * np.mean(values) if values.size else np.empty(0, dtype=bool)
        self.n_outliers_ = int(np.count_nonzero(outlying))
        peeled = outlying_features(vectors[:, outlying], n_nonzero=self.n_nonzero)
        limit = max(1, data.n_samples // 3)
        if peeled.size > limit:
            warnings.warn(
                f"{self.n_outliers_} outlying eigenvalues ask for {peeled.size} unpenalised features; only the first "
                f"{limit} are peeled. The design has too many outliers for this method; a smaller threshold has fewer",
                UserWarning,
                stacklevel=3,
            )
        return np.sort(peeled[:limit])

    def _spectrum(self, data: LeastSquaresData, scale: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the positive eigenvalues and the eigenvectors of the correlation matrix."""
        if self.covariance is None:
            _, values, right = _decompose(data.columns, scale)
            return values**2, right.T
        known = _check_covariance(self.covariance, data.n_features)
        deviations = np.sqrt(np.diag(known))
        inverse = np.where(scale > 0, 1.0, 0.0) / np.where(deviations > 0, deviations, 1.0)
        values, vectors = scipy.linalg.eigh(inverse[:, None] * known * inverse)
        kept = values > _RANK * np.max(values, initial=0.0)
        return values[kept], vectors[:, kept]


def _check_covariance(covariance: ArrayLike, n_features: int) -> Float64Array:
    known = np.asarray(covariance, dtype=np.float64)
    if known.shape != (n_features, n_features):
        raise ValueError(f"covariance must have shape {(n_features, n_features)}; got {known.shape}")
    if not np.all(np.isfinite(known)) or not np.allclose(known, known.T) or np.any(np.diag(known) < 0):
        raise ValueError("covariance must be finite and symmetric with non-negative variances")
    return known
