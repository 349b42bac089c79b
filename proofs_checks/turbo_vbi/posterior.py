"""Claims about the Gaussian factor: identities that spare the covariance, and what a diagonal one loses."""

from typing import Any

import numpy as np

from sparsetheory.bayesian.turbo.gaussian import gaussian_factor
from sparsetheory.bayesian.turbo.gaussian_diagonal import diagonal_posterior
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.turbo_vbi.instances import Case, cases, ours
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import AnyArray, Float64Array

# Condition numbers of the dense inverse are below 1e6.
_ROUNDING = 1e-9


def _dense(case: Case) -> tuple[AnyArray, Float64Array, float]:
    """Return the covariance for random precisions, the precisions, and a noise precision."""
    rng = case.rng()
    precisions, kappa = 10.0 ** rng.uniform(-1, 2, case.problem.n_total), float(10 ** rng.uniform(-1, 1))
    F = case.problem.F
    return np.linalg.inv(np.diag(precisions) + kappa * F.conj().T @ F), precisions, kappa


def _relative(found: Any, expected: Any) -> float:
    size = float(np.linalg.norm(np.asarray(expected)))
    return float(np.linalg.norm(np.asarray(found) - expected)) / max(size, 1e-3)


def _identities(case: Case, without_correlations: bool = False) -> Measurement:
    """Compare mean, variances, log determinant, trace and columns with those of the dense inverse."""
    sigma, precisions, kappa = _dense(case)
    F, Y = case.problem.F, case.problem.Y
    x = gaussian_factor(case.problem, precisions, kappa)
    var = 1 / (precisions + kappa * case.problem.column_squares) if without_correlations else x.var
    errors = [
        _relative(x.mean, kappa * sigma @ F.conj().T @ Y),
        _relative(var, np.diagonal(sigma).real),
        _relative(x.log_det, np.linalg.slogdet(sigma)[1]),
        _relative(x.spread, np.trace(F @ sigma @ F.conj().T).real),
        _relative(x.columns(np.arange(sigma.shape[1])), sigma),
    ]
    return Measurement(max(errors), 0.0, scale=1.0)


identities = Claim(
    name="turbo_vbi.identities",
    summary="Mean, variances and determinant need a small system only.",
    statement=r"\Sigma = D^{-1} - D^{-1} F^H (\kappa^{-1} I + F D^{-1} F^H)^{-1} F D^{-1}, "
    r"\ \mathrm{tr}\,F \Sigma F^H = \tfrac1\kappa (N - \textstyle\sum_i D_{ii} \Sigma_{ii})",
    source=Source.classic("Sherman, Morrison (1950); Woodbury (1950)", "matrix inversion lemma"),
    verdict=Always(_ROUNDING),
    instances=cases,
    evaluate=_identities,
    near_miss=lambda case: _identities(case, without_correlations=True),
)


def _diagonal(case: Case, larger: bool = False) -> Measurement:
    """Compare the best diagonal factor with the full one.

    The mean minimises the same quadratic. The inverse of a diagonal entry of a positive matrix is at most the diagonal
    entry of the inverse.
    """
    sigma, precisions, kappa = _dense(case)
    F, y = case.problem.F, case.problem.Y[:, 0]
    # A smaller range of precisions, for steps that converge within the limit.
    precisions = np.maximum(precisions, 5.0)
    sigma = np.linalg.inv(np.diag(precisions) + kappa * F.conj().T @ F)
    found = diagonal_posterior(F, y, precisions, noise_precision=kappa, max_iter=100_000)
    expected = kappa * sigma @ F.conj().T @ y
    full = np.diagonal(sigma).real
    left, right = (full, found.variance) if larger else (found.variance, full)
    # Steps of relative size 1e-10 are the last ones, and shrink by 1 - 1 / 1000 at worst.
    errors, allowed = np.append(left / full, _relative(found.mean, expected)), np.append(right / full, 1e-6)
    return Measurement.worst(errors, allowed, scale=1.0)


diagonal = Claim(
    name="turbo_vbi.diagonal",
    summary="A diagonal factor has the right mean and too small variances.",
    statement=r"\mu_{\mathrm{diag}} = \mu, \quad 1 / (D_{ii} + \kappa \|f_i\|^2) \le \Sigma_{ii}",
    source=ours("diagonal factor (updates of arXiv:2307.09149)"),
    verdict=Always(_ROUNDING),
    instances=lambda: cases().filter(lambda case: case.problem.n_snapshots == 1),
    evaluate=_diagonal,
    near_miss=lambda case: _diagonal(case, larger=True),
)
