"""Claims about the solver: its bound rises, it ends where no exchange gains, and what it learns is at its best."""

import warnings
from typing import Any

import numpy as np

from sparsetheory.bayesian.subspace.linear.estimator import SparseSubspaceVI
from sparsetheory.bayesian.subspace.linear.swaps import swap_gains
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.subspace_vi.linear_instances import LinearCase, linear_cases, ours
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_ROUNDING = 1e-9


def _fit(case: LinearCase, **options: Any) -> SparseSubspaceVI:
    given: dict[str, Any] = {"noise_variance": 1.0 / case.kappa, "prior_std": case.prior_std}
    start = {"init": "random", "random_state": int(case.active.sum())}
    with warnings.catch_warnings():
        # Some cases have too few columns that are not zero.
        warnings.simplefilter("ignore", RuntimeWarning)
        return SparseSubspaceVI(case.active.size, **(given | start | options)).fit(case.F, case.y)


def _path(case: LinearCase, by_gradient: bool = False) -> list[float]:
    """Return bounds along exchanges, each solved anew; by default those with the largest gain, while one gains."""
    active, bounds = case.active.copy(), []
    for _ in range(40):
        now = case.posterior(active)
        bounds.append(now.elbo)
        table = swap_gains(case.F, case.y, case.kappa, case.prior_std, active, now.mean, now.variance)
        i, j = (int(k) for k in np.unravel_index(int(np.argmax(table.gain)), table.gain.shape))
        if table.gain[i, j] <= _ROUNDING * case.scale:
            break
        if by_gradient:
            slopes = case.F[:, table.candidates].T @ (case.y - case.F[:, active] @ now.mean)
            i, j = int(np.argmin(np.abs(now.mean))), int(np.argmax(np.abs(slopes)))
        active[i] = table.candidates[j]
    return bounds


def _rising(bounds: list[float] | Float64Array, case: LinearCase) -> Measurement:
    return Measurement.worst(bounds[:-1], bounds[1:], case.scale)


def _ascent(case: LinearCase) -> Measurement:
    """Compare bounds along the search of the estimator with noise and prior known, and learned."""
    known, learned = _fit(case), _fit(case, noise_variance="auto", prior_std="auto")
    paths = [known.history_["elbo"], learned.history_["elbo"]]
    return max((_rising(path, case) for path in paths), key=lambda m: m.excess())


rising_bound = Claim(
    name="subspace_vi.rising_bound",
    summary="Best exchanges raise the evidence bound at every step, also while noise and prior are learned.",
    statement=r"L_{t+1} \ge L_t \text{ along best exchanges, and while } \kappa, \sigma_p \text{ are learned}",
    source=ours("best exchanges as ascent"),
    verdict=Always(_ROUNDING),
    instances=linear_cases,
    evaluate=_ascent,
    # The smallest mean leaves for the largest gradient, whatever that does to the bound.
    near_miss=lambda case: _rising(_path(case, by_gradient=True), case),
)


def _largest_gain(case: LinearCase, **options: Any) -> Measurement:
    """Measure the largest gain of an exchange where the search ended, by the dense table."""
    model = _fit(case, **options)
    active = model.support_
    now = case.posterior(active)
    table = swap_gains(case.F, case.y, case.kappa, case.prior_std, active, now.mean, now.variance)
    # Columns of zeros are left out of every subspace.
    usable = case.F[:, table.candidates].any(axis=0)
    largest = float(table.gain[:, usable].max(initial=-np.inf)) if active.size else -np.inf
    return Measurement(largest, model.tol, scale=case.scale)


one_exchange_optimal = Claim(
    name="subspace_vi.one_exchange_optimal",
    summary="Best exchanges end where no exchange of two columns gains anything.",
    statement=r"\max_{i \in A,\, j \notin A} \Delta_{ij} \le \mathrm{tol} \text{ at the end}",
    source=ours("one-exchange optimality"),
    verdict=Always(_ROUNDING),
    instances=linear_cases,
    evaluate=_largest_gain,
    near_miss=lambda case: _largest_gain(case, method="removal_addition", rule="grad", criterion="mean"),
)


def _stationary(case: LinearCase, without_spread: bool = False) -> Measurement:
    r"""Compare learned numbers with the maximum of the bound over them for the factors found.

    For fixed factors the bound is that of independent samples of noise and of coefficients, so the best variances are
    expected mean squares: of the residual, :math:`(\|y - F\mu\|^2 + \sum_i \|f_i\|^2 v_i) / M`, and of the active
    coefficients. Where the bound is largest over all, it is so over these two, unless an end of their range is reached.
    """
    model = _fit(case, noise_variance="auto", prior_std="auto")
    active, energy = model.support_, float(case.y @ case.y)
    mean, variance, columns = model.coef_[active], model.sigma_[active] ** 2, case.F[:, active]
    squares = np.sum(case.F**2, axis=0)
    signal = float(squares[squares > 0].mean()) * model.prior_std_**2 / model.noise_variance_ if active.size else 0.0
    inside = 2e-3 < signal < 5e9 and model.noise_variance_ > 2e-8 * energy / case.y.size
    if not inside:
        return Measurement(0.0, 0.0, scale=1.0)
    spread = 0.0 if without_spread else float(squares[active] @ variance)
    noise = (float(np.sum((case.y - columns @ mean) ** 2)) + spread) / case.y.size
    prior = float(np.mean(mean**2 + variance))
    return Measurement.worst(
        [abs(noise / model.noise_variance_ - 1.0), abs(prior / model.prior_std_**2 - 1.0)], 0.0, 1.0
    )


learned_numbers = Claim(
    name="subspace_vi.learned_numbers",
    summary="Learned noise and prior are expected mean squares: of the residual and of the active coefficients.",
    statement=r"\kappa^{-1} = \tfrac1M E\|y - F_A\theta\|^2, \quad \sigma_p^2 = \tfrac1s E\|\theta\|^2 "
    r"\text{ inside their range}",
    source=ours("maximum of the bound over noise and prior"),
    # A maximum on a line is found to 1e-12 of its logarithm; the condition of the derivative costs some digits.
    verdict=Always(1e-6),
    instances=linear_cases,
    evaluate=_stationary,
    # The mean square of the residual at the posterior mean, as if coefficients were known.
    near_miss=lambda case: _stationary(case, without_spread=True),
)
