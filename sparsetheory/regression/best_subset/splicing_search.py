"""Exchange selected features for others at constant size, and grow models one feature at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sparsetheory.regression.best_subset.subset_least_squares import SubsetLeastSquares, SupportFit, leading
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["Splice", "splice", "splice_sizes"]


@dataclass(frozen=True)
class Splice:
    """A support that no tried exchange improves.

    Attributes
    ----------
    fit : SupportFit
        Least squares on it.
    correlation : ndarray of shape (n_features,)
        Inner products of the unit columns with its residual.
    history : tuple of float
        Residual sums of squares, strictly decreasing: before the first exchange and after each.
    converged : bool
        False where `max_iter` exchanges were not enough.
    """

    fit: SupportFit
    correlation: Float64Array
    history: tuple[float, ...]
    converged: bool


def splice(subsets: SubsetLeastSquares, fit: SupportFit, *, max_exchange: int, max_iter: int, tol: float) -> Splice:
    """Exchange features at constant size as long as the residual sum of squares falls.

    The C features that add least to the fit are exchanged for the C others most correlated with the residual, for the
    C up to `max_exchange` that gives the smallest residual.

    Parameters
    ----------
    subsets : SubsetLeastSquares
        Design and response.
    fit : SupportFit
        Where to start.
    max_exchange : int
        Largest C.
    max_iter : int
        Most exchanges.
    tol : float
        Tolerance, relative to the residual sum of squares: an exchange must lower it by more.

    Returns
    -------
    Splice

    Notes
    -----
    One product of the design with a vector per exchange, and O(n_samples * rank) for each newly tried feature.
    Zhu, Wen, Zhu, Zhang and Wang (2020), PNAS 117(52).
    """
    history = [fit.rss]
    for _ in range(max_iter + 1):
        correlation = subsets.correlate(fit)
        better = _best_exchange(subsets, fit, correlation, max_exchange)
        if better is None or better.rss >= (1.0 - tol) * fit.rss:
            return Splice(fit, correlation, tuple(history), True)
        if len(history) > max_iter:
            break
        fit = better
        history.append(fit.rss)
    return Splice(fit, correlation, tuple(history), False)


def _best_exchange(
    subsets: SubsetLeastSquares, fit: SupportFit, correlation: Float64Array, max_exchange: int
) -> SupportFit | None:
    incoming = _promising(fit, correlation, min(max_exchange, fit.support.size))
    subsets.include(incoming)
    kept = fit.support[np.argsort(fit.coef**2, kind="stable")]
    trials = (subsets.fit(np.concatenate([kept[c:], incoming[:c]])) for c in range(1, incoming.size + 1))
    return min(trials, key=lambda trial: trial.rss, default=None)


def _promising(fit: SupportFit, correlation: Float64Array, count: int) -> IndexArray:
    """Return the features outside the support that are most correlated with the residual."""
    scores = np.abs(correlation)
    scores[fit.support] = 0.0
    return leading(scores, count)


def splice_sizes(
    subsets: SubsetLeastSquares, max_size: int, *, floor: float, max_exchange: int, max_iter: int, tol: float
) -> Iterator[Splice]:
    """Yield spliced models of sizes 0, 1, ..., each started from the last one and the most promising new feature.

    The sequence ends early when the residual sum of squares reaches `floor` or nothing correlates with the residual.
    """
    fit = subsets.fit(np.empty(0, dtype=np.intp))
    found = Splice(fit, subsets.correlate(fit), (fit.rss,), True)
    yield found
    while found.fit.support.size < max_size and found.fit.rss > floor:
        new = _promising(found.fit, found.correlation, 1)
        if new.size == 0:
            return
        subsets.include(new)
        larger = subsets.fit(np.concatenate([found.fit.support, new]))
        found = splice(subsets, larger, max_exchange=max_exchange, max_iter=max_iter, tol=tol)
        yield found
