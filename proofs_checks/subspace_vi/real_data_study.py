"""Subspaces on real data: held-out errors and sizes beside published methods and those of this package."""

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.special import gammaln

from sparsetheory.bayesian.subspace.linear.estimator import SparseSubspaceVI
from sparsetheory.bayesian.turbo.estimator import TurboVBI
from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.regression.best_subset.splicing import SplicingRegressor
from sparsetheory.typing import Float64Array

_COLUMNS = ("data", "rows x columns", "method", "held-out R^2", "columns used", "seconds")
_NOTES = (
    "Means over random splits; columns and responses are standardised by the training part. The bound compares "
    "subspaces of all sizes up to 20: the first row takes the size where it is largest, the second where it is largest "
    "less the logarithm of the number of subspaces of that size, which is a uniform prior over them. Without that "
    "prior it takes too many where there are thousands of columns. Neither needs cross-validation. Held-out errors are "
    "those of good peers, not better, with fewer columns than the Lasso. Seconds are of the processor, for all sizes "
    "together."
)
_MOST = 20
_TITLES = {
    "diabetes": "diabetes, squares and products",
    "hitters": "Hitters, log salary",
    "bikeshare": "Bikeshare, products",
    "nci60": "NCI60, a gene from all others",
}


def _expanded(X: Float64Array, *, squares: bool) -> Float64Array:
    """Return standardised columns and their products; categories of fewer than one row in a hundred are left out."""
    from sklearn.preprocessing import PolynomialFeatures

    common = np.array([np.unique(column, return_counts=True)[1].max() <= 0.99 * column.size for column in X.T])
    centred = (X[:, common] - X[:, common].mean(axis=0)) / X[:, common].std(axis=0)
    return np.asarray(PolynomialFeatures(2, interaction_only=not squares, include_bias=False).fit_transform(centred))


def _problems(name: str) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Yield designs and responses; of the cells the three genes that vary most are predicted from all others."""
    if name == "diabetes":
        from sklearn.datasets import load_diabetes

        found = load_diabetes()
        yield _expanded(found.data, squares=True), found.target
        return
    from sparsetheory.gpu import core

    table = core.datasets.load_table(name)
    if name == "nci60":
        for gene in np.argsort(-table.X.var(axis=0))[:3]:
            yield np.delete(table.X, gene, axis=1), table.X[:, gene]
    else:
        yield (table.X, np.log(table.y)) if name == "hitters" else (_expanded(table.X, squares=False), table.y)


def _largest_bound(X: Float64Array, y: Float64Array, *, uniform: bool) -> SparseSubspaceVI:
    """Fit subspaces of all sizes and keep that of the largest bound, maybe less the log number of its size."""

    def worth(model: SparseSubspaceVI) -> float:
        n, size = X.shape[1], model.support_.size
        count = gammaln(n + 1) - gammaln(size + 1) - gammaln(n - size + 1)
        return model.elbo_ - float(count) * uniform

    models = (SparseSubspaceVI(size).fit(X, y) for size in range(1, min(_MOST, X.shape[1]) + 1))
    return max(models, key=worth)


def _methods(X: Float64Array) -> dict[str, Callable[[Float64Array, Float64Array], Any]]:
    from sklearn.linear_model import ARDRegression, LassoCV, OrthogonalMatchingPursuitCV

    methods: dict[str, Callable[[Float64Array, Float64Array], Any]] = {
        "subspace, size by the bound": lambda A, b: _largest_bound(A, b, uniform=False),
        "subspace, size by bound and prior": lambda A, b: _largest_bound(A, b, uniform=True),
        "OMP, size by cross-validation": OrthogonalMatchingPursuitCV(max_iter=min(_MOST, X.shape[1])).fit,
        "Lasso, cross-validated": LassoCV().fit,
        "best subset by splicing": SplicingRegressor().fit,
        "TurboVBI, independent support": TurboVBI(prior="iid").fit,
    }
    if X.shape[1] < 1000:
        methods["ARD regression"] = ARDRegression().fit
    return methods


def _split(X: Float64Array, y: Float64Array, seed: int) -> tuple[Float64Array, ...]:
    """Return three quarters for training, at most 3000 rows, and the rest; both in units of the first."""
    order = np.random.default_rng(seed).permutation(y.size)
    end = min(3 * y.size // 4, 3000)
    first, rest = order[:end], order[end:]
    spread = X[first].std(axis=0)
    usable = spread > 1e-12
    A = (X[:, usable] - X[first][:, usable].mean(axis=0)) / spread[usable]
    b = (y - y[first].mean()) / y[first].std()
    return A[first], b[first], A[rest], b[rest]


def _rows(name: str, n_splits: int) -> list[tuple[Any, ...]]:
    found: dict[str, list[tuple[float, float, float]]] = {}
    shape = (0, 0)
    for X, y in _problems(name):
        shape = X.shape
        for seed in range(n_splits):
            A, b, fresh, truth = _split(X, y, seed)
            for title, fit in _methods(A).items():
                started = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = fit(A, b)
                seconds = time.process_time() - started
                share = 1.0 - float(np.sum((truth - model.predict(fresh)) ** 2) / np.sum(truth**2))
                size = np.abs(model.coef_)
                found.setdefault(title, []).append((share, float(np.sum(size > 1e-3 * size.max())), seconds))
    means = {title: np.mean(values, axis=0) for title, values in found.items()}
    sizes = f"{shape[0]} x {shape[1]}"
    return [
        (_TITLES[name], sizes, title, round(float(m[0]), 3), round(float(m[1]), 1), round(float(m[2]), 3))
        for title, m in means.items()
    ]


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        names = list(dict.fromkeys(row[0] for row in rows))
        titles = list(dict.fromkeys(row[2] for row in rows))
        columns = 2 if len(names) > 1 else 1
        axes = figure.subplots(-(-len(names) // columns), columns, squeeze=False).ravel()
        for ax, name in zip(axes, names, strict=True):
            for row in rows:
                if row[0] == name:
                    ax.plot(row[4], row[3], "o", color=f"C{titles.index(row[2])}", label=row[2])
            ax.set_xscale("log")
            ax.tick_params(labelsize=7, which="both")
            ax.set_title(name, fontsize=8)
            ax.set_xlabel("columns used", fontsize=7)
            ax.set_ylabel("held-out R^2", fontsize=7)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)

    return draw


def _run(profile: str) -> StudyResult:
    parts = {"diabetes": 2} if profile == "quick" else {"diabetes": 10, "hitters": 10, "bikeshare": 3, "nci60": 4}
    rows = [row for name, n_splits in parts.items() for row in _rows(name, n_splits)]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


real_subspaces = Study(
    name="subspace_vi.real_data",
    title="Held-out errors of subspaces on real data",
    description="Diabetes, salaries of baseball players, hourly bike rentals and gene expression of 64 cell lines: "
    "subspaces found by exchanges, beside sparse regression of scikit-learn and of this package.",
    run=_run,
)
