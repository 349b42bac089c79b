"""Least squares with a cost per feature: coordinate descent, then exchanges until none helps."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE, POSITIVE, Choice, Constraint, check_parameters
from sparsetheory.numba_kernels.greedy.l0_descent import best_pair_move, best_swap, l0_sweep
from sparsetheory.regression.best_subset.subset_least_squares import SubsetLeastSquares, leading
from sparsetheory.regression.certificates.support import SupportCertificate
from sparsetheory.regression.certificates.support_rules import PenalisedCount
from sparsetheory.regression.linear_model import SparseLinearModel
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["L0Search", "L0SwapRegressor"]

# Rows of the Gram matrix computed in one pass: the second to sixteenth cost little.
_ROWS = 16
# Moves that gain less than this fraction of the cost, or of the response's square, are rounding.
_STRICT_COST = 1e-9
_STRICT_SQUARE = 1e-14
# The pair search holds a square matrix of this many rows: 200 MB.
_PAIR_LIMIT = 5000


class L0Search:
    """Minimise ``|y - Ub|^2 / 2 + cost * #{b != 0} + ridge * |b|^2`` locally, over unit columns U.

    Parameters
    ----------
    subsets : SubsetLeastSquares
        Design and response.
    cost : float
        Positive.
    ridge : float
        Non-negative.

    Attributes
    ----------
    fit : SupportFit
        Current model; the coefficients of unit columns.
    history : list of float
        Value after each exact solve on a support, strictly decreasing.
    """

    def __init__(self, subsets: SubsetLeastSquares, cost: float, ridge: float) -> None:
        self.subsets = subsets
        self.cost = cost
        self.ridge = ridge
        self.curvature = 1.0 + 2.0 * ridge
        self.least_gain = _STRICT_COST * cost + _STRICT_SQUARE * subsets.rest_square
        self.gram = np.empty((_ROWS, subsets.n_features))
        self.place = np.full(subsets.n_features, -1, dtype=np.int64)
        self.n_rows = 0
        self.history: list[float] = []
        self._solve(np.empty(0, dtype=np.intp))
        self.order = np.argsort(-np.abs(self.c), kind="stable")

    @property
    def support(self) -> IndexArray:
        """Features with coefficients that are not zero."""
        return np.flatnonzero(self.b)

    def _solve(self, support: IndexArray) -> bool:
        """Solve exactly on a support; return False, and change nothing, where that gains nothing."""
        self.subsets.include(support)
        fit = self.subsets.fit(support, self.ridge)
        used = np.count_nonzero(fit.coef)
        objective = 0.5 * fit.rss + self.cost * used + self.ridge * float(fit.coef @ fit.coef)
        if self.history and objective >= self.history[-1]:
            return False
        self.fit = fit
        self.history.append(objective)
        self.b = np.zeros(self.subsets.n_features)
        self.b[support] = fit.coef
        self.c = self.subsets.correlate(fit)
        return True

    def descend(self) -> bool:
        """Sweep over the coefficients once and solve on the new support; return whether that gained anything."""
        b, c, start = self.b.copy(), self.c.copy(), 0
        while True:
            start = l0_sweep(b, c, self.order, start, self.gram, self.place, self.cost, self.curvature, self.least_gain)
            if start == self.order.size:
                break
            self._learn(self.order[start], c)
        support = np.flatnonzero(b)
        return not np.array_equal(support, self.support) and self._solve(support)

    def _learn(self, feature: int, c: Float64Array) -> None:
        """Compute Gram rows of a feature and of others that will probably follow it."""
        scores = np.where(self.place < 0, np.abs(c), 0.0)
        scores[scores < np.sqrt(2.0 * self.cost * self.curvature)] = 0.0
        scores[feature] = np.inf
        self.learn(leading(scores, _ROWS))

    def learn(self, features: IndexArray) -> None:
        """Compute Gram rows of some features in one pass over the design."""
        new = features[self.place[features] < 0]
        if new.size == 0:
            return
        end = self.n_rows + new.size
        if end > self.gram.shape[0]:
            room = np.empty((max(end, 2 * self.gram.shape[0]), self.gram.shape[1]))
            room[: self.n_rows] = self.gram[: self.n_rows]
            self.gram = room
        self.gram[self.n_rows : end] = self.subsets.gram(new).T
        self.place[new] = np.arange(self.n_rows, end)
        self.n_rows = end

    def swap(self) -> bool:
        """Make the best exchange of one feature for another; return False where none gains anything."""
        self.learn(self.support)
        out, into, gain = best_swap(self.b, self.c, self.support, self.gram, self.place, self.curvature)
        return gain > self.least_gain and self._solve(_exchange(self.support, (out,), (into,)))

    def move_pairs(self) -> bool:
        """Take out at most two features and put in at most two; return False where no such move gains anything.

        All rows of the Gram matrix must have been learnt, in order.
        """
        *move, gain = best_pair_move(self.b, self.c, self.support, self.gram, self.cost, self.curvature)
        return gain > self.least_gain and self._solve(_exchange(self.support, move[:2], move[2:]))


def _exchange(support: IndexArray, out: Any, into: Any) -> IndexArray:
    kept = np.setdiff1d(support, np.array(out))
    return np.union1d(kept, [j for j in into if j >= 0]).astype(np.intp)


class L0SwapRegressor(SparseLinearModel):
    r"""Least squares with a cost per feature, at a point that no exchange of features improves.

    Minimises :math:`\frac{1}{2n}\|y - Xw - b\|^2 + \lambda_0 \|w\|_0 + \lambda_2 \sum_j s_j^2 w_j^2`, where s_j is
    the root mean square of column j about its mean: the model does not depend on the scale of the columns.

    Parameters
    ----------
    alpha : float
        Positive cost of a feature: what it must save of half the mean squared error.
    ridge : float
        Strength of the ridge penalty, non-negative.
    swaps : {"single", "pairs", "none"}
        When coordinate descent has come to rest, exchange one selected feature for another as long as that helps; or
        take out up to two features and put in up to two (needs the full Gram matrix, at most 5000 features, and
        O(s^2 d^2) time for s selected of d); or stop there.
    max_iter : int
        Most sweeps and exchanges together.
    fit_intercept : bool
        Whether to fit a constant.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Selected features.
    objective_ : float
        Value of the objective.
    history_ : ndarray
        Values of the objective after every least-squares solution on the way, strictly decreasing.
    n_iter_ : int
        Sweeps and exchanges.
    certificate_ : SupportCertificate
        ``certificate_.check(X, y)`` verifies from the data the objective, that the coefficients minimise it on their
        support, and that no single addition, removal or (with `swaps`) exchange lowers it. Pairs are not checked.

    See Also
    --------
    SplicingRegressor : A number of features instead of a cost.

    Notes
    -----
    A single exchange keeps the other coefficients fixed while it is judged; the new support is then solved exactly.
    Such local optima are stronger than those of coordinate descent and of convex penalties, and weaker than the best
    subset. Pairs find two features that explain the response only together (differences of nearly equal columns).
    After Hazimeh and Mazumder (2020), Operations Research 68(5), where the two kinds are called PSI(1) and PSI(2).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import L0SwapRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 300))
    >>> y = X[:, 3] - 2 * X[:, 7] + 0.1 * rng.standard_normal(100)
    >>> L0SwapRegressor(0.05).fit(X, y).support_.tolist()
    [3, 7]
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "alpha": POSITIVE,
        "ridge": NONNEGATIVE,
        "swaps": Choice("none", "single", "pairs"),
        "max_iter": COUNT,
        "fit_intercept": FLAG,
    }

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        ridge: float = 0.0,
        swaps: str = "single",
        max_iter: int = 1000,
        fit_intercept: bool = True,
    ) -> None:
        self.alpha = alpha
        self.ridge = ridge
        self.swaps = swaps
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
            If a parameter is out of its range, or there are too many features for pairs.
        """
        check_parameters(self)
        data = self._check(X, y, sample_weight)
        if self.swaps == "pairs" and data.n_features > _PAIR_LIMIT:
            raise ValueError(f"swaps='pairs' needs at most {_PAIR_LIMIT} features; X has {data.n_features}")
        search = L0Search(
            SubsetLeastSquares(data.columns, data.y), data.n_samples * float(self.alpha), float(self.ridge)
        )
        settled = self._run(search)
        if not settled:
            warnings.warn(
                f"L0SwapRegressor still improved after max_iter={self.max_iter}; increase max_iter",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.history_ = np.array(search.history) / data.n_samples
        self.objective_ = float(self.history_[-1])
        self._set_coefficients(data, search.subsets.coefficients(search.fit))
        promise = PenalisedCount(search.cost, search.ridge, search.least_gain, self.swaps != "none")
        self.certificate_ = SupportCertificate.of(
            data, self, rules=(promise,), alpha=float(self.alpha), ridge=float(self.ridge), converged=settled
        )
        return self

    def _run(self, search: L0Search) -> bool:
        """Improve the model until nothing helps; return False where `max_iter` ends that early."""
        exchange = {"single": search.swap, "pairs": search.move_pairs, "none": lambda: False}[self.swaps]
        if self.swaps == "pairs":
            search.learn(np.arange(search.subsets.n_features))
        for iteration in range(1, self.max_iter + 1):
            self.n_iter_ = iteration
            if not search.descend() and not exchange():
                return True
        return False
