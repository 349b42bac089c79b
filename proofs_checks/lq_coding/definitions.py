"""The penalties from their definitions, sharing no code with the library."""

import numpy as np

from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, LogSum, Lq, Penalty
from sparsetheory.typing import Float64Array

__all__ = ["definition", "kinks"]


def definition(penalty: Penalty, v: Float64Array) -> Float64Array:
    """Return the penalty of every entry of v >= 0, as it is written in the literature.

    Parameters
    ----------
    penalty : Penalty
        Of one feature.
    v : ndarray
        Absolute values.

    Returns
    -------
    ndarray of the shape of `v`
    """
    alpha = penalty.alpha
    match penalty:
        case L1():
            return alpha * v
        case L0():
            return np.where(v > 0, alpha, 0.0)
        case Lq(q=q):
            return alpha * v**q
        case CEL0(norms=a):
            return np.where(v <= np.sqrt(2 * alpha) / a, a * v * (np.sqrt(2 * alpha) - a * v / 2), alpha)
        case MCP(gamma=gamma):
            return np.where(v <= gamma * alpha, alpha * v - v**2 / (2 * gamma), gamma * alpha**2 / 2)
        case SCAD(a=a):
            middle = (2 * a * alpha * v - v**2 - alpha**2) / (2 * (a - 1))
            return np.where(v <= alpha, alpha * v, np.where(v <= a * alpha, middle, alpha**2 * (a + 1) / 2))
        case LogSum(eps=eps):
            return alpha * np.log1p(v / eps)
        case CappedL1(theta=theta):
            return alpha * np.minimum(v, theta)
    raise TypeError(f"no definition of {penalty}")


def kinks(penalty: Penalty) -> list[float]:
    """Return where, apart from zero, the penalty changes its formula."""
    match penalty:
        case CEL0(norms=a):
            return [np.sqrt(2 * penalty.alpha) / a]
        case MCP(gamma=gamma):
            return [gamma * penalty.alpha]
        case SCAD(a=a):
            return [penalty.alpha, a * penalty.alpha]
        case CappedL1(theta=theta):
            return [theta]
    return []
