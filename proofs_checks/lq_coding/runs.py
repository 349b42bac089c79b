"""A given number of steps of forward-backward splitting, whether or not they converge."""

import warnings
from typing import cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding import forward_backward
from sparsetheory.coding.codes.trajectory import Trajectory
from sparsetheory.penalties import Penalty
from sparsetheory.proofs_checks.lq_coding.instances import Coding
from sparsetheory.typing import Float64Array

__all__ = ["take_steps"]


# No code that still moves has converged.
_NEVER = 1e-300


def take_steps(
    coding: Coding,
    penalty: Penalty,
    step: float,
    count: int,
    start: Float64Array | None = None,
    *,
    accelerated: bool = False,
) -> tuple[Float64Array, Trajectory]:
    """Take steps from a code, zero by default.

    Parameters
    ----------
    coding : Coding
        Atoms and signal.
    penalty : Penalty
        Of the code.
    step : float
        Step size, safe or not.
    count : int
        How many steps; fewer if the code no longer moves.
    start : ndarray of shape (n,), optional
        Where to start.
    accelerated : bool
        Extrapolate, without restarts.

    Returns
    -------
    code : ndarray of shape (n,)
    history : Trajectory
        Objectives, moves and support changes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = forward_backward(
            coding.X,
            coding.A.T,
            penalty,
            step=step,
            accelerated=accelerated,
            restart=False,
            tol=_NEVER,
            max_iter=count,
            keep_history=True,
            check_step=False,
            init=None if start is None else start[None],
        )
    return np.asarray(found.codes[0], np.float64), cast(Trajectory, found.history)
