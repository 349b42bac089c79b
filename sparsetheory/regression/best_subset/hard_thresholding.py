"""Iterative methods for a fixed number of features: NIHT, HTP and CoSaMP."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from sparsetheory.constraints import FLAG, MISSING, POSITIVE, Constraint
from sparsetheory.regression.best_subset.base import IterativeSupport, Repeats
from sparsetheory.regression.best_subset.subset_least_squares import SubsetLeastSquares, SupportFit, leading
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["HTP", "NIHT", "CoSaMP"]

_NONE: IndexArray = np.empty(0, dtype=np.intp)
# A step that changes the support must not exceed this fraction of the inverse curvature along it.
_SAFE_STEP = 0.99
# Halvings after which a step is rounding.
_MAX_HALVINGS = 60


def _best_step(
    subsets: SubsetLeastSquares, features: IndexArray, gradient: Float64Array, refitted: IndexArray
) -> float:
    """Return the step that minimises the loss along the gradient on some features, while others are refitted."""
    slope = gradient[features]
    curvature = subsets.square_outside(refitted, features, slope)
    return float(slope @ slope / curvature) if curvature > 0 else 0.0


def _full(fit: SupportFit, n_features: int) -> Float64Array:
    coef = np.zeros(n_features)
    coef[fit.support] = fit.coef
    return coef


class NIHT(IterativeSupport):
    r"""Normalised iterative hard thresholding: a gradient step, then only the largest coefficients stay.

    Minimises :math:`\|y - Xw - b\|^2` over coefficients with at most k non-zeros by
    :math:`w \leftarrow H_k(w + \mu X^T(y - Xw))`.

    Parameters
    ----------
    n_nonzero : int or None
        Number k of features; a tenth of all by default.
    step : float or None
        Length of the gradient step for columns of unit norm. None takes the best step on the current support and halves
        it, where the support changes, until :math:`\mu \le 0.99 \|\Delta w\|^2 / \|X \Delta w\|^2`. A fixed step up to
        :math:`1/\|X\|^2` (spectral norm, unit columns) also never increases the loss, but is mostly much shorter.
    refit : bool
        End with least squares on the best support.
    max_iter : int
        Most iterations.
    tol : float
        Tolerance, relative to the norm of the coefficients: stop when they change by at most this.
    fit_intercept : bool
        Whether to fit a constant.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Selected features.
    history_ : ndarray of shape (n_iter_ + 1,)
        ``|y - Xw - b|^2 / (2n)`` of all iterates, from the zero model on; before refitting.
    n_iter_ : int
        Iterations; each is one product of the design with a vector.
    certificate_ : SupportCertificate
        ``certificate_.check(X, y)`` verifies from the data that the coefficients are least squares on their support (up
        to `tol` if they are not refitted), and their number. That other features fit no better is not promised.

    See Also
    --------
    HTP, CoSaMP : Least squares in every iteration.
    SplicingRegressor : Exchanges instead of gradient steps.

    Notes
    -----
    Blumensath and Davies (2010), IEEE J. Sel. Top. Signal Process. 4(2). Columns are normalised inside, so the model
    does not depend on their scale. Recovery is guaranteed for designs with the restricted isometry property; nearly
    dependent columns mislead it.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import NIHT
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 300))
    >>> y = X[:, 3] - 2 * X[:, 7]
    >>> NIHT(2).fit(X, y).coef_[[3, 7]].round(6).tolist()
    [1.0, -2.0]
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        **IterativeSupport._constraints,
        "step": MISSING | POSITIVE,
        "refit": FLAG,
    }

    def __init__(
        self,
        n_nonzero: int | None = None,
        *,
        step: float | None = None,
        refit: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-6,
        fit_intercept: bool = True,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.step = step
        self.refit = refit
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept

    def _iterates(self, subsets: SubsetLeastSquares, start: SupportFit, count: int) -> Iterator[SupportFit]:
        fit = start
        while True:
            gradient = subsets.correlate(fit)
            new = self._next(subsets, fit, gradient, count)
            yield new
            change = _full(new, gradient.size) - _full(fit, gradient.size)
            if np.linalg.norm(change) <= self.tol * np.linalg.norm(new.coef):
                return
            fit = new

    def _next(self, subsets: SubsetLeastSquares, fit: SupportFit, gradient: Float64Array, count: int) -> SupportFit:
        current = _full(fit, gradient.size)
        support = fit.support if fit.support.size else leading(np.abs(gradient), count)
        subsets.include(support)
        step = _best_step(subsets, support, gradient, _NONE) if self.step is None else self.step
        for _ in range(_MAX_HALVINGS):
            new = _thresholded(subsets, current + step * gradient, count)
            if self.step is not None or np.array_equal(np.sort(new.support), np.sort(support)):
                return new
            change = _full(new, gradient.size) - current
            moved = np.flatnonzero(change)
            curvature = np.sum((subsets.coordinates(moved) @ change[moved]) ** 2)
            if step * curvature <= _SAFE_STEP * (change @ change):
                return new
            step *= 0.5
        return fit

    def _finish(self, subsets: SubsetLeastSquares, best: SupportFit) -> SupportFit:
        return subsets.fit(best.support) if self.refit else best

    def _iteration_error(self, count: int) -> float:
        # The last step moved the coefficients w by step * gradient, at most tol * |w|, and the gradient with it by at
        # most |U|^2 * tol * |w|, where |U|^2 <= k for k unit columns, and 2k while the support changes. Steps of our
        # own are at least 0.99 / 2 of the reciprocal of that.
        if self.refit:
            return 0.0
        steps = 5.0 * count if self.step is None else 1.0 / self.step
        return self.tol * (steps + 2.0 * count)


def _thresholded(subsets: SubsetLeastSquares, values: Float64Array, count: int) -> SupportFit:
    support = leading(np.abs(values), count)
    subsets.include(support)
    return subsets.evaluate(support, values[support])


class HTP(IterativeSupport):
    r"""Hard thresholding pursuit: the support of a gradient step, and least squares on it.

    Parameters
    ----------
    n_nonzero, fit_intercept
        As in :class:`NIHT`.
    step : float or None
        Length of the gradient step for columns of unit norm. None takes the best step along the gradient of the k most
        promising other features, given that the current ones are refitted.
    max_iter : int
        Most iterations.
    tol : float
        Tolerance, relative to the loss of the zero model: stop when the loss is at most this.

    Attributes
    ----------
    coef_, intercept_, support_, history_, n_iter_, certificate_
        As in :class:`NIHT`, of the best iterate.

    Notes
    -----
    The sequence is a function of the support, so it ends in a fixed point or a cycle; it is stopped at the first
    support seen before. Foucart (2011), SIAM J. Numer. Anal. 49(6). The gradient vanishes on the current support, which
    leaves the normalised step of NIHT undefined; the one here is ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import HTP
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 300))
    >>> y = X[:, 3] - 2 * X[:, 7]
    >>> HTP(2).fit(X, y).coef_[[3, 7]].round(6).tolist()
    [1.0, -2.0]
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {**IterativeSupport._constraints, "step": MISSING | POSITIVE}

    def __init__(
        self,
        n_nonzero: int | None = None,
        *,
        step: float | None = None,
        max_iter: int = 200,
        tol: float = 1e-24,
        fit_intercept: bool = True,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.step = step
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept

    def _iterates(self, subsets: SubsetLeastSquares, start: SupportFit, count: int) -> Iterator[SupportFit]:
        fit, repeats = start, Repeats(start.support)
        while fit.rss > self.tol * start.rss:
            gradient = subsets.correlate(fit)
            step = self._newcomers_step(subsets, fit, gradient, count) if self.step is None else self.step
            support = leading(np.abs(_full(fit, gradient.size) + step * gradient), count)
            if repeats.add(support):
                return
            subsets.include(support)
            fit = subsets.fit(support)
            yield fit

    @staticmethod
    def _newcomers_step(subsets: SubsetLeastSquares, fit: SupportFit, gradient: Float64Array, count: int) -> float:
        scores = np.abs(gradient)
        scores[fit.support] = 0.0
        new = leading(scores, count)
        subsets.include(new)
        return _best_step(subsets, new, gradient, fit.support)


class CoSaMP(IterativeSupport):
    r"""Compressive sampling matching pursuit: join 2k promising features, fit, and keep the k largest.

    Parameters
    ----------
    n_nonzero, fit_intercept
        As in :class:`NIHT`.
    max_iter : int
        Most iterations.
    tol : float
        Tolerance, relative to the loss of the zero model: stop when the loss is at most this.

    Attributes
    ----------
    coef_, intercept_, support_, history_, n_iter_, certificate_
        As in :class:`NIHT`, of the best iterate.

    Notes
    -----
    The loss can rise and the supports can run in a cycle: the best iterate is kept, and the search stops at the first
    support seen before. Needell and Tropp (2009), Appl. Comput. Harmon. Anal. 26(3), with a last least-squares fit on
    the k features.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import CoSaMP
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 300))
    >>> y = X[:, 3] - 2 * X[:, 7]
    >>> CoSaMP(2).fit(X, y).coef_[[3, 7]].round(6).tolist()
    [1.0, -2.0]
    """

    def __init__(
        self, n_nonzero: int | None = None, *, max_iter: int = 50, tol: float = 1e-24, fit_intercept: bool = True
    ) -> None:
        self.n_nonzero = n_nonzero
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept

    def _iterates(self, subsets: SubsetLeastSquares, start: SupportFit, count: int) -> Iterator[SupportFit]:
        fit, repeats = start, Repeats(start.support)
        while fit.rss > self.tol * start.rss:
            promising = leading(np.abs(subsets.correlate(fit)), 2 * count)
            merged = np.union1d(fit.support, promising)
            subsets.include(merged)
            wide = subsets.fit(merged)
            support = merged[leading(np.abs(wide.coef), count)]
            if repeats.add(support):
                return
            fit = subsets.fit(support)
            yield fit
