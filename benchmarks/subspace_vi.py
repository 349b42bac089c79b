"""Subspaces of linear models: exchanges beside greedy and Bayesian regression, and beside the same search in NumPy.

Run ``python benchmarks/subspace_vi.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE``
also writes one JSON line per row. One process, one thread, after compilation.
"""

import numpy as np
from _timing import Row, best_of, best_of_each, run_parts
from sklearn.linear_model import ARDRegression, LassoCV, OrthogonalMatchingPursuit

from sparsetheory.bayesian.subspace.linear.estimator import SparseSubspaceVI
from sparsetheory.bayesian.subspace.linear.posterior import subspace_posterior
from sparsetheory.bayesian.subspace.linear.search import SubspaceSearch
from sparsetheory.bayesian.subspace.linear.swaps import swap_gains
from sparsetheory.typing import Float64Array, IndexArray


def _data(m: int, n: int, size: int, spread: float = 0.0) -> tuple[Float64Array, Float64Array, IndexArray]:
    """Draw data of a sparse model with a noise of one, and the support."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, n)) * np.exp(spread * rng.standard_normal(n))
    support = np.sort(rng.choice(n, size, replace=False))
    return X, X[:, support] @ (rng.standard_normal(size) + 3.0) + rng.standard_normal(m), support


def _sizes(quick: bool) -> tuple[tuple[int, int, int], ...]:
    return ((100, 200, 10), (200, 1000, 20)) if quick else ((100, 200, 10), (200, 1000, 20), (500, 5000, 40))


def bench_greedy(quick: bool) -> list[Row]:
    """Compare the whole fit, noise and prior learned, with orthogonal matching pursuit, which learns neither."""
    rows = []
    for m, n, size in _sizes(quick):
        X, y, _ = _data(m, n, size)
        ours, peer = best_of_each(
            lambda: SparseSubspaceVI(size).fit(X, y),  # noqa: B023
            lambda: OrthogonalMatchingPursuit(n_nonzero_coefs=size, fit_intercept=False).fit(X, y),  # noqa: B023
            repeats=7,
        )
        rows.append(Row(f"{m} x {n}, {size} columns", "OMP, scikit-learn", ours, peer))
    return rows


def bench_bayesian(quick: bool) -> list[Row]:
    """Compare it with methods that learn the noise or the strength of the penalty."""
    rows = []
    for m, n, size in _sizes(quick)[:2]:
        X, y, _ = _data(m, n, size)
        ours = best_of(lambda: SparseSubspaceVI(size).fit(X, y), 5)  # noqa: B023
        for name, model in (("LassoCV", LassoCV(fit_intercept=False)), ("ARD", ARDRegression(fit_intercept=False))):
            peer = best_of(lambda: model.fit(X, y), 1)  # noqa: B023
            rows.append(Row(f"{m} x {n}, {size} columns", f"{name}, scikit-learn", ours, peer, 5.0))
    return rows


def _plain_search(X: Float64Array, y: Float64Array, active: IndexArray) -> IndexArray:
    """Exchange columns by the table of all gains, each step from the data."""
    while True:
        now = subspace_posterior(X, y, 1.0, 3.0, active)
        table = swap_gains(X, y, 1.0, 3.0, active, now.mean, now.variance)
        i, j = np.unravel_index(int(np.argmax(table.gain)), table.gain.shape)
        if table.gain[i, j] <= 1e-9:
            return active
        active = active.copy()
        active[i] = table.candidates[j]


def _gram_search(X: Float64Array, y: Float64Array, active: IndexArray) -> IndexArray:
    """Do the same with a Gram matrix that is computed once, as one would write it in NumPy."""
    gram, b = X.T @ X, X.T @ y
    h = np.diagonal(gram)
    v, cost = 1.0 / (h + 1.0 / 9.0), 0.5 * np.log1p(9.0 * h)
    while True:
        mean = np.linalg.solve(gram[np.ix_(active, active)] + np.eye(active.size) / 9.0, b[active])
        slopes = b - gram[:, active] @ mean + gram[active] * mean[:, None]
        gains = cost[active, None] - 0.5 * mean[:, None] ** 2 / v[active, None] + 0.5 * v * slopes**2 - cost
        gains[:, active] = -np.inf
        i, j = np.unravel_index(int(np.argmax(gains)), gains.shape)
        if gains[i, j] <= 1e-9:
            return active
        active = active.copy()
        active[i] = j


def _search(X: Float64Array, y: Float64Array, active: IndexArray) -> IndexArray:
    """Do the same by the search of this package."""
    search = SubspaceSearch(X, y, active.size, 1.0)
    search.assume(1.0, 9.0)
    search.solve(active)
    search.swap(1e-9, 500)
    return search.active


def bench_exchanges(quick: bool) -> list[Row]:
    """Compare exchanges from one random start with NumPy: the same moves to the same columns."""
    rows = []
    for m, n, size in _sizes(quick):
        X, y, _ = _data(m, n, size)
        start = np.random.default_rng(0).choice(n, size, replace=False)
        assert np.array_equal(np.sort(_search(X, y, start)), np.sort(_gram_search(X, y, start)))
        ours, gram = best_of_each(lambda: _search(X, y, start), lambda: _gram_search(X, y, start))  # noqa: B023
        plain = best_of(lambda: _plain_search(X, y, start), 1)  # noqa: B023
        task = f"{m} x {n}, {size} columns"
        rows.append(Row(task, "NumPy with a Gram matrix", ours, gram, 2.0))
        rows.append(Row(task, "NumPy, from the data", ours, plain, 5.0))
    return rows


_PARTS = {"greedy": bench_greedy, "bayesian": bench_bayesian, "exchanges": bench_exchanges}


if __name__ == "__main__":
    run_parts("Subspaces of linear models", __doc__, _PARTS)
