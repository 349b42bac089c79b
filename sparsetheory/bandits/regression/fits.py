"""Estimates with small l1 norm, and what proves that they are nearly the best."""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits.regression.l1_errors import (
    L1Error,
    cones_of_lasso,
    cones_of_norm,
    curvatures,
    smallest_error,
)
from sparsetheory.bandits.regression.lasso import l1_within_ball, lasso, least_squares
from sparsetheory.bandits.regression.samples import Samples
from sparsetheory.bandits.regression.sup_norm import l1_within_sup
from sparsetheory.typing import Float64Array

__all__ = ["ESTIMATORS", "L1Fit", "beyond_the_model", "error_of", "fit_lasso", "fit_within"]

ESTIMATORS = ("linf", "bpdn", "lasso")


@dataclass(frozen=True, eq=False)
class L1Fit:
    """An estimate.

    Parameters
    ----------
    estimator : {"linf", "bpdn", "lasso"}
        What it minimises.
    theta : ndarray of shape (n_features,)
    prices : ndarray of shape (n,)
        One number for each sample; together they show that no coefficients do much better.
    alpha : float
        Strength of the penalty of the Lasso; 0 for the others.
    samples : Samples
        What it was estimated from.
    """

    estimator: str
    theta: Float64Array
    prices: Float64Array
    alpha: float
    samples: Samples

    def slack(self, X: Float64Array, level: float) -> float:
        """Return how much smaller the norm, or the objective, of coefficients that agree with the samples may be.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            Features of the samples.
        level : float
            From :func:`beyond_the_model`.
        """
        y, size = self.samples.observed, float(np.abs(self.theta).sum())
        if self.estimator == "lasso":
            weights = self.samples.counts / self.samples.total
            u = self.prices * min(1.0, self.alpha / max(float(np.abs(X.T @ (weights * self.prices)).max()), 1e-300))
            residual = y - X @ self.theta
            value = weights @ residual**2 / 2 + self.alpha * size
            return max(0.0, float(value - weights @ (y**2 - (y - u) ** 2) / 2))
        u = self.prices / max(1.0, float(np.abs(X.T @ self.prices).max(initial=0.0)))
        norm = np.abs(u).sum() if self.estimator == "linf" else np.linalg.norm(u)
        return max(0.0, size - float(u @ y - level * norm))


def beyond_the_model(
    estimator: str, X: Float64Array, samples: Samples, eps: float, noise_std: float, delta: float
) -> float:
    r"""Return what samples may differ from the true model by, except with probability `delta`.

    For "linf" that is the largest difference, for "bpdn" its Euclidean norm, and for the "lasso" the largest product
    with a feature, over n.

    Parameters
    ----------
    estimator : {"linf", "bpdn", "lasso"}
    X : ndarray of shape (n, n_features)
        Features of the samples.
    samples : Samples
    eps, noise_std, delta : float

    Notes
    -----
    The norm of subgaussian noise: Hsu, Kakade and Zhang (2012), Electron. Commun. Probab. 17.
    """
    n, d = samples.total, X.shape[1]
    if estimator == "linf":
        return eps + noise_std * math.sqrt(2 * math.log(2 * n / delta))
    if estimator == "bpdn":
        log = math.log(1 / delta)
        return math.sqrt(n) * eps + noise_std * math.sqrt(n + 2 * math.sqrt(n * log) + 2 * log)
    weights = samples.counts / n
    by_noise = np.sqrt(weights @ X**2 / n) * math.sqrt(2 * math.log(2 * d / delta))
    return float((eps * (weights @ np.abs(X)) + noise_std * by_noise).max())


def error_of(
    fit: L1Fit, X: Float64Array, moments: Float64Array, smallest_eigenvalue: float, s: int, level: float
) -> L1Error:
    """Return how far an estimate is from the truth, at most.

    Parameters
    ----------
    fit : L1Fit
    X : ndarray of shape (n, n_features)
        Features of the samples.
    moments : ndarray of shape (n_features, n_features)
        Their second moments.
    smallest_eigenvalue : float
        A lower bound of the smallest eigenvalue of these.
    s : int
        Non-zeros of the truth.
    level : float
        From :func:`beyond_the_model`.
    """
    d, slack = X.shape[1], fit.slack(X, level)
    if fit.estimator == "lasso":
        residual = fit.samples.observed - X @ fit.theta
        correlation = float(np.abs(X.T @ (fit.samples.counts / fit.samples.total * residual)).max())
        cones = cones_of_lasso(s, d, fit.alpha, level, slack, correlation)
    else:
        # Entries of these two are single queries.
        rms = math.sqrt(np.mean((fit.samples.observed - X @ fit.theta) ** 2))
        cones = cones_of_norm(s, d, slack, rms, level if fit.estimator == "linf" else level / math.sqrt(len(X)))
    return smallest_error(cones, curvatures(moments, smallest_eigenvalue))


def fit_within(estimator: str, X: Float64Array, samples: Samples, level: float) -> L1Fit | None:
    """Return the estimate with the smallest l1 norm that is within a level of the samples; None if there is none.

    Parameters
    ----------
    estimator : {"linf", "bpdn"}
    X : ndarray of shape (n, n_features)
        Features of the samples.
    samples : Samples
        Single queries.
    level : float
        From :func:`beyond_the_model`.
    """
    solve = l1_within_sup if estimator == "linf" else l1_within_ball
    found = solve(X, samples.observed, level)
    return None if found is None else L1Fit(estimator, *found, 0.0, samples)


def fit_lasso(features: Float64Array, samples: Samples, alpha: float) -> L1Fit:
    """Return the estimate of the Lasso.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    samples : Samples
    alpha : float
        Strength of the penalty. At 0 the limit: of all solutions of least squares one with the smallest l1 norm.
    """
    merged = samples.merged()
    X, y = merged.rows(features), merged.observed
    if alpha == 0:
        roots = np.sqrt(merged.counts)
        theta = least_squares(X * roots[:, None], y * roots)
        smallest = l1_within_sup(X, X @ theta, 0.0)
        theta = theta if smallest is None else smallest[0]
    else:
        theta = lasso(X, y, merged.counts, alpha)
    return L1Fit("lasso", theta, y - X @ theta, float(alpha), merged)
