"""The Lasso after all singular values of the design are made equal."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.certificates import Status
from sparsetheory.constraints import check_parameters
from sparsetheory.regression.best_subset.subset_least_squares import inverse_norms
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.lasso.preconditioned import PreconditionedLasso, decompose
from sparsetheory.regression.lasso.preconditioned_certificate import PufferCertificate
from sparsetheory.regression.least_squares import prepare

__all__ = ["PufferLasso"]


class PufferLasso(PreconditionedLasso):
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
        left, values, right = decompose(data.columns, scale)
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
