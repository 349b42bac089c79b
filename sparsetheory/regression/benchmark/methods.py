"""Runs one method on one problem with a known answer."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from sparsetheory.regression.benchmark.problems import RecoveryProblem
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["MethodOutcome", "check_method", "run_method"]


@dataclass(frozen=True)
class MethodOutcome:
    """How well a method did.

    Parameters
    ----------
    error : float
        Of the prediction, in units of the variance of the noise; NaN if the method failed.
    support_f1 : float
        F1 score of the non-zero coefficients; NaN if there are none to look at.
    seconds : float
        Spent fitting.
    failed : str or None
        What went wrong.
    """

    error: float
    support_f1: float
    seconds: float
    failed: str | None = None


def check_method(name: str, method: Any) -> None:
    """Raise TypeError unless a method is an estimator or a callable."""
    if isinstance(method, type) or not (hasattr(method, "fit") or callable(method)):
        raise TypeError(
            f"method {name!r} must be an estimator or a callable(X, y, n_nonzero, noise_std); got {method!r}"
        )


def run_method(method: Any, problem: RecoveryProblem, random_state: int) -> MethodOutcome:
    """Fit a method; what it raises is part of the outcome.

    Parameters
    ----------
    method : estimator or callable
        An estimator is cloned. ``callable(X, y, n_nonzero, noise_std)`` returns a fitted estimator, one
        coefficient per column, or one prediction per row; of a square design, coefficients.
    problem : RecoveryProblem
        What to fit.
    random_state : int
        Fills every `random_state` of an estimator that is None.

    Returns
    -------
    MethodOutcome
    """
    fit = _as_function(method, random_state)
    y = problem.y
    started = time.perf_counter()
    try:
        fitted = fit(problem.X, y, problem.support.size, problem.noise_std)
        seconds = time.perf_counter() - started
        prediction, coef = _read(fitted, problem.X)
    except Exception as error:
        seconds = time.perf_counter() - started
        return MethodOutcome(math.nan, math.nan, seconds, f"{type(error).__name__}: {error}")
    return MethodOutcome(problem.error(prediction), _support_f1(coef, problem.support), seconds)


def _as_function(method: Any, random_state: int) -> Callable[..., Any]:
    if not hasattr(method, "fit"):
        function: Callable[..., Any] = method
        return function
    estimator = clone(method)
    params = estimator.get_params()
    unseeded = [p for p, v in params.items() if v is None and p.split("__")[-1] == "random_state"]
    estimator.set_params(**dict.fromkeys(unseeded, random_state))
    return lambda X, y, n_nonzero, noise_std: estimator.fit(X, y)


def _read(fitted: Any, X: Float64Array) -> tuple[Float64Array, Float64Array | None]:
    """Return predictions, and coefficients where there are some."""
    n_samples, n_features = X.shape
    if hasattr(fitted, "predict"):
        prediction, coef = np.ravel(fitted.predict(X)), getattr(fitted, "coef_", None)
        coef = None if coef is None or np.size(coef) != n_features else np.ravel(coef)
    else:
        values = np.asarray(fitted, dtype=np.float64)
        if values.shape not in ((n_features,), (n_samples,)):
            raise ValueError(
                f"the method must return {n_features} coefficients or {n_samples} predictions; got shape {values.shape}"
            )
        prediction, coef = (X @ values, values) if values.shape == (n_features,) else (values, None)
    if prediction.shape != (n_samples,) or not np.isfinite(prediction).all():
        raise ValueError(f"the predictions must be {n_samples} finite numbers")
    return prediction, coef


def _support_f1(coef: Float64Array | None, support: IndexArray) -> float:
    if coef is None:
        return math.nan
    found = np.flatnonzero(coef)
    return 2 * np.intersect1d(found, support).size / (found.size + support.size)
