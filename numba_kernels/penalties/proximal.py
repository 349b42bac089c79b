"""Every separable penalty of the package and its thresholding operator, one coordinate at a time.

The penalties are listed in :mod:`sparsetheory.numba_kernels.penalties.tags`. Nothing is promoted: where all numbers are
float32, so is the answer. Not-a-number passes through.

Derivation
----------
The operator minimises ``(x - u)^2 / 2 + c p(x)`` over x, with ``c = step``. All penalties are even, so it is odd, and
u = v > 0 is enough. It is computed in two parts, each in closed form or by a few Newton steps:

1. *Is zero best?* A value x > 0 beats zero if ``(x - v)^2 / 2 + c p(x) < v^2 / 2``, that is, if
   ``v > x / 2 + c p(x) / x``. So zero is best up to the infimum of the right side, the zero threshold. It is attained
   at one of two places: as x falls to zero, where it is c times the slope at zero, or where the penalty has reached a
   plateau p: there ``x / 2 + c p / x`` is least at ``x = sqrt(2 c p)``, with this very value. The x at which the
   infimum is attained is the limit of the operator from above, its jump.
2. *Which value beyond?* Where ``x - v + c p'(x) = 0``. For a penalty of slope ``s - rho x`` this is linear; where
   ``c rho >= 1`` the objective bends downwards all along the slope, and only its ends, zero and the plateau, compete.

A penalty that is infinite below zero (`POSITIVE`) has the same minimiser for u > 0, and zero for u <= 0: the objective
increases from zero on. So the sign costs one comparison, and no penalty needs code of its own for it.

A new penalty of slope ``s - rho v`` up to a top, and constant beyond, needs one branch in :func:`_parabola`.
"""

import math

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.numba_kernels.penalties.tags import (
    CAPPED_L1,
    CEL0,
    ELASTIC_NET,
    FAMILY,
    L0,
    L1,
    LOG_SUM,
    LQ,
    MCP,
    SCAD,
)

__all__ = [
    "beyond",
    "curvature",
    "derivative",
    "jump",
    "prox",
    "subgradient_distance",
    "value",
    "warmup",
    "weak_convexity",
    "zero_threshold",
]


@kernel
def weak_convexity(kind: int, alpha: float, shape: float) -> float:
    """Return the least rho for which penalty + rho x^2 / 2 is convex; infinite where there is none."""
    tag, zero, one = kind & FAMILY, type(alpha)(0), type(alpha)(1)
    if tag == L1 or alpha == 0:
        return zero
    if tag == L0 or tag == LQ or tag == CAPPED_L1:  # noqa: SIM109
        # A jump, a slope without bound and a concave corner: no parabola makes up for these.
        return type(alpha)(np.inf)
    if tag == SCAD:
        return one / (shape - one)
    if tag == LOG_SUM:
        return alpha / (shape * shape)
    return max(_parabola(tag, alpha, shape)[1], zero)


@kernel
def _parabola(tag: int, alpha: float, shape: float) -> tuple[float, float]:
    """Return the slope s at zero and the bend rho of a penalty that is s v - rho v^2 / 2 up to its top, if it has one.

    That is CEL0, MCP and the elastic net, whose bend is negative: it has no top.
    """
    if tag == CEL0:
        return math.sqrt(alpha + alpha) * shape, shape * shape
    if tag == ELASTIC_NET:
        return alpha * shape, alpha * (shape - type(alpha)(1))
    return alpha, type(alpha)(1) / shape


@kernel
def value(kind: int, x: float, alpha: float, shape: float) -> float:
    """Return the penalty of one coordinate."""
    tag, v, zero, one = kind & FAMILY, abs(x), type(x)(0), type(x)(1)
    if tag != kind and x < 0:
        return type(x)(np.inf)
    if tag == L1:
        return alpha * v
    if v == 0 or alpha == 0:
        return zero
    if tag == L0:
        return alpha
    if tag == LQ:
        return alpha * v**shape
    if tag == LOG_SUM:
        return alpha * np.log1p(v / shape)
    if tag == CAPPED_L1:
        return alpha * min(v, shape)
    if tag == SCAD:
        if v <= alpha:
            return alpha * v
        # The plateau minus what the falling slope would still add.
        left = max(shape * alpha - v, zero)
        return (alpha * alpha * (shape + one) - left * left / (shape - one)) / (one + one)
    slope, rho = _parabola(tag, alpha, shape)
    reached = min(v, slope / rho) if rho > 0 else v
    return reached * (slope - rho * reached / (one + one))


@kernel
def derivative(kind: int, x: float, alpha: float, shape: float) -> float:
    """Return the derivative of the penalty at x; at zero the one from the right, at a kink the outer one."""
    tag, v, zero, one = kind & FAMILY, abs(x), type(x)(0), type(x)(1)
    if tag == L1 or alpha == 0:
        return math.copysign(alpha, x)
    if tag == L0:
        slope = type(x)(np.inf) if v == 0 else zero
    elif tag == LQ:
        slope = alpha * shape * v ** (shape - one)
    elif tag == SCAD:
        slope = min(max((shape * alpha - v) / (shape - one), zero), alpha)
    elif tag == LOG_SUM:
        slope = alpha / (shape + v)
    elif tag == CAPPED_L1:
        slope = alpha if v < shape else zero
    else:
        steepest, rho = _parabola(tag, alpha, shape)
        slope = max(steepest - rho * v, zero)
    return math.copysign(slope, x)


@kernel
def curvature(kind: int, x: float, alpha: float, shape: float) -> float:
    """Return the second derivative of the penalty at x != 0; at a kink the outer one."""
    tag, v, zero, one = kind & FAMILY, abs(x), type(x)(0), type(x)(1)
    if tag == L1 or tag == L0 or tag == CAPPED_L1 or alpha == 0:  # noqa: SIM109
        return zero
    if tag == LQ:
        return -alpha * shape * (one - shape) * v ** (shape - one - one)
    if tag == LOG_SUM:
        return -alpha / ((shape + v) * (shape + v))
    if tag == SCAD:
        return -one / (shape - one) if alpha <= v < shape * alpha else zero
    slope, rho = _parabola(tag, alpha, shape)
    return -rho if rho * v < slope else zero


@kernel
def subgradient_distance(kind: int, x: float, g: float, alpha: float, shape: float) -> float:
    """Return the distance of ``-g`` from the limiting subdifferential of the penalty at x.

    At zero that is the interval of slopes between the two sides; the one from the left is minus infinity where the
    penalty is infinite below zero, and any g > 0 is fine there.
    """
    tag, zero = kind & FAMILY, type(x)(0)
    if tag != kind and x < 0:
        return type(x)(np.inf)
    if x == 0:
        pull = abs(g) if tag == kind else -g
        return max(pull - derivative(tag, zero, alpha, shape), zero)
    if tag == CAPPED_L1 and abs(x) == shape:
        return min(abs(g), abs(g + math.copysign(alpha, x)))
    return abs(g + derivative(tag, x, alpha, shape))


@kernel
def _plateau_threshold(tag: int, step: float, alpha: float, shape: float) -> float:
    """Return sqrt(2 step p) for a penalty that saturates at p, and infinity for the others."""
    c = step * alpha
    if tag == L0 or tag == CEL0:  # noqa: SIM109
        return math.sqrt(c + c)
    if tag == MCP:
        return alpha * math.sqrt(step * shape)
    if tag == SCAD:
        return alpha * math.sqrt(step * (shape + type(alpha)(1)))
    if tag == CAPPED_L1:
        return math.sqrt((c + c) * shape)
    return type(alpha)(np.inf)


@kernel
def _lq_jump(c: float, q: float) -> float:
    """Return the smallest nonzero value of the operator of c v^q.

    Where ``x / 2 + c x^(q - 1)`` is least: ``1 / 2 = c (1 - q) x^(q - 2)``.
    """
    one = type(c)(1)
    return ((c + c) * (one - q)) ** (one / (one - q + one))


@kernel
def _lq_root_of_power(v: float, c: float, k: int) -> float:
    """Return what :func:`_lq_root` does for q = 1 - 1/k: with x = y^k it solves y^(k+1) - v y + c q = 0, no powers."""
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


@kernel
def _lq_root(v: float, c: float, q: float) -> float:
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


@kernel
def _log_sum_root(v: float, c: float, eps: float) -> float:
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


@kernel
def _log_sum_is_zero(v: float, c: float, eps: float) -> bool:
    """Say whether zero is at least as good as the larger root.

    For ``c <= eps^2`` the objective is convex, and its slope at zero decides: c / eps - v. Otherwise the values do.
    """
    if c <= eps * eps or v > c / eps:
        return v <= c / eps
    x = _log_sum_root(v, c, eps)
    return x == 0 or x / type(v)(2) + c * np.log1p(x / eps) / x >= v


@kernel
def _log_sum_threshold(c: float, eps: float) -> float:
    """Return the last number for which :func:`_log_sum_is_zero` holds, by bisection down to neighbours.

    It lies between ``2 sqrt(c) - eps``, below which there is no root, and ``c / eps``, where the slope at zero is zero.
    """
    root, high, two = math.sqrt(c), c / eps, type(c)(2)
    if _log_sum_is_zero(high, c, eps):
        return high
    low = root + (root - eps)
    while True:
        middle = (low + high) / two
        if not low < middle < high:
            return low
        if _log_sum_is_zero(middle, c, eps):
            low = middle
        else:
            high = middle


@kernel
def zero_threshold(kind: int, step: float, alpha: float, shape: float) -> float:
    """Return the largest u that :func:`prox` maps to zero: the infimum of x/2 + step penalty(x)/x over x > 0."""
    tag, one, c = kind & FAMILY, type(alpha)(1), step * alpha
    if tag == L1 or alpha == 0:
        return c
    if tag == LQ:
        return _lq_jump(c, shape) * (one + (one - shape)) / (one + one) / (one - shape)
    if tag == LOG_SUM:
        return _log_sum_threshold(c, shape)
    # Zero loses to a small value beyond the first, and to a value on the plateau beyond the second.
    return min(step * derivative(tag, type(alpha)(0), alpha, shape), _plateau_threshold(tag, step, alpha, shape))


@kernel
def jump(kind: int, step: float, alpha: float, shape: float) -> float:
    """Return the limit of :func:`prox` from above at the zero threshold."""
    tag, c, zero = kind & FAMILY, step * alpha, type(alpha)(0)
    if tag == LQ:
        return _lq_jump(c, shape)
    if tag == LOG_SUM:
        return _log_sum_root(_log_sum_threshold(c, shape), c, shape) if c > shape * shape else zero
    plateau = _plateau_threshold(tag, step, alpha, shape)
    return plateau if plateau <= step * derivative(tag, zero, alpha, shape) else zero


@kernel
def beyond(kind: int, v: float, step: float, alpha: float, shape: float) -> float:
    """Return the operator at v > 0 above the zero threshold, which is not looked at."""
    tag, one, c = kind & FAMILY, type(v)(1), step * alpha
    if tag == L1:
        return v - c
    if tag == L0 or alpha == 0:
        return v
    if tag == LQ:
        return _lq_root(v, c, shape)
    if tag == LOG_SUM:
        return _log_sum_root(v, c, shape)
    if tag != SCAD and tag != CAPPED_L1:
        # x - v + step (slope - rho x) = 0 on the way to the top; beyond it, or where that opens downwards, v itself.
        slope, rho = _parabola(tag, alpha, shape)
        gap, keep = v - step * slope, one - step * rho
        return min(gap / keep, v) if keep > 0 and gap > 0 else v
    soft, switch = v - c, shape + c / (one + one)
    # SCAD and capped l1 have a minimum on the slope and one on the plateau, equally good at the switch.
    if tag == SCAD:
        keep = shape - one - step
        if keep > 0:
            # On the middle piece x - v + step (shape alpha - x) / (shape - 1) = 0; below alpha it is soft thresholding.
            return min(max(soft, ((shape - one) * v - shape * c) / keep), v)
        switch = (alpha * (shape + one) + c) / (one + one)
    return soft if soft > 0 and v <= switch else v


@kernel
def prox(kind: int, u: float, step: float, alpha: float, shape: float) -> float:
    """Return the minimiser of (x - u)^2 / 2 + step penalty(x), and zero where zero ties with it.

    At alpha = 0 that is u itself. All operators are nondecreasing, and odd unless the sign is restricted.
    """
    tag, v, zero = kind & FAMILY, abs(u), type(u)(0)
    if tag != kind and u < 0:
        return zero
    if tag == L1:
        c = step * alpha
        return zero if v <= c else math.copysign(v - c, u)
    if alpha == 0:
        return u
    small = _log_sum_is_zero(v, step * alpha, shape) if tag == LOG_SUM else v <= zero_threshold(tag, step, alpha, shape)
    return zero if small else math.copysign(beyond(tag, v, step, alpha, shape), u)


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    numbers = {weak_convexity: 2, value: 3, derivative: 3, curvature: 3, zero_threshold: 3, jump: 3}
    for real in (np.float64, np.float32):
        for function, count in (numbers | {subgradient_distance: 4, prox: 4}).items():
            function(L1, *[real(1)] * count)
