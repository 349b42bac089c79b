"""One trial of a sweep: its seed, and what it measures."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
from threadpoolctl import ThreadpoolController

from sparsetheory.experiments.extras import explain_missing, is_missing_extra
from sparsetheory.experiments.profile import Profile
from sparsetheory.proofs_checks.claim import Claim, Sweep
from sparsetheory.proofs_checks.measurement import Measurement
from sparsetheory.proofs_checks.result import Row

__all__ = [
    "MissingExtraError",
    "Trial",
    "TrialError",
    "one_blas_thread",
    "plan_trials",
    "require_sweep",
    "run_trial",
]


class TrialError(RuntimeError):
    """The code of a claim raised; the message names the trial and the original error."""


class MissingExtraError(TrialError):
    """A trial could not run, because an optional package is missing; the message names the extra."""


@dataclass(frozen=True)
class Trial:
    """A swept value and the random stream of one repetition."""

    value: float
    index: int
    seed: np.random.SeedSequence

    @property
    def key(self) -> tuple[int, ...]:
        """Entropy and spawn key: all that it takes to rebuild the stream."""
        return (*np.atleast_1d(self.seed.entropy).tolist(), *self.seed.spawn_key)  # type: ignore[arg-type]


def require_sweep(claim: Claim) -> Sweep:
    """Return the sweep of a claim, or raise ValueError when it has none."""
    if claim.sweep is None:
        raise ValueError(f"{claim.name} has no sweep; use check")
    return claim.sweep


def plan_trials(claim: Claim, profile: Profile, seed: int) -> list[Trial]:
    """List the trials of a claim in the order of its axis.

    The stream of a trial depends on the seed, the claim's name and the two indices alone, so it does not change
    with the number of workers, the other claims of a run or the number of repetitions.

    Parameters
    ----------
    claim : Claim
        A claim with a sweep.
    profile : Profile
        Decides on the number of repetitions.
    seed : int
        Seed of the whole run.

    Returns
    -------
    list of Trial
    """
    sweep = require_sweep(claim)
    root = np.random.SeedSequence([seed, crc32(claim.name.encode())])
    children = dict(zip(sweep.values, root.spawn(len(sweep.values)), strict=True))
    return [
        Trial(value, index, leaf)
        for value in profile.values(sweep)
        for index, leaf in enumerate(children[value].spawn(profile.trials(sweep)))
    ]


def run_trial(
    draw: Callable[[np.random.Generator, float], Any], evaluate: Callable[[Any], Measurement], trial: Trial
) -> Row:
    """Draw one instance and measure it, with one BLAS thread.

    Parameters
    ----------
    draw, evaluate : callable
        Of the sweep and of the claim; the claim itself stays behind because strategies need not pickle.
    trial : Trial
        What to run.

    Returns
    -------
    Row

    Raises
    ------
    TrialError
        If `draw` or `evaluate` raises; `MissingExtraError`, its subclass, if an optional package is missing.
    """
    started = time.perf_counter()
    try:
        with one_blas_thread():
            measurement = _as_floats(evaluate(draw(np.random.default_rng(trial.seed), trial.value)))
    except Exception as error:
        if is_missing_extra(error):
            raise MissingExtraError(explain_missing(error)) from error
        where = f"value {trial.value}, trial {trial.index}, seed {trial.key}"
        raise TrialError(f"{type(error).__name__}: {error} ({where})") from error
    return Row(trial.value, trial.index, trial.key, measurement, time.perf_counter() - started)


def one_blas_thread() -> Any:
    """Return a context with one BLAS thread: the order of sums must not depend on the number of workers."""
    return _thread_pools().limit(limits=1)


@cache
def _thread_pools() -> ThreadpoolController:
    # Listing the loaded libraries takes milliseconds, longer than many a trial.
    return ThreadpoolController()


def _as_floats(measurement: Measurement) -> Measurement:
    scale = None if measurement.scale is None else float(measurement.scale)
    extras = {key: float(value) for key, value in measurement.extras.items()}
    measured, bound = float(measurement.measured), float(measurement.bound)
    return replace(measurement, measured=measured, bound=bound, scale=scale, extras=extras)
