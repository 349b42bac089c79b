"""Plain NumPy references that the tests of subset selection share."""

from itertools import chain, combinations

import numpy as np


def unit_columns(X, fit_intercept=True):
    """Centre and normalise columns; columns of zeros stay."""
    centred = X - X.mean(axis=0) if fit_intercept else X
    norms = np.linalg.norm(centred, axis=0)
    return centred / np.where(norms > 1e-11 * np.linalg.norm(X, axis=0), norms, np.inf)


def rss(U, y, support):
    """Return the residual sum of squares of least squares on a support."""
    support = list(support)
    return np.sum((y - U[:, support] @ np.linalg.lstsq(U[:, support], y, rcond=1e-11)[0]) ** 2)


def subsets(items, largest):
    """Return all subsets up to a size."""
    return chain.from_iterable(combinations(items, size) for size in range(largest + 1))


def l0_objective(U, y, b, cost, ridge):
    """Return ``|y - Ub|^2 / 2 + cost * #{b != 0} + ridge * |b|^2``."""
    return 0.5 * np.sum((y - U @ b) ** 2) + cost * np.count_nonzero(b) + ridge * b @ b


def best_move(U, y, b, cost, ridge, n_out, n_in):
    """Return the least objective after taking out and putting in so many features, the others being fixed."""
    best = np.inf
    for out in subsets(np.flatnonzero(b), n_out):
        kept = b.copy()
        kept[list(out)] = 0.0
        left = y - U @ kept
        for new in map(list, subsets(np.flatnonzero(kept == 0), n_in)):
            system = np.vstack([U[:, new], np.sqrt(2 * ridge) * np.eye(len(new))])
            trial = kept.copy()
            trial[new] = np.linalg.lstsq(system, np.concatenate([left, np.zeros(len(new))]), rcond=1e-11)[0]
            best = min(best, l0_objective(U, y, trial, cost, ridge))
    return best


def correlated_problem(seed, n=40, d=12, noise=0.5):
    """Draw a design with correlated columns of different scales and means, and a sparse response."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) + rng.uniform(0, 2) * rng.standard_normal((n, 1))
    w = np.zeros(d)
    w[rng.choice(d, 3, replace=False)] = rng.choice([-2.0, -1.0, 1.0, 2.0], 3)
    y = X @ w + noise * rng.standard_normal(n) + 3.0
    scales = 10.0 ** rng.uniform(-2, 2, d)
    return (X + rng.uniform(-3, 3, d)) * scales, y
