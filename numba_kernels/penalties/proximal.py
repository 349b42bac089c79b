"""Every separable penalty of the package and its thresholding operator, one coordinate at a time.

The penalties are listed in :mod:`sparsetheory.numba_kernels.penalties.tags`. Nothing is promoted: where all numbers are
float32, so is the answer. Not-a-number passes through.
"""

import math

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.numba_kernels.penalties.tags import CAPPED_L1, CEL0, L0, L1, LOG_SUM, LQ, MCP, SCAD

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
    one = type(alpha)(1)
    if kind == L1 or alpha == 0:
        return type(alpha)(0)
    if kind == CEL0:
        return shape * shape
    if kind == MCP:
        return one / shape
    if kind == SCAD:
        return one / (shape - one)
    if kind == LOG_SUM:
        return alpha / (shape * shape)
    return type(alpha)(np.inf)


@kernel
def _parabola(kind: int, alpha: float, shape: float) -> tuple[float, float]:
    """Return the slope s at zero and the bend rho of CEL0 or MCP: both are s v - rho v^2 / 2 up to its top."""
    if kind == CEL0:
        return math.sqrt(alpha + alpha) * shape, shape * shape
    return alpha, type(alpha)(1) / shape


@kernel
def value(kind: int, x: float, alpha: float, shape: float) -> float:
    """Return the penalty of one coordinate."""
    v, zero, one = abs(x), type(x)(0), type(x)(1)
    if kind == L1:
        return alpha * v
    if v == 0 or alpha == 0:
        return zero
    if kind == L0:
        return alpha
    if kind == LQ:
        return alpha * v**shape
    if kind == LOG_SUM:
        return alpha * np.log1p(v / shape)
    if kind == CAPPED_L1:
        return alpha * min(v, shape)
    if kind == SCAD:
        if v <= alpha:
            return alpha * v
        # The plateau minus what the falling slope would still add.
        left = max(shape * alpha - v, zero)
        return (alpha * alpha * (shape + one) - left * left / (shape - one)) / (one + one)
    slope, rho = _parabola(kind, alpha, shape)
    reached = min(v, slope / rho)
    return reached * (slope - rho * reached / (one + one))


@kernel
def derivative(kind: int, x: float, alpha: float, shape: float) -> float:
    """Return the derivative of the penalty at x; at zero the one from the right, at a kink the outer one."""
    v, zero, one = abs(x), type(x)(0), type(x)(1)
    if kind == L1 or alpha == 0:
        return math.copysign(alpha, x)
    if kind == L0:
        slope = type(x)(np.inf) if v == 0 else zero
    elif kind == LQ:
        slope = alpha * shape * v ** (shape - one)
    elif kind == SCAD:
        slope = min(max((shape * alpha - v) / (shape - one), zero), alpha)
    elif kind == LOG_SUM:
        slope = alpha / (shape + v)
    elif kind == CAPPED_L1:
        slope = alpha if v < shape else zero
    else:
        steepest, rho = _parabola(kind, alpha, shape)
        slope = max(steepest - rho * v, zero)
    return math.copysign(slope, x)


@kernel
def curvature(kind: int, x: float, alpha: float, shape: float) -> float:
    """Return the second derivative of the penalty at x != 0; at a kink the outer one."""
    v, zero, one = abs(x), type(x)(0), type(x)(1)
    if kind == L1 or alpha == 0:
        return zero
    if kind == LQ:
        return -alpha * shape * (one - shape) * v ** (shape - one - one)
    if kind == LOG_SUM:
        return -alpha / ((shape + v) * (shape + v))
    if kind == SCAD:
        return -one / (shape - one) if alpha <= v < shape * alpha else zero
    if kind == CEL0 or kind == MCP:  # noqa: SIM109
        slope, rho = _parabola(kind, alpha, shape)
        return -rho if rho * v < slope else zero
    return zero


@kernel
def subgradient_distance(kind: int, x: float, g: float, alpha: float, shape: float) -> float:
    """Return the distance of ``-g`` from the limiting subdifferential of the penalty at x."""
    zero = type(x)(0)
    if x == 0:
        return max(abs(g) - derivative(kind, zero, alpha, shape), zero)
    if kind == CAPPED_L1 and abs(x) == shape:
        return min(abs(g), abs(g + math.copysign(alpha, x)))
    return abs(g + derivative(kind, x, alpha, shape))


@kernel
def _plateau_threshold(kind: int, step: float, alpha: float, shape: float) -> float:
    """Return sqrt(2 step p) for a penalty that saturates at p, and infinity for the others."""
    c = step * alpha
    if kind == L0 or kind == CEL0:  # noqa: SIM109
        return math.sqrt(c + c)
    if kind == MCP:
        return alpha * math.sqrt(step * shape)
    if kind == SCAD:
        return alpha * math.sqrt(step * (shape + type(alpha)(1)))
    if kind == CAPPED_L1:
        return math.sqrt((c + c) * shape)
    return type(alpha)(np.inf)


@kernel
def _lq_jump(c: float, q: float) -> float:
    """Return the smallest nonzero value of the operator of c v^q."""
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
    """Return the larger root of (x - v)(x + eps) + c = 0, or zero where it is not positive."""
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
    """Say whether zero is at least as good as the larger root."""
    if c <= eps * eps or v > c / eps:
        return v <= c / eps
    x = _log_sum_root(v, c, eps)
    return x == 0 or x / type(v)(2) + c * np.log1p(x / eps) / x >= v


@kernel
def _log_sum_threshold(c: float, eps: float) -> float:
    """Return the last number for which :func:`_log_sum_is_zero` holds, by bisection down to neighbours."""
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
    """Return the largest abs(u) that :func:`prox` maps to zero: the infimum of x/2 + step penalty(x)/x over x > 0."""
    one, c = type(alpha)(1), step * alpha
    if kind == L1 or alpha == 0:
        return c
    if kind == LQ:
        return _lq_jump(c, shape) * (one + (one - shape)) / (one + one) / (one - shape)
    if kind == LOG_SUM:
        return _log_sum_threshold(c, shape)
    # Zero loses to a small value beyond the first, and to a value on the plateau beyond the second.
    return min(step * derivative(kind, type(alpha)(0), alpha, shape), _plateau_threshold(kind, step, alpha, shape))


@kernel
def jump(kind: int, step: float, alpha: float, shape: float) -> float:
    """Return the limit of :func:`prox` from above at the zero threshold."""
    c, zero = step * alpha, type(alpha)(0)
    if kind == LQ:
        return _lq_jump(c, shape)
    if kind == LOG_SUM:
        return _log_sum_root(_log_sum_threshold(c, shape), c, shape) if c > shape * shape else zero
    plateau = _plateau_threshold(kind, step, alpha, shape)
    return plateau if plateau <= step * derivative(kind, zero, alpha, shape) else zero


@kernel
def beyond(kind: int, v: float, step: float, alpha: float, shape: float) -> float:
    """Return the operator at v > 0 above the zero threshold, which is not looked at."""
    one, c = type(v)(1), step * alpha
    if kind == L1:
        return v - c
    if kind == L0 or alpha == 0:
        return v
    if kind == LQ:
        return _lq_root(v, c, shape)
    if kind == LOG_SUM:
        return _log_sum_root(v, c, shape)
    if kind == CEL0 or kind == MCP:  # noqa: SIM109
        slope, rho = _parabola(kind, alpha, shape)
        gap, keep = v - step * slope, one - step * rho
        return min(gap / keep, v) if keep > 0 and gap > 0 else v
    soft, switch = v - c, shape + c / (one + one)
    # SCAD and capped l1 have a minimum on the slope and one on the plateau, equally good at the switch.
    if kind == SCAD:
        keep = shape - one - step
        if keep > 0:
            return min(max(soft, ((shape - one) * v - shape * c) / keep), v)
        switch = (alpha * (shape + one) + c) / (one + one)
    return soft if soft > 0 and v <= switch else v


@kernel
def prox(kind: int, u: float, step: float, alpha: float, shape: float) -> float:
    """Return the minimiser of (x - u)^2 / 2 + step penalty(x), and zero where zero ties with it.

    At alpha = 0 that is u itself. All operators are odd and do not decrease.
    """
    v, zero = abs(u), type(u)(0)
    if kind == L1:
        c = step * alpha
        return zero if v <= c else math.copysign(v - c, u)
    if alpha == 0:
        return u
    small = (
        _log_sum_is_zero(v, step * alpha, shape) if kind == LOG_SUM else v <= zero_threshold(kind, step, alpha, shape)
    )
    return zero if small else math.copysign(beyond(kind, v, step, alpha, shape), u)


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    numbers = {weak_convexity: 2, value: 3, derivative: 3, curvature: 3, zero_threshold: 3, jump: 3}
    for real in (np.float64, np.float32):
        for function, count in (numbers | {subgradient_distance: 4, prox: 4}).items():
            function(L1, *[real(1)] * count)
