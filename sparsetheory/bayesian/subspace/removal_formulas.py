"""The criteria of removal by name, for arrays and tensors alike."""

import math
from collections.abc import Callable
from typing import Any

from sparsetheory.bayesian.subspace.elementwise import Elementwise, Values
from sparsetheory.bayesian.subspace.exponential_formulas import log_exponential_mean, log_exponential_ratio
from sparsetheory.bayesian.subspace.folded_formulas import capped, folded_excess, signal_to_noise
from sparsetheory.constraints import MISSING, POSITIVE, Choice

__all__ = ["check_removal", "removal_formula"]

Formula = Callable[[Elementwise, Values, Values, float, float], Values]


def _mean(f: Elementwise, size: Values, sigma: Values, rate: float, log_prior: float) -> Values:
    return size


def _snr(f: Elementwise, size: Values, sigma: Values, rate: float, log_prior: float) -> Values:
    return signal_to_noise(f, size, sigma)


def _mean_abs(f: Elementwise, size: Values, sigma: Values, rate: float, log_prior: float) -> Values:
    return size + sigma * folded_excess(f, capped(f, signal_to_noise(f, size, sigma)))


def _exp_abs(f: Elementwise, size: Values, sigma: Values, rate: float, log_prior: float) -> Values:
    return log_exponential_mean(f, size, sigma, rate)


def _snr_exp_abs(f: Elementwise, size: Values, sigma: Values, rate: float, log_prior: float) -> Values:
    return log_exponential_ratio(f, size, sigma, rate)


def _savage_dickey(f: Elementwise, size: Values, sigma: Values, rate: float, log_prior: float) -> Values:
    r = signal_to_noise(f, size, sigma)
    # Logarithms one by one: the quotient of the deviations may leave the range. At sigma = 0 the square wins.
    return f.where(r * r < math.inf, r * r / 2 + f.log(sigma) - log_prior, math.inf)


_FORMULAS: dict[str, Formula] = {
    "mean": _mean,
    "snr": _snr,
    "mean_abs": _mean_abs,
    # An increasing function of r, by which it is sorted without ties.
    "snr_abs": _snr,
    "exp_abs": _exp_abs,
    "snr_exp_abs": _snr_exp_abs,
    "savage_dickey": _savage_dickey,
}
_IN_DOUBLE = ("exp_abs", "snr_exp_abs")


def check_removal(criterion: Any, rate: Any, prior_std: Any) -> float:
    """Raise ValueError for arguments that are not allowed; return the logarithm of the prior deviation, or zero."""
    Choice(*_FORMULAS).check("criterion", criterion)
    POSITIVE.check("rate", rate)
    (POSITIVE if criterion == "savage_dickey" else MISSING | POSITIVE).check("prior_std", prior_std)
    return 0.0 if prior_std is None else math.log(prior_std)


def removal_formula(criterion: str) -> tuple[Formula, bool]:
    """Return the formula of a criterion, and whether it needs double precision."""
    return _FORMULAS[criterion], criterion in _IN_DOUBLE
