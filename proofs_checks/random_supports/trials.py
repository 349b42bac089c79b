"""Responses on random supports of a design, and the errors of methods on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsetheory.regression import (
    Anchors,
    RandomSupportRegressor,
    WorkingSetLasso,
    adversarial_coefficients,
    sample_support,
)
from sparsetheory.regression.random_supports.anchored_fit import default_alpha
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["Trial", "anchored_error", "anchored_errors", "draw_colliding_support", "draw_trial", "error", "lasso_error"]

# Cosine above which two columns belong together: heads in 150 dimensions and more stay below a half of it.
_SAME_CLUSTER = 0.9


@dataclass(frozen=True, eq=False)
class Trial:
    """One response on a design, with what it was made of.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Design.
    signal, y : ndarray of shape (n_samples,)
        Response without and with noise.
    noise_std : float
        Standard deviation of the noise.
    anchors : Anchors
        Chosen from the design alone.
    norm : float
        l1 norm of the coefficients behind the signal.
    """

    X: Float64Array
    signal: Float64Array
    y: Float64Array
    noise_std: float
    anchors: Anchors
    norm: float

    @property
    def n_nonzero(self) -> int:
        """Size of the supports for which the anchors were chosen."""
        return self.anchors.n_nonzero or 1


def draw_trial(
    rng: np.random.Generator, X: Float64Array, anchors: Anchors, noise_std: float, S: IndexArray | None = None
) -> Trial:
    """Draw a signal of root mean square one that cancels as much as the support allows, and noise.

    Parameters
    ----------
    rng : Generator
        Of support and noise.
    X, anchors, noise_std
        As in :class:`Trial`.
    S : ndarray of int, optional
        Support; uniform by default.
    """
    S = sample_support(X, n_nonzero=anchors.n_nonzero or 1, random_state=rng) if S is None else S
    coef = adversarial_coefficients(X, S)
    signal = X[:, S] @ coef
    return Trial(
        X, signal, signal + noise_std * rng.standard_normal(len(X)), noise_std, anchors, float(np.abs(coef).sum())
    )


def draw_colliding_support(rng: np.random.Generator, X: Float64Array, k: int) -> IndexArray:
    """Draw a support with two columns of one cluster.

    Parameters
    ----------
    rng : Generator
        Of the support.
    X : ndarray of shape (n_samples, n_features)
        Clusters of near-duplicates, whose heads are nearly orthogonal.
    k : int
        Size: a random column, a random other one of its cluster, and k - 2 random ones.

    Returns
    -------
    ndarray of shape (k,)
        In increasing order.
    """
    first = int(rng.integers(X.shape[1]))
    mates = np.abs(X.T @ X[:, first]) > _SAME_CLUSTER * len(X)
    mates[first] = False
    pair = [first, int(rng.choice(np.flatnonzero(mates)))]
    others = rng.choice(np.setdiff1d(np.arange(X.shape[1]), pair), k - 2, replace=False)
    return np.sort([*pair, *others])


def error(trial: Trial, prediction: Float64Array) -> float:
    """Return the mean squared error of a prediction over the variance of the noise."""
    return float(np.mean((prediction - trial.signal) ** 2)) / trial.noise_std**2


def anchored_error(trial: Trial, solver: str) -> float:
    """Return the error of a solver of the second phase, from the trial's anchors."""
    return anchored_errors([trial], solver)[0]


def anchored_errors(trials: Sequence[Trial], solver: str) -> list[float]:
    """Return the errors of a solver of the second phase on responses of one design, anchors and noise.

    They are fitted together: what costs most, to project the anchors out and to certify, is done once.
    """
    first = trials[0]
    model = RandomSupportRegressor(
        first.n_nonzero, solver=solver, anchors=first.anchors, noise_std=first.noise_std, fit_intercept=False
    )
    predictions = model.fit(first.X, np.column_stack([trial.y for trial in trials])).predict(first.X)
    return [error(trial, prediction) for trial, prediction in zip(trials, predictions.T, strict=True)]


def lasso_error(trial: Trial) -> float:
    """Return the error of the Lasso at the strength that the noise alone asks for."""
    alpha = default_alpha(trial.noise_std, *trial.X.shape)
    model = WorkingSetLasso(alpha=alpha, fit_intercept=False).fit(trial.X, trial.y)
    return error(trial, model.predict(trial.X))
