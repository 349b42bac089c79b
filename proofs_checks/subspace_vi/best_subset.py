"""Claims that tie the bound to best subset selection: on columns of one norm a wide prior orders subspaces alike."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from sparsetheory.bayesian.subspace.linear.estimator import SparseSubspaceVI
from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.subspace_vi.linear_instances import LinearCase, linear_cases, ours
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array, IndexArray


def _least_squares(case: LinearCase, active: IndexArray) -> tuple[float, Float64Array]:
    """Return the residual sum of squares on some columns, and the coefficients."""
    coef = np.asarray(np.linalg.lstsq(case.F[:, active], case.y, rcond=None)[0], np.float64)
    left = case.y - case.F[:, active] @ coef
    return float(left @ left), coef


def _regret(case: LinearCase, one_norm: bool = True) -> Measurement:
    r"""Compare residuals on the subspace of the largest bound with those of the best subset.

    With equal norms the determinants of all subspaces of one size agree, and the bound orders them by the ridge
    residual :math:`\min_\theta \|y - F_A\theta\|^2 + \|\theta\|^2/\rho`. That is at least the residual of least squares
    on A, and on the best subset at most its residual plus :math:`\|\theta_*\|^2/\rho`.
    """
    norms = np.linalg.norm(case.F, axis=0)
    if one_norm:
        case = replace(case, F=case.F / np.where(norms > 0, norms, 1.0))
    subsets = [np.array(A) for A in combinations(range(case.F.shape[1]), case.active.size)]
    chosen = max(subsets, key=lambda A: case.posterior(A).elbo)
    least, coef = min((_least_squares(case, A) for A in subsets), key=lambda found: found[0])
    allowed = least + float(coef @ coef) / (case.kappa * case.prior_std**2)
    return Measurement(_least_squares(case, chosen)[0], allowed, scale=float(case.y @ case.y))


best_subset_regret = Claim(
    name="subspace_vi.best_subset_regret",
    summary="On columns of one norm, the subspace of the largest bound fits as the best subset, but for a ridge term.",
    statement=r"\mathrm{RSS}(A_{\mathrm{ELBO}}) \le \mathrm{RSS}(A_*) + \frac{\|\theta_*\|^2}{\kappa\sigma_p^2} "
    r"\text{ if } \|f_1\| = \dots = \|f_N\|",
    source=ours("best subset selection as the limit of a wide prior"),
    verdict=Always(1e-9),
    instances=lambda: linear_cases(kinds=("plain", "scales", "correlated"), most=2),
    evaluate=_regret,
    near_miss=lambda case: _regret(case, one_norm=False),
)


def _draw(rng: np.random.Generator, noise: float) -> LinearCase:
    """Draw twelve equicorrelated columns of one norm, three of which make the data."""
    F = rng.standard_normal((30, 12)) + rng.standard_normal((30, 1))
    F /= np.linalg.norm(F, axis=0)
    x = np.zeros(12)
    x[rng.choice(12, 3, replace=False)] = rng.choice([-1.0, 1.0], 3)
    return LinearCase(F, F @ x + noise / np.sqrt(30) * rng.standard_normal(30), 1e4, 1e3, np.arange(3))


def _excess(case: LinearCase, **options: Any) -> Measurement:
    """Measure the residual on the columns found, relative to that of the best of all subsets of three."""
    known: dict[str, Any] = {"noise_variance": 1.0 / case.kappa, "prior_std": case.prior_std, "random_state": 0}
    model = SparseSubspaceVI(3, **(known | options)).fit(case.F, case.y)
    least = min(_least_squares(case, np.array(A))[0] for A in combinations(range(12), 3))
    return Measurement(_least_squares(case, model.support_)[0] / least, 1.0 + 1e-6)


best_subset_found = Claim(
    name="subspace_vi.best_subset_found",
    summary="With a wide prior, best exchanges from four starts find the best subset nearly always.",
    statement=r"P(\mathrm{RSS}(\hat A) = \min_{|A| = 3} \mathrm{RSS}(A)) \ge 0.9, \quad N = 12, M = 30",
    source=ours("best exchanges against exhaustive search"),
    verdict=WithProbability(0.9),
    evaluate=lambda case: _excess(case, n_init=4),
    # A prior whose share of the precision is that of the data.
    near_miss=lambda case: _excess(case, n_init=4, prior_std=case.kappa**-0.5),
    sweep=Sweep(
        axis="noise over signal of a column",
        values=(0.1, 0.5, 1.0),
        draw=_draw,
        trials=100,
        quick_trials=40,
        measured_label="residual over that of the best subset",
        bound_label="the best subset",
    ),
)
