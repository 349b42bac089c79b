"""What iterative methods for a fixed number of features have in common: checks, the best iterate, repetitions."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.constraints import COUNT, FLAG, MISSING, NONNEGATIVE, Constraint, check_parameters
from sparsetheory.regression.best_subset.subset_least_squares import SubsetLeastSquares, SupportFit
from sparsetheory.regression.certificates.support import SupportCertificate
from sparsetheory.regression.certificates.support_rules import Size
from sparsetheory.regression.linear_model import SparseLinearModel, check_sparsity
from sparsetheory.typing import IndexArray

__all__ = ["IterativeSupport", "Repeats"]


class Repeats:
    """Supports seen so far."""

    def __init__(self, first: IndexArray) -> None:
        self._seen = {np.sort(first).tobytes()}

    def add(self, support: IndexArray) -> bool:
        """Remember a support; return whether it was known."""
        key = np.sort(support).tobytes()
        known = key in self._seen
        self._seen.add(key)
        return known


class IterativeSupport(SparseLinearModel):
    """Data checks, bookkeeping of iterates, and warnings; a subclass yields the iterates."""

    n_nonzero: int | None
    max_iter: int
    tol: float
    fit_intercept: bool
    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_nonzero": MISSING | COUNT,
        "max_iter": COUNT,
        "tol": NONNEGATIVE,
        "fit_intercept": FLAG,
    }

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
        data = self._check(X, y, sample_weight)
        guess = min(max(1, data.n_features // 10), data.n_samples)
        count = check_sparsity(
            "n_nonzero", guess if self.n_nonzero is None else self.n_nonzero, data.n_samples, data.n_features
        )
        subsets = SubsetLeastSquares(data.columns, data.y)
        best, losses, converged = self._run(subsets, count)
        if not converged:
            warnings.warn(
                f"{type(self).__name__} did not settle within max_iter={self.max_iter}: increase max_iter or tol; "
                "where columns are strongly correlated, SplicingRegressor is a sounder choice",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.history_ = np.array(losses) / (2 * data.n_samples)
        self.n_iter_ = len(losses) - 1
        self._set_coefficients(data, subsets.coefficients(self._finish(subsets, best)))
        self.certificate_ = SupportCertificate.of(
            data, self, rules=(Size(count),), converged=converged, iteration=self._iteration_error(count)
        )
        return self

    def _run(self, subsets: SubsetLeastSquares, count: int) -> tuple[SupportFit, list[float], bool]:
        """Return the best iterate, the residual sums of squares of all, and whether the sequence ended by itself."""
        best = subsets.fit(np.empty(0, dtype=np.intp))
        losses = [best.rss]
        for fit in self._iterates(subsets, best, count):
            losses.append(fit.rss)
            best = min(best, fit, key=lambda f: f.rss)
            if len(losses) > self.max_iter:
                return best, losses, False
        return best, losses, True

    def _iteration_error(self, count: int) -> float:
        """Return how far from least squares the coefficients may be, as a multiple of their norm."""
        return 0.0

    def _iterates(self, subsets: SubsetLeastSquares, start: SupportFit, count: int) -> Iterator[SupportFit]:
        raise NotImplementedError

    def _finish(self, subsets: SubsetLeastSquares, best: SupportFit) -> SupportFit:
        return best
