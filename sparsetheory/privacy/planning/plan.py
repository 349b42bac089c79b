"""Planning a collection: whether it is hopeless, and how many users or how much eps it needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sparsetheory.constraints import COUNT, NONNEGATIVE, POSITIVE, Choice, Integer, Real
from sparsetheory.privacy.collection.noise import release_noise
from sparsetheory.privacy.device.schema import GAUSSIAN, MECHANISMS, LDPSchema
from sparsetheory.privacy.planning.bounds import nldp_lower_bound
from sparsetheory.privacy.planning.prediction import predicted_error
from sparsetheory.privacy.solvers.weights import balanced_weight

__all__ = ["ErrorPrediction", "plan", "predict_error", "prediction_of"]

SOLVERS = ("moment_iht", "ols_soft", "psd_lasso")
_EPS = Real(0.0, 20.0, closed="right")
_MOST_USERS = 1e15
_SMALLEST_EPS = 1e-3
_GRID = 100


@dataclass(frozen=True)
class ErrorPrediction:
    """What a collection can be expected to give.

    Parameters
    ----------
    error : float
        Predicted root mean square error of the coefficients, in the Euclidean norm.
    zero_error : float
        Error of answering zero: the norm of the coefficients.
    required_n : int or None
        Number of users from which on the predicted error is below that of answering zero, or below the wanted error;
        None where not even 10^15 users suffice.
    lower_bound : float or None
        Root mean square error that no non-interactive eps-private protocol stays below for all problems of this size;
        None where the theorem does not apply: it needs eight or more features for every non-zero.
    n_samples : int
        Number of users.
    eps, delta : float
        Privacy parameters.
    mechanism : str
        The randomizer.
    """

    error: float
    zero_error: float
    required_n: int | None
    lower_bound: float | None
    n_samples: int
    eps: float
    delta: float
    mechanism: str

    @property
    def useful(self) -> bool:
        """Whether the predicted error is below that of answering zero."""
        return self.error < self.zero_error

    def __str__(self) -> str:
        need = "more than 10^15 users" if self.required_n is None else f"{self.required_n:.3g} users"
        bound = "" if self.lower_bound is None else f"; no protocol guarantees less than {self.lower_bound:.3g}"
        return (
            f"{self.n_samples:.3g} users at eps={self.eps:g}: predicted error {self.error:.3g}, "
            f"answering zero {self.zero_error:.3g}{bound}; needs {need}"
        )


def predict_error(
    n_samples: int,
    n_features: int,
    n_nonzero: int,
    eps: float,
    delta: float = 0.0,
    mechanism: str = "sphere_joint",
    *,
    solver: str = "moment_iht",
    norm_bound: float = 1.0,
    noise_std: float = 0.5,
    clip_x: float | None = None,
    clip_y: float | None = None,
    public_covariance: bool = False,
    **options: Any,
) -> ErrorPrediction:
    """Predict the error of a collection before anyone has sent anything.

    Parameters
    ----------
    n_samples, n_features, n_nonzero : int
        Numbers of users, of features and of non-zero coefficients.
    eps, delta : float
        Privacy parameters.
    mechanism : {"sphere_joint", "sketch", "onebit", "gauss_tight", "paper"}
        The randomizer.
    solver : {"moment_iht", "ols_soft", "psd_lasso"}
        What is done with the moments.
    norm_bound : float
        Norm of the coefficients, for features of unit variance.
    noise_std : float
        Standard deviation of the response around the model.
    clip_x, clip_y : float, optional
        Clipping bounds. By default those of normal data: ``sqrt(n_features) + 2.5``, and three standard deviations of
        the response.
    public_covariance : bool
        Whether the covariance of the features is known, so that the whole budget goes to the response.
    **options
        Further fields of :class:`LDPSchema`. Entries are clipped at 3 by default where the mechanism needs it.

    Returns
    -------
    ErrorPrediction

    Examples
    --------
    >>> prediction = predict_error(10**7, 20, 3, eps=1.0)
    >>> prediction.useful, 0.05 < prediction.error < 0.15
    (True, True)
    >>> print(predict_error(10**5, 20, 3, eps=1.0).useful)
    False
    """
    COUNT.require(n_samples=n_samples, n_features=n_features)
    Integer(0, n_features).check("n_nonzero", n_nonzero)
    _EPS.check("eps", eps)
    Choice(*SOLVERS).check("solver", solver)
    Choice(*MECHANISMS).check("mechanism", mechanism)
    POSITIVE.require(norm_bound=norm_bound)
    NONNEGATIVE.require(noise_std=noise_std)
    schema = LDPSchema(
        mechanism=mechanism,
        eps=eps,
        delta=delta,
        n_features=n_features,
        clip_x=math.sqrt(n_features) + 2.5 if clip_x is None else clip_x,
        clip_y=3 * math.hypot(norm_bound, noise_std) if clip_y is None else clip_y,
        **{
            "clip_entries": 3.0 if mechanism in ("onebit", "paper") else None,
            "moments": "cross" if public_covariance else "joint",
            **options,
        },
    )
    if "response_weight" not in options:
        schema = replace(schema, response_weight=balanced_weight(schema, norm_bound))
    return prediction_of(schema, n_samples, n_nonzero, norm_bound, solver=solver, noise_std=noise_std)


def prediction_of(
    schema: LDPSchema,
    n_samples: int,
    n_nonzero: int,
    norm_bound: float,
    *,
    solver: str = "moment_iht",
    noise_std: float = 0.0,
    wanted: float | None = None,
) -> ErrorPrediction:
    """Return the prediction for a collection whose schema is known.

    Parameters
    ----------
    schema : LDPSchema
    n_samples, n_nonzero, norm_bound, solver, noise_std
        As in :func:`predict_error`.
    wanted : float, optional
        The error that `required_n` is for; that of answering zero by default.

    Returns
    -------
    ErrorPrediction
    """
    noise, d = release_noise(schema), schema.n_features

    def error(n: float) -> float:
        return predicted_error(noise, n, d, n_nonzero, norm_bound, solver=solver, noise_std=noise_std)

    limit = norm_bound * (1 - 1e-9) if wanted is None else wanted
    required = _smallest(lambda log_n: error(math.exp(log_n)) <= limit, 0.0, math.log(_MOST_USERS))
    lower = None
    if n_nonzero and d % n_nonzero == 0 and d >= 8 * n_nonzero and not schema.delta:
        # The hard problems have coefficients of twice that norm, and smaller ones are hard in proportion.
        lower = min(math.sqrt(nldp_lower_bound(n_samples, d, n_nonzero, schema.eps)), norm_bound / 2)
    return ErrorPrediction(
        error(n_samples),
        norm_bound,
        None if required is None else math.ceil(math.exp(required)),
        lower,
        n_samples,
        schema.eps,
        schema.delta,
        schema.mechanism,
    )


def plan(
    n_features: int,
    n_nonzero: int,
    error: float,
    *,
    n_samples: int | None = None,
    eps: float | None = None,
    delta: float = 0.0,
    mechanism: str = "sphere_joint",
    **options: Any,
) -> ErrorPrediction:
    """Return the smallest number of users, or the smallest eps, for a wanted error.

    Parameters
    ----------
    n_features, n_nonzero : int
        Numbers of features and of non-zero coefficients.
    error : float
        Wanted error of the coefficients, in the Euclidean norm.
    n_samples : int, optional
        Number of users, if eps is wanted.
    eps : float, optional
        Privacy parameter, if the number of users is wanted. One of the two is given.
    delta, mechanism, **options
        As in :func:`predict_error`.

    Returns
    -------
    ErrorPrediction
        With the number or the eps that was found.

    Raises
    ------
    ValueError
        If none of the two is given, or both; or if nothing in reach gives the error: 10^15 users, or the largest eps
        of the mechanism, which is 20 for pure ones.

    Examples
    --------
    >>> found = plan(20, 3, 0.1, eps=1.0)
    >>> found.error <= 0.1, 10**6 < found.n_samples < 10**8
    (True, True)
    >>> plan(20, 3, 0.1, n_samples=10**8).eps < 1
    True
    """
    POSITIVE.check("error", error)
    if (n_samples is None) == (eps is None):
        raise ValueError(f"n_samples or eps must be given, and the other is found; got {n_samples!r} and {eps!r}")

    def predict(n: int, epsilon: float) -> ErrorPrediction:
        return predict_error(n, n_features, n_nonzero, epsilon, delta, mechanism, **options)

    if eps is not None:
        found = _smallest(lambda log_n: predict(_users(log_n), eps).error <= error, 0.0, math.log(_MOST_USERS))
        if found is None:
            raise ValueError(f"error must be larger: 10**15 users do not reach it; got {error!r}")
        return replace(predict(_users(found), eps), required_n=_users(found))
    assert n_samples is not None
    users = n_samples
    low, high = math.log(_SMALLEST_EPS), math.log(_EPS.high)
    if mechanism in GAUSSIAN:
        low, high = _allowed(lambda log_eps: predict(users, math.exp(log_eps)), low, high)
    found = _smallest(lambda log_eps: predict(users, math.exp(log_eps)).error <= error, low, high)
    if found is None:
        raise ValueError(
            f"error must be larger: {users} users do not reach it at eps={math.exp(high):.3g}; got {error!r}"
        )
    return replace(predict(users, math.exp(found)), required_n=users)


def _users(log_n: float) -> int:
    return math.ceil(math.exp(log_n))


def _allowed(attempt: Callable[[float], Any], low: float, high: float) -> tuple[float, float]:
    """Return the ends of the part of an interval where an attempt is no ValueError, or raise that of its middle.

    Gaussian noise has no calibration for every eps: the classical one ends early, and rounded probabilities cost a
    delta that grows as e^eps.
    """
    allowed = []
    for point in (low + (high - low) * i / _GRID for i in range(_GRID + 1)):
        try:
            attempt(point)
        except ValueError:
            continue
        allowed.append(point)
    if not allowed:
        attempt((low + high) / 2)
    return allowed[0], allowed[-1]


def _smallest(reached: Callable[[float], bool], low: float, high: float) -> float | None:
    """Return the smallest number in an interval from which on something is reached, or None."""
    if not reached(high):
        return None
    if reached(low):
        return low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
