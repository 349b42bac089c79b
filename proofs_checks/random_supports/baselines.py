"""Claims about the classical methods: what their output obeys exactly, on every design."""

import warnings
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.regression import NIHT, L0SwapRegressor
from sparsetheory.regression.best_subset.splicing_search import splice
from sparsetheory.regression.best_subset.subset_least_squares import SubsetLeastSquares
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.greedy.stepwise import forward_path
from sparsetheory.regression.lasso.working_set import solve_lasso
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

# Least squares and sums over at most 60 rows, on columns that are up to 30 times closer to each other than their norm.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class _Regression:
    """Unit columns, a response, and where on the range of strengths to fit."""

    X: Float64Array
    y: Float64Array
    fraction: float
    size: int

    @property
    def alpha(self) -> float:
        """A strength of the l1 norm at which something is selected."""
        return self.fraction * float(np.abs(self.X.T @ self.y).max()) / self.y.size


def _draw(n: int, d: int, size: int, spread: float, fraction: float, seed: int) -> _Regression:
    rng = np.random.default_rng(seed)
    heads = rng.standard_normal((n, 4))[:, rng.integers(4, size=d)]
    X = heads + spread * rng.standard_normal((n, d))
    X /= np.linalg.norm(X, axis=0)
    w = rng.standard_normal(d) * (rng.random(d) < 0.2)
    return _Regression(np.asfortranarray(X), X @ w + 0.1 * rng.standard_normal(n), fraction, size)


def _regressions() -> st.SearchStrategy[_Regression]:
    return st.builds(
        _draw,
        st.integers(20, 60),
        st.integers(10, 60),
        st.integers(1, 5),
        st.sampled_from([0.1, 1.0, 10.0]),
        st.floats(0.02, 0.9),
        st.integers(0, 2**32 - 1),
    )


def _squares(problem: _Regression, support: IndexArray) -> float:
    """Return the residual sum of squares on a support, by ``numpy.linalg.lstsq``."""
    XS = problem.X[:, support]
    return float(np.sum((problem.y - XS @ np.linalg.lstsq(XS, problem.y, rcond=None)[0]) ** 2))


def _lasso(problem: _Regression, tol: float) -> tuple[Float64Array, float, BoolArray]:
    d = problem.X.shape[1]
    solution = solve_lasso(Columns(problem.X), problem.y, np.full(d, problem.alpha), tol=tol)
    coef = np.zeros(d)
    coef[solution.indices] = solution.values
    return coef, solution.gap, solution.screened


def _optimality(problem: _Regression, factor: float = 1.0) -> Measurement:
    r"""Compare correlations with the residual of an approximate Lasso with the strength and what its gap allows.

    The loss is strongly convex in the prediction, so that a gap g puts the residual within :math:`\sqrt{2ng}` of that
    of the minimiser, whose correlations are at most the strength.
    """
    coef, gap, _ = _lasso(problem, 1e-3)
    n = problem.y.size
    correlations = np.abs(problem.X.T @ (problem.y - problem.X @ coef)) / n
    return Measurement.worst(correlations, factor * problem.alpha + np.sqrt(2 * n * gap) / n, problem.alpha)


lasso_optimality = Claim(
    name="random_supports.lasso_optimality",
    summary="The duality gap bounds how far every correlation of a Lasso fit exceeds its strength.",
    statement=r"\tfrac1n |x_j^\top (y - X w)| \le \lambda + \tfrac1n \|x_j\| \sqrt{2 n\, g(w)}",
    source=Source.classic("Karush, Kuhn, Tucker; strong convexity", "optimality of the Lasso up to its duality gap"),
    verdict=Always(_ROUNDING),
    instances=_regressions,
    evaluate=_optimality,
    near_miss=lambda problem: _optimality(problem, 0.9),
)


def _screened(problem: _Regression, proved: bool = True) -> Measurement:
    """Measure coefficients of the exact solution on features that a loose one has ruled out."""
    loose, _, screened = _lasso(problem, 1e-2)
    exact = _lasso(problem, 1e-13)[0]
    if not proved:
        screened = np.abs(problem.X.T @ (problem.y - problem.X @ loose)) < problem.alpha * problem.y.size
    return Measurement(float(np.abs(exact[screened]).max(initial=0.0)), 0.0, max(float(np.abs(exact).max()), 1e-300))


safe_screening = Claim(
    name="random_supports.safe_screening",
    summary="Features ruled out by the duality gap are zero in the solution.",
    statement=r"|x_j^\top \theta| + \|x_j\| \sqrt{2 g / n} / \lambda < 1 \Rightarrow \hat w_j = 0",
    source=Source.classic("Fercoq, Gramfort, Salmon (2015)", "gap-safe spheres"),
    # Where the minimiser is zero with slack, a solution of relative gap 1e-13 is at most its gap over that slack.
    verdict=Always(1e-6),
    instances=_regressions,
    evaluate=_screened,
    near_miss=lambda problem: _screened(problem, proved=False),
)


def _gains(problem: _Regression, frozen: bool = False) -> Measurement:
    """Compare the drop of the residual in a step of forward selection with squared correlation over what is left."""
    path = forward_path(Columns(problem.X), problem.y, np.ones(problem.X.shape[1]), max_steps=problem.size)
    errors = []
    for t, j in enumerate(path.indices):
        Q = np.linalg.qr(problem.X[:, path.indices[:t]])[0]
        left = problem.X[:, j] - Q @ (Q.T @ problem.X[:, j])
        residual = problem.y - Q @ (Q.T @ problem.y)
        drop = _squares(problem, path.indices[:t]) - _squares(problem, path.indices[: t + 1])
        errors.append(abs(drop - (problem.X[:, j] @ residual) ** 2 / (1.0 if frozen else left @ left)))
    return Measurement.worst(errors, 0.0, float(problem.y @ problem.y))


stepwise_gain = Claim(
    name="random_supports.stepwise_gain",
    summary="A step of forward selection lowers the squared residual by the amount that was foretold.",
    statement=r"\|r_t\|^2 - \|r_{t+1}\|^2 = (x_j^\top r_t)^2 / \|(I - P_t) x_j\|^2",
    source=Source.classic("Chen, Billings, Luo (1989)", "gain of a step of orthogonal least squares"),
    verdict=Always(_ROUNDING),
    instances=_regressions,
    evaluate=_gains,
    near_miss=lambda problem: _gains(problem, frozen=True),
)


def _orthogonality(problem: _Regression, steps_back: int = 0) -> Measurement:
    """Measure cosines between selected columns and the residual of matching pursuit."""
    path = forward_path(
        Columns(problem.X), problem.y, np.ones(problem.X.shape[1]), max_steps=problem.size, fixed_norms=True
    )
    basis = path.basis[:, : max(path.indices.size - steps_back, 0)]
    residual = problem.y - basis @ (basis.T @ problem.y)
    return Measurement.worst(np.abs(problem.X[:, path.indices].T @ residual), 0.0, float(np.linalg.norm(problem.y)))


pursuit_orthogonality = Claim(
    name="random_supports.pursuit_orthogonality",
    summary="In matching pursuit the residual is orthogonal to every selected column.",
    statement=r"x_j^\top r_t = 0 \text{ for every selected } j",
    source=Source.classic("Pati, Rezaiifar, Krishnaprasad (1993)", "orthogonal matching pursuit"),
    verdict=Always(_ROUNDING),
    instances=_regressions,
    evaluate=_orthogonality,
    near_miss=lambda problem: _orthogonality(problem, steps_back=1),
)


@dataclass(frozen=True, eq=False)
class _Incoherent:
    """Two bases of equal coherence everywhere, and signs on a few of their columns."""

    X: Float64Array
    support: IndexArray
    signs: Float64Array


def _draw_incoherent(order: int, count: int, aligned: bool, seed: int) -> _Incoherent:
    """Draw a support on the unit vectors and the Hadamard basis of dimension ``2**order``.

    The worst supports take unit vectors from a subgroup and, with the other sign, Hadamard vectors that are constant
    on it: every correlation with them that is not one cancels a part of it.
    """
    rng, H = np.random.default_rng(seed), np.ones((1, 1))
    for _ in range(order):
        H = np.block([[H, H], [H, -H]])
    n = H.shape[0]
    X = np.hstack([np.eye(n), H / np.sqrt(n)])
    if not aligned:
        support = rng.choice(2 * n, min(count, n), replace=False)
        return _Incoherent(X, support, rng.choice([-1.0, 1.0], support.size))
    side = 2 ** (order // 2)
    spikes, waves = rng.permutation(side), n + side * rng.permutation(n // side)
    pairs = min(side, n // side)
    support = np.column_stack([spikes[:pairs], waves[:pairs]]).ravel()
    return _Incoherent(X, support, np.tile([1.0, -1.0], pairs))


def _recovery(problem: _Incoherent, factor: float = 1.0) -> Measurement:
    """Count the wrong columns that matching pursuit selects, if the support is small enough for the coherence."""
    coherence = np.abs(problem.X.T @ problem.X - np.eye(problem.X.shape[1])).max()
    k = min(int(np.ceil(factor * (1 + 1 / coherence) / 2)) - 1, problem.support.size)
    support = problem.support[:k]
    y = problem.X[:, support] @ problem.signs[:k]
    path = forward_path(Columns(problem.X), y, np.ones(problem.X.shape[1]), max_steps=k, fixed_norms=True)
    return Measurement(float(np.setdiff1d(path.indices, support).size), 0.0, 1.0)


coherence_recovery = Claim(
    name="random_supports.coherence_recovery",
    summary="Matching pursuit finds supports that are small for the coherence of the columns.",
    statement=r"k < \tfrac12 (1 + 1/\mu) \Rightarrow \text{matching pursuit selects the support in k steps}",
    source=Source.classic("Tropp, IEEE Trans. Inf. Theory 50 (2004)", "exact recovery by coherence"),
    verdict=Always(0.0),
    instances=lambda: st.builds(
        _draw_incoherent, st.integers(2, 6), st.integers(1, 30), st.booleans(), st.integers(0, 2**32 - 1)
    ),
    evaluate=_recovery,
    # Without the half: up to the reciprocal of the coherence, at which two representations exist.
    near_miss=lambda problem: _recovery(problem, factor=2.1),
)


def _thresholding(problem: _Regression, length: float = 1.0) -> Measurement:
    """Measure the largest rise of the loss of iterative hard thresholding with steps up to one over the curvature."""
    step = length / float(np.linalg.norm(problem.X, 2)) ** 2
    model = NIHT(problem.size, step=step, tol=0.1, max_iter=100, fit_intercept=False)
    with warnings.catch_warnings():
        # A descent need not have settled, and steps that are too long do not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(problem.X, problem.y)
    return Measurement(float(np.diff(model.history_).max(initial=-np.inf)), 0.0, float(model.history_[0]))


thresholding_descent = Claim(
    name="random_supports.thresholding_descent",
    summary="A short enough step of iterative hard thresholding never raises the residual.",
    statement=r"\mu \le 1 / \|X\|^2 \Rightarrow \|y - X w_{t+1}\| \le \|y - X w_t\|",
    source=Source.classic("Blumensath, Davies (2008)", "monotone loss of iterative hard thresholding"),
    verdict=Always(_ROUNDING),
    instances=_regressions,
    evaluate=_thresholding,
    near_miss=lambda problem: _thresholding(problem, length=2.0),
)


def _splices(problem: _Regression) -> Measurement:
    """Measure the largest rise of the loss over the exchanges, whose last value is recomputed from the support."""
    subsets = SubsetLeastSquares(Columns(problem.X), problem.y)
    start = np.arange(problem.size)
    subsets.include(start)
    found = splice(subsets, subsets.fit(start), max_exchange=3, max_iter=100, tol=0.0)
    history = [*found.history[:-1], _squares(problem, found.fit.support)]
    return Measurement(float(np.diff(history).max(initial=-np.inf)), 0.0, float(problem.y @ problem.y))


def _unconditional_exchange(problem: _Regression) -> Measurement:
    """Exchange the weakest feature for the most promising other, whether that helps or not."""
    start = np.arange(problem.size)
    coef = np.linalg.lstsq(problem.X[:, start], problem.y, rcond=None)[0]
    promise = np.abs(problem.X.T @ (problem.y - problem.X[:, start] @ coef))
    promise[start] = -1.0
    other = np.append(np.delete(start, np.argmin(coef**2)), np.argmax(promise))
    change = _squares(problem, other) - _squares(problem, start)
    return Measurement(change, 0.0, float(problem.y @ problem.y))


splicing_descent = Claim(
    name="random_supports.splicing_descent",
    summary="Every exchange of splicing lowers the residual.",
    statement=r"\text{splicing: } \|r\|^2 \text{ falls with every exchange, and there are finitely many}",
    source=Source.classic("Zhu, Wen, Zhu, Zhang, Wang (2020)", "finite termination of splicing"),
    verdict=Always(_ROUNDING),
    instances=_regressions,
    evaluate=_splices,
    near_miss=_unconditional_exchange,
)


def _best_exchange(problem: _Regression, swaps: str = "single") -> Measurement:
    """Compare the objective at exit with that after any exchange of one feature, other coefficients kept."""
    n, d = problem.X.shape
    cost = 0.01 * float(problem.y @ problem.y)
    model = L0SwapRegressor(cost / n, swaps=swaps, fit_intercept=False).fit(problem.X, problem.y)
    reached = float(np.sum((problem.y - problem.X @ model.coef_) ** 2)) / 2
    others = [reached + float(problem.y @ problem.y)]
    for i in model.support_:
        rest = problem.y - problem.X @ np.where(np.arange(d) == i, 0.0, model.coef_)
        promise = np.delete(problem.X.T @ rest, model.support_)
        others.append(float(rest @ rest - np.max(promise**2, initial=0.0)) / 2)
    return Measurement(reached, min(others), float(problem.y @ problem.y))


no_better_exchange = Claim(
    name="random_supports.no_better_exchange",
    summary="After a local search no exchange of one feature for another lowers the objective.",
    statement=r"F(\hat w) \le F(\hat w - \hat w_i e_i + t e_j) \text{ for all } i \in \hat S,\ j \notin \hat S,\ t",
    source=Source.classic("Hazimeh, Mazumder (2020)", "partial swap inescapable minima of order 1"),
    # Moves that gain less than 1e-9 of the cost are not made.
    verdict=Always(_ROUNDING),
    instances=_regressions,
    evaluate=_best_exchange,
    near_miss=lambda problem: _best_exchange(problem, swaps="none"),
)
