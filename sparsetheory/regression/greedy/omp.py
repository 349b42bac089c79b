"""Orthogonal matching pursuit, for one target or many."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike

from sparsetheory.constraints import COUNT, FLAG, JOBS, MISSING, NONNEGATIVE, Constraint, check_parameters
from sparsetheory.regression.certificates.support import SupportCertificate
from sparsetheory.regression.certificates.support_rules import Greedy, Size
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.greedy.batch_omp import pursue_targets
from sparsetheory.regression.greedy.stepwise import (
    ForwardPath,
    forward_path,
    support_coefficients,
)
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.regression.linear_model import SparseLinearModel, check_sparsity
from sparsetheory.typing import Float64Array

__all__ = ["OMP"]


# Inner products of columns carry half of the digits: what several targets share is that accurate.
_GRAM_PRECISION = float(np.sqrt(np.finfo(np.float64).eps))
# A Gram matrix of more features than this (half a gigabyte) is not formed.
_LARGEST_GRAM = 8192


class OMP(SparseLinearModel):
    """Orthogonal matching pursuit: add the most correlated feature, refit, repeat.

    Parameters
    ----------
    n_nonzero : int or None
        Largest number of features per target. By default a tenth of all (at least 1, at most the number of samples);
        as many as there are if `tol` is given.
    tol : float or None
        Tolerance in the unit of the squared response: stop once the squared norm of the residual, row weights
        included, is at most this.
    fit_intercept : bool
        Whether to fit a constant.
    n_jobs : int or None
        Threads for many targets, in the sense of joblib.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, in the precision of X.
    intercept_ : float or ndarray of shape (n_targets,)
    support_ : ndarray of int
        Features that any target uses.
    path_ : ForwardPath or None
        The steps; None if there are several targets.
    n_iter_ : int or ndarray of int, shape (n_targets,)
        Steps of each target.
    certificate_ : SupportCertificate
        ``certificate_.check(X, y)`` verifies from the data that the coefficients are least squares on their support,
        the number of features, and for one target every step. That no other features fit better is not promised.

    See Also
    --------
    ForwardBackward : Compares features by what they really gain, and can delete.
    omp_gram : Many targets, from inner products.

    Notes
    -----
    Features are compared by the cosine of their angle to the residual, so their scale does not matter. One target
    costs one pass over the design per step, in any storage order; many targets share a Gram matrix where that is
    cheaper. Without noise, k features are recovered exactly if their number is below ``(1 + 1/mu) / 2``, with mu the
    largest cosine between two features (Tropp 2004). Pati, Rezaiifar and Krishnaprasad (1993).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import OMP
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 300))
    >>> y = X[:, 3] - 2 * X[:, 7] + 5
    >>> model = OMP(2).fit(X, y)
    >>> model.support_.tolist(), model.coef_[[3, 7]].round(6).tolist(), round(model.intercept_, 6)
    ([3, 7], [1.0, -2.0], 5.0)
    """

    _multi_output = True
    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_nonzero": MISSING | COUNT,
        "tol": MISSING | NONNEGATIVE,
        "fit_intercept": FLAG,
        "n_jobs": JOBS,
    }

    def __init__(
        self,
        n_nonzero: int | None = None,
        *,
        tol: float | None = None,
        fit_intercept: bool = True,
        n_jobs: int | None = None,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Response.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights; a row of weight 2 counts as two rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        """
        check_parameters(self)
        data = self._check(X, y, sample_weight)
        steps = self._steps(data)
        tol = None if self.tol is None else self.tol / data.mean_weight
        squares = data.columns.live_squares()
        counts: Any
        self.path_: ForwardPath | None = None
        if data.y.ndim == 1:
            coef, self.path_ = _pursue(data.columns, data.y, squares, steps, tol)
            counts = self.path_.indices.size
        elif data.n_features <= min(_LARGEST_GRAM, data.y.shape[1] * steps):
            coef, counts = pursue_targets(data.columns, data.y, squares, steps, tol, self.n_jobs)
        else:
            fits = Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(_pursue)(data.columns, y, squares, steps, tol) for y in np.ascontiguousarray(data.y.T)
            )
            coef = np.array([coef for coef, _ in fits])
            counts = np.array([path.indices.size for _, path in fits])
        self.n_iter_ = counts
        self._set_coefficients(data, coef)
        self.certificate_ = self._certify(data, steps, tol)
        return self

    def _certify(self, data: LeastSquaresData, steps: int, tol: float | None) -> SupportCertificate:
        size = Size(steps, tol or 0.0)
        if self.path_ is not None:
            return SupportCertificate.of(data, self, rules=(size, Greedy(self.path_.indices)))
        return SupportCertificate.of(data, self, rules=(size,), precision=_GRAM_PRECISION)

    def _steps(self, data: LeastSquaresData) -> int:
        n, d = data.n_samples, data.n_features
        if self.n_nonzero is not None:
            return check_sparsity("n_nonzero", self.n_nonzero, n, d)
        return min(n, d) if self.tol is not None else min(n, max(1, d // 10))


def _pursue(
    columns: Columns, y: Float64Array, squares: Float64Array, steps: int, tol: float | None
) -> tuple[Float64Array, ForwardPath]:
    path = forward_path(columns, y, squares, max_steps=steps, fixed_norms=True, stop_rss=tol or 0.0)
    return support_coefficients(columns, y, path.indices), path
