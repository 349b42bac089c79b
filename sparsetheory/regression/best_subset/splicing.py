"""Best subset selection by splicing: exchange the least useful selected features for the most promising others."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.constraints import COUNT, FLAG, MISSING, NONNEGATIVE, Choice, Constraint, check_parameters
from sparsetheory.regression.best_subset.splicing_search import Splice, splice_sizes
from sparsetheory.regression.best_subset.subset_least_squares import SubsetLeastSquares
from sparsetheory.regression.certificates.support import SupportCertificate
from sparsetheory.regression.certificates.support_rules import Exchanges, Size
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.regression.linear_model import SparseLinearModel, check_sparsity
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["SplicingPath", "SplicingRegressor"]


def _slow_log(n: float) -> float:
    """Return log log n, but at least 1: it is no penalty at all for fewer than three samples."""
    return max(1.0, float(np.log(np.log(max(n, 3.0)))))


# Cost of one more feature, from the number of samples and of features.
_COSTS: dict[str, Callable[[float, int], float]] = {
    "ebic": lambda n, d: np.log(max(n, 1.0)) + 2.0 * np.log(d),
    "sic": lambda n, d: np.log(d) * _slow_log(n),
    "bic": lambda n, d: np.log(max(n, 1.0)),
    "aic": lambda n, d: 2.0,
}


@dataclass(frozen=True)
class SplicingPath:
    """The best model found for each size.

    Attributes
    ----------
    sizes : ndarray of int, shape (n_sizes,)
        Numbers of features, from 0 on.
    losses : ndarray of shape (n_sizes,)
        ``|y - Xw - b|^2 / (2n)``, decreasing.
    criteria : ndarray of shape (n_sizes,)
        ``n log(RSS / n)`` plus the cost of the features; the chosen size is the smallest minimiser.
    supports : tuple of ndarray of int
        Selected features, sorted.
    n_iter : ndarray of int, shape (n_sizes,)
        Products of the design with a vector at each size: exchanges made, and one more that found none.
    """

    sizes: IndexArray
    losses: Float64Array
    criteria: Float64Array
    supports: tuple[IndexArray, ...]
    n_iter: IndexArray


class SplicingRegressor(SparseLinearModel):
    r"""Least squares on the best subset of features that exchanges find.

    For every size s up to the largest, the model of size s - 1 gets one more feature, and then groups of features are
    exchanged as long as the residual falls. The size is given or chosen by an information criterion.

    Parameters
    ----------
    n_nonzero : int or None
        Number of features. None chooses it by `criterion`.
    criterion : {"ebic", "sic", "bic", "aic"}
        With n samples and d features, minimise :math:`n \log(RSS / n)` plus, per feature, :math:`\log n + 2 \log d`
        (the default), :math:`\log d \log\log n`, :math:`\log n`, or 2. The best of d useless features saves about
        :math:`2 \log d` by chance, which only "ebic" always outbids; "sic" does so from 1600 samples on.
    max_n_nonzero : int or None
        Largest size that the criterion may choose; ``n / (log d log log n)`` by default, above which no criterion can
        tell.
    max_exchange : int
        Most features exchanged at once.
    max_iter : int
        Most exchanges per size.
    tol : float
        Tolerance, relative to the residual sum of squares: an exchange must lower it by more.
    fit_intercept : bool
        Whether to fit a constant.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Selected features. There are fewer than `n_nonzero` where fewer fit the data exactly.
    path_ : SplicingPath
        Losses, criteria and supports of all sizes.
    n_nonzero_ : int
        Chosen size.
    n_iter_ : int
        Products of the design with a vector over all sizes.
    certificate_ : SupportCertificate
        ``certificate_.check(X, y)`` verifies from the data that the coefficients are least squares on their support,
        the number of features, and that none of the exchanges that the search tries lowers the residual by more than
        `tol`. Other exchanges, and the choice of the size, are not promised.

    See Also
    --------
    L0SwapRegressor : A cost per feature instead of a size.

    Notes
    -----
    Every size and every exchange costs one product ``X'r``; least squares is solved on few rows, in a basis of the
    columns ever tried. Columns are normalised inside: the model does not depend on their scale. The result is a local
    optimum: on designs with near-duplicate columns it can be far from the best subset. Algorithm and "sic": Zhu, Wen,
    Zhu, Zhang and Wang (2020), PNAS 117(52); "ebic": Chen and Chen (2008), Biometrika 95(3); the arithmetic is ours.

    Row weights count as repetitions: the criterion takes their sum for the number of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import SplicingRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 300))
    >>> y = X[:, 3] - 2 * X[:, 7] + 0.1 * rng.standard_normal(100)
    >>> model = SplicingRegressor().fit(X, y)
    >>> model.support_.tolist(), model.path_.losses[:3].round(3).tolist()
    ([3, 7], [2.599, 0.532, 0.006])
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_nonzero": MISSING | COUNT,
        "criterion": Choice(*_COSTS),
        "max_n_nonzero": MISSING | COUNT,
        "max_exchange": COUNT,
        "max_iter": COUNT,
        "tol": NONNEGATIVE,
        "fit_intercept": FLAG,
    }

    def __init__(
        self,
        n_nonzero: int | None = None,
        *,
        criterion: str = "ebic",
        max_n_nonzero: int | None = None,
        max_exchange: int = 5,
        max_iter: int = 20,
        tol: float = 1e-4,
        fit_intercept: bool = True,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.criterion = criterion
        self.max_n_nonzero = max_n_nonzero
        self.max_exchange = max_exchange
        self.max_iter = max_iter
        self.tol = tol
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
            Row weights.

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
        n = float(data.n_observations)
        size = self._largest_size(n, data)
        subsets = SubsetLeastSquares(data.columns, data.y)
        floor = (np.finfo(np.float64).eps * data.n_samples) ** 2 * float(data.raw_y @ data.raw_y)
        models = list(
            splice_sizes(
                subsets, size, floor=floor, max_exchange=self.max_exchange, max_iter=self.max_iter, tol=self.tol
            )
        )
        self.path_ = self._path(models, n, data, floor)
        chosen = int(np.argmin(self.path_.criteria)) if self.n_nonzero is None else len(models) - 1
        if not models[chosen].converged:
            warnings.warn(
                f"exchanges still reduced the loss after max_iter={self.max_iter}; increase max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.n_nonzero_ = chosen
        self.n_iter_ = int(self.path_.n_iter.sum())
        self._set_coefficients(data, subsets.coefficients(models[chosen].fit))
        rules = (Size(size if self.n_nonzero is not None else chosen, floor), Exchanges(self.max_exchange, self.tol))
        self.certificate_ = SupportCertificate.of(data, self, rules=rules, converged=models[chosen].converged)
        return self

    def _largest_size(self, n: float, data: LeastSquaresData) -> int:
        sizes = {"n_nonzero": self.n_nonzero, "max_n_nonzero": self.max_n_nonzero}
        given = [
            check_sparsity(name, size, data.n_samples, data.n_features)
            for name, size in sizes.items()
            if size is not None
        ]
        if given:
            return given[0]
        guess = int(n / (max(1.0, np.log(data.n_features)) * _slow_log(n)))
        return max(1, min(guess, data.n_samples, data.n_features))

    def _path(self, models: list[Splice], n: float, data: LeastSquaresData, floor: float) -> SplicingPath:
        sizes = np.arange(len(models))
        mean_squares = np.array([model.fit.rss for model in models]) / data.n_samples
        least = max(floor / data.n_samples, np.finfo(np.float64).tiny)
        cost = _COSTS[self.criterion](n, data.n_features)
        return SplicingPath(
            sizes,
            0.5 * mean_squares,
            n * np.log(np.maximum(mean_squares, least)) + cost * sizes,
            tuple(np.sort(model.fit.support) for model in models),
            np.array([len(model.history) for model in models]),
        )
