"""Evidence about the gap of an action, from a regression with small l1 norm."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.certificates.gap import AGREE, GapCertificate
from sparsetheory.bandits.design.leverages import BLOCK
from sparsetheory.bandits.regression.fits import L1Fit, beyond_the_model, error_of
from sparsetheory.bandits.regression.l1_errors import L1Error, least_eigenvalue
from sparsetheory.certificates import Status
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["RegressionGapCertificate", "largest_error", "proved_error", "regression_gap"]


@dataclass(frozen=True, eq=False)
class RegressionGapCertificate(GapCertificate):
    """How much less an action earns than the best one, at most, if rewards are nearly sparse and linear.

    The second route computes everything from raw rows, and eigenvalues from singular values; it takes
    O((n_actions + n) d) time for n queries.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`Certificate`; `bound` is the largest possible gap, and `measured` the gap where the true rewards
        are known, else the bound by the second route.
    action : int
        The action.
    fit : L1Fit or None
        The estimate; None before there is one.
    n_nonzero : int
        Assumed number of non-zero coefficients.
    eps : float
        Assumed misspecification.
    noise_std : float
        Standard deviation of the noise.
    delta : float
        Probability with which noise may spoil the guarantee.
    kappa : float
        Lower bound of the restricted eigenvalue.
    """

    fit: L1Fit | None = field(kw_only=True)
    n_nonzero: int = field(kw_only=True)
    eps: float = field(kw_only=True)
    noise_std: float = field(kw_only=True)
    delta: float = field(kw_only=True)
    kappa: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("n_nonzero", "eps", "noise_std", "delta", "kappa")

    def _second_route(self, features: AnyArray) -> tuple[float, str]:
        if self.fit is None:
            return 0.0, ""
        features = np.asarray(features, dtype=np.float64)
        error = self._error(features, self.fit)
        found = _gap(features, self.fit.theta, self.action, error, self.eps)
        low = error.kappa < self.kappa * (1 - AGREE)
        return found, f"other code bounds the restricted eigenvalue by {error.kappa:.9g} only" if low else ""

    def _tolerance(self, features: AnyArray) -> float:
        size = 0.0 if self.fit is None else float(np.abs(self.fit.samples.observed).max())
        return AGREE * (size + self.eps + self.bound)

    def _error(self, features: Float64Array, fit: L1Fit) -> L1Error:
        X = fit.samples.rows(features)
        scaled = X * np.sqrt(fit.samples.counts / fit.samples.total)[:, None]
        singular = np.linalg.svd(scaled, compute_uv=False)
        smallest = float(singular[-1]) if len(X) >= X.shape[1] else 0.0
        rounding = 16 * np.finfo(np.float64).eps * max(X.shape) * float(singular[0])
        moments = np.einsum("ni,nj->ij", scaled, scaled)
        level = beyond_the_model(fit.estimator, X, fit.samples, self.eps, self.noise_std, self.delta)
        return error_of(fit, X, moments, max(smallest - rounding, 0.0) ** 2, self.n_nonzero, level)


def regression_gap(
    features: AnyArray,
    fit: L1Fit | None,
    action: int,
    *,
    n_nonzero: int,
    eps: float | None,
    noise_std: float,
    delta: float,
) -> RegressionGapCertificate:
    """Return what an estimate proves of the gap of an action.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    fit : L1Fit or None
        The estimate; None as long as there is none.
    action : int
    n_nonzero, eps, noise_std, delta
        As in :class:`RegressionGapCertificate`; without eps nothing is proved.

    Returns
    -------
    RegressionGapCertificate
        Takes O((n_actions + n d) d) time for n queries.
    """
    bound, kappa, reason = math.inf, 0.0, ""
    if len(features) == 1:
        bound = 0.0
    elif fit is None:
        reason = "nothing has been estimated"
    elif eps is None:
        reason = "eps is not known"
    else:
        error = proved_error(features, fit, n_nonzero, eps, noise_std, delta)
        kappa = max(error.kappa, 0.0)
        bound = _gap(features, fit.theta, action, error, eps)
        reason = "" if bound < math.inf else "no restricted eigenvalue of the sampled rows is known to be positive"
    return RegressionGapCertificate(
        "", bound, None, Status.VALID if bound < math.inf else Status.NOT_APPLICABLE, reason=reason, action=action,
        fit=fit if len(features) > 1 else None, n_nonzero=n_nonzero, eps=float(eps or 0.0), noise_std=float(noise_std),
        delta=float(delta), kappa=kappa,
    ).stated()  # fmt: skip


def proved_error(features: AnyArray, fit: L1Fit, n_nonzero: int, eps: float, noise_std: float, delta: float) -> L1Error:
    """Return how far an estimate is from the truth, at most."""
    samples = fit.samples.merged()
    rows = samples.rows(features)
    moments = (rows.T * (samples.counts / samples.total)) @ rows
    X = fit.samples.rows(features)
    level = beyond_the_model(fit.estimator, X, fit.samples, eps, noise_std, delta)
    return error_of(fit, X, moments, least_eigenvalue(moments), n_nonzero, level)


def largest_error(features: AnyArray, error: L1Error) -> float:
    """Return how much any prediction may err, in one pass over blocks of rows."""
    blocks = (features[start : start + BLOCK] for start in range(0, len(features), BLOCK))
    return max(float(_sup_errors(block, error).max()) for block in blocks)


def _sup_errors(rows: AnyArray, error: L1Error) -> Float64Array:
    """Return how much predictions may err at rows, by both norms of the error."""
    l1 = np.abs(rows).max(axis=1) * error.l1 if error.l1 < math.inf else np.full(len(rows), math.inf)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    l2 = norms * error.l2 if error.l2 < math.inf else np.full(len(rows), math.inf)
    return np.asarray(np.minimum(l1, l2), dtype=np.float64)


def _gap(features: AnyArray, theta: Float64Array, action: int, error: L1Error, eps: float) -> float:
    if error.l2 == error.l1 == math.inf:
        return math.inf
    # The difference of two predictions errs by what the difference of their features allows.
    largest = 0.0
    for start in range(0, len(features), BLOCK):
        differences = np.asarray(features[start : start + BLOCK], dtype=np.float64) - features[action]
        largest = max(largest, float((differences @ theta + _sup_errors(differences, error)).max()))
    return largest + 2 * eps
