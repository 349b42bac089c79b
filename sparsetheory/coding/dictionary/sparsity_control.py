"""Control of the strength of a penalty towards a number of active atoms per signal."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from sklearn.exceptions import ConvergenceWarning

from sparsetheory.constraints import COUNT, FINITE, NONNEGATIVE, POSITIVE

__all__ = ["TunedStrength", "adjusted_alpha", "alpha_for_active"]

# The controller: its gain in the first part of a run, and after it; the length of that part; its longest step.
_GAIN, _LATE_GAIN = 0.3, 0.06
_FIRST_PART = 0.7
_LONGEST = math.log(2.0)
# First step of the search for a bracket in the logarithm, the factor by which steps grow, and their number.
_FIRST_STEP = math.log(1.5)
_GROWTH = 1.5
_MOST_STEPS = 15
# Logarithms beyond this are those of no floating-point number.
_FARTHEST = 700.0
# A secant that would land closer to an end of the bracket than this fraction of it is moved inside.
_MARGIN = 0.1


def adjusted_alpha(alpha: float, active: float, target: float, progress: float) -> float:
    r"""Return the strength for the next batch: :math:`\lambda \exp(g (active / target - 1))`.

    Parameters
    ----------
    alpha : float
        Strength of this batch.
    active : float
        Mean number of nonzeros of its codes.
    target : float
        Wanted number.
    progress : float
        Fraction of the batches that are done. The gain g is 0.3 up to 0.7 of them, then 0.06, so that the dictionary
        settles.

    Returns
    -------
    float
        Never more than twice or less than half of `alpha`.

    Examples
    --------
    >>> [round(adjusted_alpha(1.0, active, 8.0, 0.1), 4) for active in (8.0, 10.0, 80.0)]
    [1.0, 1.0779, 2.0]
    """
    gain = _GAIN if progress <= _FIRST_PART else _LATE_GAIN
    step = gain * (active / target - 1.0)
    return alpha * math.exp(min(max(step, -_LONGEST), _LONGEST))


@dataclass(frozen=True)
class TunedStrength:
    """Where :func:`alpha_for_active` ended.

    Attributes
    ----------
    alpha : float
        The strength tried whose count is closest to the target.
    active : float
        Its count.
    n_evaluations : int
        Strengths tried.
    converged : bool
        Whether the count is close enough.
    """

    alpha: float
    active: float
    n_evaluations: int
    converged: bool


def alpha_for_active(
    count: Callable[[float], float], *, target_active: float, start: float, tol: float = 0.01, max_iter: int = 40
) -> TunedStrength:
    """Find the strength at which codes have a given mean number of nonzeros.

    Parameters
    ----------
    count : callable
        Maps a strength to the mean number of nonzeros, which falls as the strength grows; it need not do so strictly
        or everywhere.
    target_active : float
        Wanted number, above 0.
    start : float
        First strength, above 0.
    tol : float
        Tolerance, relative to one nonzero: the largest difference from `target_active` that is accepted.
    max_iter : int
        Most strengths tried once there is one on each side.

    Returns
    -------
    TunedStrength

    Raises
    ------
    ValueError
        If a number is not as above, or `count` returns something else than a finite number.

    Warns
    -----
    ConvergenceWarning
        If no strength tried is close enough: none may exist, since counts of penalties with a jump are steps.

    Notes
    -----
    The search for a bracket starts with a factor of 1.5 and lengthens its steps. Inside it, secants of the count
    against the logarithm of the strength, with every third point a bisection, so that it shrinks whatever the count
    does.

    Examples
    --------
    >>> tuned = alpha_for_active(lambda alpha: 10.0 / alpha, target_active=5.0, start=0.1)
    >>> round(tuned.alpha, 2), tuned.converged
    (2.0, True)
    """
    target, start = POSITIVE.check("target_active", target_active), POSITIVE.check("start", start)
    tol, max_iter = NONNEGATIVE.check("tol", tol), COUNT.check("max_iter", max_iter)
    search = _Search(count, target)
    dense, sparse = _bracket(search, math.log(start), tol)
    for index in range(max_iter):
        if search.error <= tol or dense[0] == sparse[0]:
            break
        point = search.at(_inside(dense, sparse, target, halve=index % 3 == 2))
        dense, sparse = (point, sparse) if point[1] > target else (dense, point)
    tuned = TunedStrength(math.exp(search.best[0]), search.best[1], search.n_evaluations, search.error <= tol)
    if not tuned.converged:
        warnings.warn(
            f"no strength with {target:g} active atoms found; the closest tried, alpha={tuned.alpha:.6g}, has "
            f"{tuned.active:g}",
            ConvergenceWarning,
            stacklevel=2,
        )
    return tuned


class _Search:
    """Counts at strengths given by their logarithms, and the best one."""

    def __init__(self, count: Callable[[float], float], target: float) -> None:
        self.count, self.target = count, target
        self.n_evaluations, self.error = 0, math.inf
        self.best = (math.nan, math.nan)

    def at(self, log_alpha: float) -> tuple[float, float]:
        log_alpha = min(max(log_alpha, -_FARTHEST), _FARTHEST)
        active = self.count(math.exp(log_alpha))
        if not FINITE.accepts(active):
            raise ValueError(f"count must return a finite number; got {active!r} at alpha={math.exp(log_alpha):g}")
        active = float(active)
        self.n_evaluations += 1
        if abs(active - self.target) < self.error:
            self.error, self.best = abs(active - self.target), (log_alpha, active)
        return log_alpha, active


def _bracket(search: _Search, log_alpha: float, tol: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return points with too many and with too few nonzeros; the same point twice where there is no bracket."""
    first = last = search.at(log_alpha)
    upwards = first[1] > search.target
    for index in range(_MOST_STEPS):
        if search.error <= tol:
            break
        step = _FIRST_STEP * _GROWTH**index
        before, last = last, search.at(last[0] + (step if upwards else -step))
        if (last[1] > search.target) != upwards:
            return (before, last) if upwards else (last, before)
    return first, first


def _inside(dense: tuple[float, float], sparse: tuple[float, float], target: float, *, halve: bool) -> float:
    """Return where to look next between the logarithms of two strengths."""
    fraction = 0.5 if halve else (dense[1] - target) / (dense[1] - sparse[1])
    return dense[0] + min(max(fraction, _MARGIN), 1.0 - _MARGIN) * (sparse[0] - dense[0])
