"""Laws of the share of active neurons over the data that a model was trained on."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.constraints import Choice
from sparsetheory.typing import Float64Array

__all__ = ["LawFit", "fit_activation_law"]

# Exponents from which fits start, and limits as shares of the least ratio.
_EXPONENTS, _LIMITS = (0.1, 0.3, 0.6, 1.0, 1.5, 2.0), (0.3, 0.7, 0.9, 0.99)
_MAX_EVALUATIONS = 20_000


@dataclass(frozen=True)
class LawFit:
    """A law of the share A of active neurons after D units of training data.

    Parameters
    ----------
    alpha : float
        Exponent of the data, above 0.
    b : float
        Logarithm of the part that decays, at D = 0; 0 for "silu", which has no such constant.
    c : float
        Speed, above 0, in units of ``D**-alpha``.
    a0 : float
        Share that is left with unlimited data, above 0.
    kind : str
        "relu" or "silu".
    """

    alpha: float
    b: float
    c: float
    a0: float
    kind: str

    def predict(self, tokens: Any) -> Float64Array:
        """Return the share of active neurons after some amounts of data, in the unit of the fit."""
        powers = np.asarray(tokens, dtype=np.float64) ** self.alpha
        decaying = np.exp(self.b - self.c * powers) if self.kind == "relu" else -self.c / powers
        return np.asarray(decaying + self.a0)


def fit_activation_law(tokens: Any, ratio: Any, kind: str = "relu") -> LawFit:
    r"""Fit the share of active neurons as a function of the training data, by least squares.

    Parameters
    ----------
    tokens : array-like of shape (n,)
        Amounts of data D, above 0, all different, at least as many as the law has parameters. The unit is free; that of
        the paper is a billion tokens. Leave out the first checkpoints, where the learning rate still rises.
    ratio : array-like of shape (n,)
        Share of active neurons at each of them, above 0.
    kind : {"relu", "silu"}
        "relu": :math:`A(D) = e^{-c D^\alpha + b} + A_0`, which falls. "silu": :math:`A(D) = -c D^{-\alpha} + A_0`,
        which rises.

    Returns
    -------
    LawFit
        Its `alpha`, `c` and `a0` are positive.

    Raises
    ------
    ValueError
        If the data are not as described, or no fit from any start converges.

    Warns
    -----
    UserWarning
        If the data end before the curve of "relu" bends, ``c * max(D)**alpha < 1``. The limit is then an extrapolation
        that small errors of the ratios change by its own size.

    Notes
    -----
    The Levenberg-Marquardt method on the logarithms of alpha, c and A_0, from several starts: for a given exponent and
    limit the other parameters follow from linear least squares.

    Source: Y. Luo et al., "Sparsing Law", arXiv 2411.02335.

    Examples
    --------
    >>> import numpy as np
    >>> tokens = np.linspace(1.0, 100.0, 30)
    >>> fit = fit_activation_law(tokens, np.exp(-0.5 * tokens**0.4 - 1.0) + 0.06)
    >>> round(fit.alpha, 6), round(fit.b, 6), round(fit.c, 6), round(fit.a0, 6)
    (0.4, -1.0, 0.5, 0.06)
    """
    Choice("relu", "silu").require(kind=kind)
    D, A = _checked(tokens, ratio, 4 if kind == "relu" else 3)
    starts, law = (_relu_starts, _relu) if kind == "relu" else (_silu_starts, _silu)
    fits = [fit for start in starts(D, A) if (fit := _fitted(law, D, A, start)) is not None]
    if not fits:
        raise ValueError(f"ratio must follow the law of {kind!r} roughly; no fit from any start converged")
    _, best = min(fits, key=lambda fit: fit[0])
    alpha, c, a0 = np.exp(best[:3]).tolist()
    found = LawFit(alpha, float(best[3]) if kind == "relu" else 0.0, c, a0, kind)
    bend = found.c * float(D.max()) ** found.alpha
    if kind == "relu" and bend < 1:
        warnings.warn(
            f"the curve has not bent yet, c * max(D)**alpha = {bend:.2g} is below 1: do not trust the limit a0",
            stacklevel=2,
        )
    return found


def _checked(tokens: Any, ratio: Any, n_parameters: int) -> tuple[Float64Array, Float64Array]:
    D, A = np.asarray(tokens, dtype=np.float64), np.asarray(ratio, dtype=np.float64)
    for name, values in (("tokens", D), ("ratio", A)):
        if values.ndim != 1 or not np.isfinite(values).all() or not (values > 0).all():
            raise ValueError(f"{name} must be a sequence of finite positive numbers; got {values!r:.200}")
    if D.size != A.size:
        raise ValueError(f"tokens and ratio must have equal lengths; got {D.size} and {A.size}")
    if np.unique(D).size < max(n_parameters, D.size):
        raise ValueError(f"tokens must hold at least {n_parameters} different amounts; got {D!r:.200}")
    return D, A


def _relu(D: Float64Array, log_alpha: float, log_c: float, log_a0: float, b: float) -> Float64Array:
    return np.exp(b - np.exp(log_c) * D ** np.exp(log_alpha)) + np.exp(log_a0)


def _silu(D: Float64Array, log_alpha: float, log_c: float, log_a0: float) -> Float64Array:
    return np.exp(log_a0) - np.exp(log_c) * D ** -np.exp(log_alpha)


def _relu_starts(D: Float64Array, A: Float64Array) -> Iterator[list[float]]:
    for alpha in _EXPONENTS:
        for share in _LIMITS:
            a0 = share * float(A.min())
            slope, b = np.polyfit(D**alpha, np.log(A - a0), 1)
            if slope < 0:
                yield [math.log(alpha), math.log(-slope), math.log(a0), b]


def _silu_starts(D: Float64Array, A: Float64Array) -> Iterator[list[float]]:
    for alpha in _EXPONENTS:
        slope, a0 = np.polyfit(D**-alpha, A, 1)
        if slope < 0 < a0:
            yield [math.log(alpha), math.log(-slope), math.log(a0)]


def _fitted(
    law: Callable[..., Float64Array], D: Float64Array, A: Float64Array, start: list[float]
) -> tuple[float, Float64Array] | None:
    """Return the sum of squared errors and the parameters, or None where the search does not end."""
    from scipy.optimize import OptimizeWarning, curve_fit

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            found, _ = curve_fit(law, D, A, start, method="lm", maxfev=_MAX_EVALUATIONS, ftol=1e-14, xtol=1e-14)
        except (RuntimeError, ValueError):
            return None
        error = float(np.square(law(D, *found) - A).sum())
    return (error, found) if math.isfinite(error) and np.isfinite(np.exp(found[:3])).all() else None
