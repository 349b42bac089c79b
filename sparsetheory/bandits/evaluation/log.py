"""A log of decisions: what was done, what it earned, and how likely it was to be done."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.environments.problem import action_numbers
from sparsetheory.constraints import FLAG
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["CheckedLog", "checked_log"]

# Probabilities may be given in single precision.
_SUM = 1e-5


@dataclass(frozen=True, eq=False)
class CheckedLog:
    """A log, and what the policy to be evaluated would have done."""

    actions: IndexArray
    rewards: Float64Array
    propensities: Float64Array
    policy: Float64Array

    @property
    def chosen(self) -> Float64Array:
        """Probability with which the policy would have done what was done."""
        if self.policy.ndim == 1:
            return self.policy[self.actions]
        return self.policy[np.arange(len(self.actions)), self.actions]

    @property
    def ratios(self) -> Float64Array:
        """Probabilities under the policy, divided by those of the log."""
        return self.chosen / self.propensities


def _numbers(name: str, values: ArrayLike, n_rounds: int) -> Float64Array:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.shape != (n_rounds,):
        raise ValueError(
            f"{name} must be real numbers, one for each of {n_rounds} actions; got {array.dtype} of shape {array.shape}"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity in row {int(np.argmin(np.isfinite(array)))}")
    return array


def _policy(policy: ArrayLike, n_rounds: int) -> Float64Array:
    array = np.asarray(policy)
    fits = array.ndim == 1 or (array.ndim == 2 and len(array) == n_rounds)
    if array.dtype.kind not in "biuf" or not fits or not array.size:
        raise ValueError(
            f"policy must be of shape (n_actions,) or ({n_rounds}, n_actions); got {array.dtype} of shape {array.shape}"
        )
    array = array.astype(np.float64)
    rows = np.atleast_2d(array)
    with np.errstate(invalid="ignore"):
        proper = (rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1.0) <= _SUM)
    if not proper.all():
        first = int(np.argmin(proper))
        raise ValueError(f"policy must hold probabilities that add up to one; got {rows[first]} in row {first}")
    return array


def _require_availability(available: Any, log: CheckedLog) -> None:
    n_rounds, n_actions = len(log.actions), log.policy.shape[-1]
    offered: BoolArray = np.asarray(available)
    if offered.dtype != np.bool_ or offered.shape != (n_rounds, n_actions):
        raise ValueError(
            f"available must be True or False, of shape {(n_rounds, n_actions)}; got {offered.dtype} of shape "
            f"{offered.shape}"
        )
    done = offered[np.arange(n_rounds), log.actions]
    if not done.all():
        raise ValueError(f"actions must have been available; got one that was not in row {int(np.argmin(done))}")
    outside = (np.broadcast_to(log.policy, offered.shape) * ~offered).sum(axis=1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise ValueError(f"policy must choose available actions; got probability {outside[first]:.3g} in row {first}")


def _require_support(log: CheckedLog) -> None:
    """Refuse a policy that does what the log never did, or could not do: nobody knows what that earns."""
    n_actions = log.policy.shape[-1]
    mass = log.policy if log.policy.ndim == 1 else log.policy.mean(axis=0)
    unseen = np.flatnonzero((mass > 0) & (np.bincount(log.actions, minlength=n_actions) == 0))
    if unseen.size:
        raise ValueError(
            f"policy must do what the log shows; got probability {mass[unseen].sum():.3g} for {unseen.size} actions "
            f"that never occur, the first of them {unseen[0]} (require_support=False allows it)"
        )
    # What had probability one left nothing for other actions.
    missed = (log.propensities >= 1.0) & (log.chosen < 1.0 - _SUM)
    if missed.any():
        first = int(np.flatnonzero(missed)[0])
        raise ValueError(
            f"policy must do what the log could do; got probability {1 - log.chosen[first]:.3g} in row {first} for "
            "actions that had none, as the logged one had probability one (require_support=False allows it)"
        )


def checked_log(
    actions: ArrayLike,
    rewards: ArrayLike,
    propensities: ArrayLike,
    policy: ArrayLike,
    available: Any,
    require_support: bool,
) -> CheckedLog:
    """Return a log as arrays.

    Parameters
    ----------
    actions, rewards, propensities : array-like of shape (n_rounds,)
    policy : array-like of shape (n_actions,) or (n_rounds, n_actions)
    available : array-like of bool, of shape (n_rounds, n_actions), or None
    require_support : bool
        Whether the policy may only do what occurs in the log.

    Raises
    ------
    ValueError
        If something does not fit, is not finite or is no probability; the first such row is named.
    """
    n_rounds = np.asarray(actions).size
    if n_rounds < 2:
        raise ValueError(f"actions must be those of at least two rounds; got {n_rounds}")
    target = _policy(policy, n_rounds)
    log = CheckedLog(
        action_numbers("actions", actions, target.shape[-1]),
        _numbers("rewards", rewards, n_rounds),
        _numbers("propensities", propensities, n_rounds),
        target,
    )
    possible = (log.propensities > 0) & (log.propensities <= 1)
    if not possible.all():
        first = int(np.argmin(possible))
        raise ValueError(f"propensities must be in (0, 1]; got {log.propensities[first]:.6g} in row {first}")
    if available is not None:
        _require_availability(available, log)
    if FLAG.check("require_support", require_support):
        _require_support(log)
    return log
