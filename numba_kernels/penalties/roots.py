"""Where the objective of one coordinate is stationary under a power or a logarithm, and where zero stops being best.

Both are concave, so that ``(x - v)^2 / 2 + c p(x)`` has at most two stationary points above zero; the larger is the
minimum. For powers it is found by Newton's method, for the logarithm in closed form.
"""

import math

import numpy as np

from sparsetheory.numba_kernels.inlined import block

__all__ = ["log_sum_is_zero", "log_sum_root", "log_sum_threshold", "lq_jump", "lq_root"]


@block
def lq_jump(c: float, q: float) -> float:
    """Return the smallest nonzero value of the operator of c v^q.

    Where ``x / 2 + c x^(q - 1)`` is least: ``1 / 2 = c (1 - q) x^(q - 2)``.
    """
    one = type(c)(1)
    return ((c + c) * (one - q)) ** (one / (one - q + one))


@block
def _lq_root_of_power(v: float, c: float, k: int) -> float:
    """Return what :func:`lq_root` does for q = 1 - 1/k: with x = y^k it solves y^(k+1) - v y + c q = 0, no powers."""
    degree, small = type(v)(k), math.sqrt(np.finfo(type(v)).eps)
    y = math.sqrt(v) if k == 2 else v ** (type(v)(1) / degree)
    cq, move = c - c / degree, y
    while move > small * y:
        x = y * y if k == 2 else y * y * y
        move = ((x - v) * y + cq) / (x + degree * x - v)
        if not move > 0:
            break
        y -= move
    return min(y * y if k == 2 else y * y * y, v)


@block
def lq_root(v: float, c: float, q: float) -> float:
    """Return the largest root of x - v + c q x^(q-1) = 0 for v beyond the threshold.

    Newton steps from v only go down, because the function is convex with slope at least 1 - q/2 between the root and v.
    A step of relative size d leaves a relative error of at most d^2 / 2, so the last may be sqrt(eps).
    """
    one, small = type(v)(1), math.sqrt(np.finfo(type(v)).eps)
    if q == type(v)(1 / 2):
        return _lq_root_of_power(v, c, 2)
    if q == type(v)(2 / 3):
        return _lq_root_of_power(v, c, 3)
    x, move = v, v
    while move > small * x:
        p = c * q * x ** (q - one - one)
        move = (x * (one + p) - v) / (one - (one - q) * p)
        if not move > 0:
            break
        x -= move
    return x


@block
def log_sum_root(v: float, c: float, eps: float) -> float:
    """Return the larger root of (x - v)(x + eps) + c = 0, or zero where it is not positive.

    With d = v - eps the root is ``(d + sqrt((v + eps)^2 - 4 c)) / 2``. The square root is taken in two factors, which
    do not overflow, and for d < 0 the sum is replaced by the quotient that does not cancel.
    """
    zero, two = type(v)(0), type(v)(2)
    edge, difference = two * math.sqrt(c), v - eps
    gap = v + eps - edge
    if gap < zero:
        return zero
    root = math.sqrt(gap) * math.sqrt(v + eps + edge)
    x = (difference + root) / two if difference >= zero else two * (v * eps - c) / (root - difference)
    return min(max(x, zero), v)


@block
def log_sum_is_zero(v: float, c: float, eps: float) -> bool:
    """Say whether zero is at least as good as the larger root.

    For ``c <= eps^2`` the objective is convex, and its slope at zero decides: c / eps - v. Otherwise the values do.
    """
    if c <= eps * eps or v > c / eps:
        return v <= c / eps
    x = log_sum_root(v, c, eps)
    return x == 0 or x / type(v)(2) + c * np.log1p(x / eps) / x >= v


@block
def log_sum_threshold(c: float, eps: float) -> float:
    """Return the last number for which :func:`log_sum_is_zero` holds, by bisection down to neighbours.

    It lies between ``2 sqrt(c) - eps``, below which there is no root, and ``c / eps``, where the slope at zero is zero.
    """
    root, high, two = math.sqrt(c), c / eps, type(c)(2)
    if log_sum_is_zero(high, c, eps):
        return high
    low = root + (root - eps)
    while True:
        middle = (low + high) / two
        if not low < middle < high:
            return low
        if log_sum_is_zero(middle, c, eps):
            low = middle
        else:
            high = middle
