"""Steps at which forward-backward splitting never increases its objective."""

import warnings

import numpy as np

from sparsetheory.constraints import POSITIVE, Choice
from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import FloatArray

__all__ = ["choose_step", "squared_spectral_norm", "step_limit"]

# The fraction of its limit that a step takes by itself.
_FRACTION = 0.99
# By this a step of 1/L may exceed it, where a caller has computed L by other means.
_ROUNDING = 1e-9


def squared_spectral_norm(matrix: FloatArray) -> float:
    """Return an upper bound on the largest squared singular value that exceeds it by rounding alone.

    Notes
    -----
    The largest eigenvalue of the smaller Gram matrix of k rows of length l, O(l k^2 + k^3), in double precision. A
    computed symmetric eigenvalue, and the product before it, err by at most about ``(k + l) eps`` of the largest.
    """
    wide = np.asarray(matrix, dtype=np.float64)
    if wide.size == 0:
        return 0.0
    wide = wide if wide.shape[0] <= wide.shape[1] else wide.T
    largest = float(np.linalg.eigvalsh(wide @ wide.T)[-1])
    return max(largest, 0.0) * (1.0 + sum(wide.shape) * float(np.finfo(np.float64).eps))


def step_limit(lipschitz: float, penalty: Penalty) -> float:
    r"""Return the step below which every step decreases the objective.

    Parameters
    ----------
    lipschitz : float
        Lipschitz constant L of the gradient, above 0.
    penalty : Penalty
        Its weak convexity :math:`\rho` counts up to L.

    Returns
    -------
    float
        :math:`2 / (L + \min(\rho, L))`: 2/L for convex penalties, 1/L at worst.

    Notes
    -----
    Where :math:`\rho \le L` the limit is at most :math:`1/\rho`, so that the proximal operator is single-valued.

    Examples
    --------
    >>> from sparsetheory.penalties import CEL0, L0, L1
    >>> step_limit(4.0, L1(1.0)), step_limit(4.0, CEL0(1.0)), step_limit(4.0, L0(1.0))
    (0.5, 0.4, 0.25)
    """
    return 2.0 / (lipschitz + min(penalty.weak_convexity(), lipschitz))


def choose_step(
    step: float | str, lipschitz: float, penalty: Penalty, *, accelerated: bool, check: bool, only_warn: bool
) -> float:
    """Return a given step once it is safe, or the largest that is.

    Parameters
    ----------
    step : float or "auto"
        As in :func:`sparsetheory.coding.forward_backward`.
    lipschitz : float
        Lipschitz constant L of the gradient, above 0.
    penalty : Penalty
        Sets the limit; see :func:`step_limit`.
    accelerated : bool
        Whether steps are extrapolated; with convex penalties they may be at most 1/L then.
    check : bool
        Whether an unsafe step is refused.
    only_warn : bool
        Warn of it instead.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the step is neither "auto" nor a positive number, or is refused.

    Warns
    -----
    RuntimeWarning
        If the step is not safe and `only_warn` is set.
    """
    fista = accelerated and penalty.convex
    limit = 1.0 / lipschitz if fista else step_limit(lipschitz, penalty)
    step = (Choice("auto") | POSITIVE).check("step", step)
    if isinstance(step, str):
        return limit if fista else _FRACTION * limit
    unsafe = step > limit * (1.0 + _ROUNDING) if fista else step >= limit
    if check and unsafe:
        bound = "at most" if fista else "below"
        message = f"step must be {bound} {limit:.6g}, or the objective may increase; got {step:.6g}"
        if not only_warn:
            raise ValueError(f"{message} (check_step=False allows it)")
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    return step
