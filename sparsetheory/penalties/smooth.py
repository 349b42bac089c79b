"""The penalties that are smooth but at zero, and not quadratic: powers and logarithms."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsetheory.constraints import FRACTION, Real
from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import Float64Array

__all__ = ["LogSum", "Lq"]

# Newton steps to the stationary points of l^q, which converge from above without end.
_NEWTON = 60


@dataclass(frozen=True, repr=False)
class Lq(Penalty):
    """``alpha v^q``: between hard and soft thresholding.

    A nonzero value of the operator is at least ``(2 step alpha (1 - q))^(1 / (2 - q))``. Roots are found by Newton's
    method, for q = 1/2 and q = 2/3 on a polynomial. Xu and others (2012), who gave closed forms for q = 1/2, leave out
    the factor 1/2 of the quadratic: their alpha is twice ours.

    Parameters
    ----------
    alpha : float
        Strength, at least 0.
    q : float
        Strictly between 0 and 1.
    positive : bool
        Whether entries must be at least zero; by default they may have any sign.

    Examples
    --------
    >>> half = Lq(1.0, q=0.5)
    >>> half.zero_threshold(), half.jump()
    (1.5, 1.0)
    """

    q: float
    quadratic: ClassVar[bool] = False
    _tag: ClassVar[int] = tags.LQ
    _name: ClassVar[str] = "q"
    _allowed: ClassVar[Real] = FRACTION

    @classmethod
    def slope_at_zero(cls, alpha: Float64Array, shape: Float64Array) -> Float64Array:
        """Return infinity."""
        return np.full_like(alpha, np.inf)

    @classmethod
    def values(cls, v: Float64Array, alpha: Float64Array, shape: Float64Array) -> Float64Array:
        """Return powers."""
        return np.asarray(alpha * v**shape)

    @classmethod
    def stationary(
        cls, u: Float64Array, h: Float64Array, alpha: Float64Array, shape: Float64Array
    ) -> list[Float64Array]:
        """Find the larger zero of ``v - u + c q v^(q - 1)``, convex in v, by Newton steps from u downwards."""
        c = alpha * shape / h
        least = (c * (1.0 - shape)) ** (1.0 / (2.0 - shape))
        v = np.maximum(u, least)
        for _ in range(_NEWTON):
            pull = c * v ** (shape - 1.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = (v + pull - u) / (1.0 - (1.0 - shape) * pull / v)
            new = np.where(np.isfinite(step), np.clip(v - step, least, v), v)
            if np.array_equal(new, v):
                break
            v = new
        return [v]


@dataclass(frozen=True, repr=False)
class LogSum(Penalty):
    """``alpha log(1 + v / eps)``, whose reweighted form is reweighted l1 (Candès, Wakin and Boyd, 2008).

    Parameters
    ----------
    alpha : float
        Strength, at least 0.
    eps : float
        Above 0. The operator is continuous while ``step alpha <= eps^2``.
    positive : bool
        Whether entries must be at least zero; by default they may have any sign.

    Examples
    --------
    >>> LogSum(1.0, eps=1.0).prox([1.0, 1.5, 10.0]).round(3)
    array([0.   , 1.   , 9.908])
    """

    eps: float
    quadratic: ClassVar[bool] = False
    _tag: ClassVar[int] = tags.LOG_SUM
    _name: ClassVar[str] = "eps"

    @classmethod
    def slope_at_zero(cls, alpha: Float64Array, shape: Float64Array) -> Float64Array:
        """Return the derivative of the logarithm at its end."""
        return np.asarray(alpha / shape)

    @classmethod
    def values(cls, v: Float64Array, alpha: Float64Array, shape: Float64Array) -> Float64Array:
        """Return logarithms."""
        return np.asarray(alpha * np.log1p(v / shape))

    @classmethod
    def stationary(
        cls, u: Float64Array, h: Float64Array, alpha: Float64Array, shape: Float64Array
    ) -> list[Float64Array]:
        """Solve ``(u - v)(eps + v) = alpha / h``; the other root is a maximum."""
        square = np.maximum((u + shape) ** 2 - 4.0 * alpha / h, 0.0)
        return [0.5 * (u - shape + np.sqrt(square))]
