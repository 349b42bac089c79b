"""Proximal operators of all penalties of :mod:`sparsetheory.penalties`, on tensors, with gradients.

Each family has two functions of the size v of an entry: the largest one that becomes zero, and the operator beyond it.
Both are derived in :mod:`sparsetheory.numba_kernels.penalties.proximal`, whose order of operations is kept, so that
ties fall on the same side.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softshrink

from sparsetheory.constraints import POSITIVE
from sparsetheory.gpu.solvers.arguments import working_dtype
from sparsetheory.gpu.solvers.roots import log_sum_is_zero, log_sum_root, lq_jump, lq_root
from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, ElasticNet, LogSum, Lq, Penalty

__all__ = ["prox"]

_FAMILIES = (L1, ElasticNet, L0, CEL0, MCP, SCAD, CappedL1, Lq, LogSum)


def prox(x: Tensor, penalty: Penalty, step: float | Tensor = 1.0) -> Tensor:
    """Return the minimiser over z of ``||z - x||^2 / 2 + step * penalty(z)``, and zero where zero ties with it.

    Parameters
    ----------
    x : Tensor of shape (..., n_features)
        Real floating-point numbers; those that are not a number stay so.
    penalty : Penalty
        One of :mod:`sparsetheory.penalties`.
    step : float or Tensor
        Above 0. A tensor broadcasts against `x`: one step for each feature, or for each row.

    Returns
    -------
    Tensor
        Of the shape, dtype and device of `x`. Entries of 16 bits are computed in single precision and rounded once.
        Gradients with respect to `x` and `step` are right wherever the operator has one; at a jump or a kink they are
        those of one side.

    Raises
    ------
    TypeError
        If `x` is not a tensor of floating-point numbers, or `penalty` is not a penalty of the package.
    ValueError
        If a step is not positive and finite, the last axis of `x` does not fit a penalty with one number per feature,
        or a number of the penalty is out of its interval in the precision of `x`.

    See Also
    --------
    sparsetheory.penalties.prox : The same on arrays.

    Notes
    -----
    A few passes over `x`; powers take Newton steps, about eight, until none moves by more than the root of the machine
    precision. In float64 and float32 the values are those of the compiled operators up to a few roundings. For a step
    that is a float zero wins the same ties, except for `Lq` and `LogSum`, whose thresholds come from powers and
    logarithms, which libraries round differently in the last bit.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.penalties import L1, MCP
    >>> prox(torch.tensor([-3.0, 0.5, 2.0]), L1(1.0))
    tensor([-2.,  0.,  1.])
    >>> prox(torch.tensor([0.5, 1.5, 3.0]), MCP(1.0, gamma=2.0))
    tensor([0., 1., 3.])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a tensor of real floating-point numbers; got {got}")
    if type(penalty) not in _FAMILIES:
        raise TypeError(f"penalty must be a Penalty of sparsetheory.penalties; got {penalty!r}")
    u = x.to(working_dtype(x))
    alpha, shape = _numbers(penalty, u)
    size = _step(step, u)
    values = u if penalty.alpha == 0.0 else _applied(type(penalty), u, size, alpha, shape)
    return (torch.where(u < 0, 0.0, values) if penalty.positive else values).to(x.dtype)


def _numbers(penalty: Penalty, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return strength and shape, rounded to the precision of x; numbers stay on the CPU, where they mix with all."""
    per_feature = np.ndim(penalty.shape) > 0
    features = x.shape[-1] if per_feature and x.ndim else 1
    if per_feature and features != penalty.shape.size:
        raise ValueError(
            f"x must have {penalty.shape.size} entries in its last axis, one per entry of {penalty._name}; "
            f"got shape {tuple(x.shape)}"
        )
    dtype = np.float64 if x.dtype == torch.float64 else np.float32
    alpha, shape = map(torch.from_numpy, penalty.numbers(features, dtype))
    return alpha[0], shape.to(x.device) if per_feature else shape[0]


def _step(step: Any, x: Tensor) -> Tensor:
    if not isinstance(step, Tensor):
        return torch.tensor(POSITIVE.check("step", step), dtype=x.dtype)
    if not bool(((step > 0) & torch.isfinite(step)).all()):
        raise ValueError("step must be positive and finite; got entries that are not")
    return step.to(x.dtype)


def _applied(family: type[Penalty], u: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    """Return zero where zero is best, and the operator beyond elsewhere, with the sign of u."""
    if not (step.ndim or shape.ndim or step.requires_grad):
        if family is L1:
            return softshrink(u, float(step * alpha))
        if family in _BENDS and _is_firm(family, step, alpha, shape):
            return _firm(family, u, step, alpha, shape)
    v = u.abs()
    with torch.no_grad():
        zero = log_sum_is_zero(v, step * alpha, shape) if family is LogSum else v <= _limit(family, step, alpha, shape)
    if u.requires_grad or step.requires_grad or family is Lq:
        # Entries that become zero must not meet formulas for what does not: their gradients may be no numbers there,
        # and Newton's method may not end.
        c = step.detach() * alpha
        v = torch.where(zero, 1 + c / torch.where(shape > 0, shape, 1.0) + 4 * (shape + c), v)
    return torch.where(zero, 0.0, torch.copysign(_beyond(family, v, step, alpha, shape), u))


def _limit(family: type[Penalty], step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    """Return the largest size that becomes zero.

    Zero loses to a small value beyond step times the slope there, and to a value on a plateau p beyond sqrt(2 step p).
    """
    if family is Lq:
        return lq_jump(step * alpha, shape) * (1 + (1 - shape)) / 2 / (1 - shape)
    limits = [step * _SLOPES[family](alpha, shape)] if family in _SLOPES else []
    if family in _PLATEAUS:
        limits.append(_PLATEAUS[family](step, alpha, shape))
    return limits[0] if len(limits) == 1 else torch.minimum(*limits)


def _beyond(family: type[Penalty], v: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    """Return the operator at sizes that do not become zero."""
    if family is Lq:
        return lq_root(v, step * alpha, shape)
    if family is LogSum:
        return log_sum_root(v, step * alpha, shape)
    if family in _BENDS:
        return _down_a_parabola(v, step, _SLOPES[family](alpha, shape), _BENDS[family](alpha, shape))
    if family is L0:
        return v
    soft = v - step * alpha
    if family is L1:
        return soft
    return (_scad if family is SCAD else _capped_l1)(v, soft, step, alpha, shape)


def _root(x: Tensor) -> Tensor:
    """Return the root, of a single number correctly rounded, as vectorised roots of torch are not on every CPU."""
    return x.sqrt() if x.ndim or x.requires_grad else torch.tensor(math.sqrt(float(x)), dtype=x.dtype)


_Number = Callable[[Tensor, Tensor], Tensor]
# The slope at zero, where it is finite, of penalties with pieces.
_SLOPES: dict[type[Penalty], _Number] = {
    L1: lambda alpha, shape: alpha,
    ElasticNet: lambda alpha, shape: alpha * shape,
    CEL0: lambda alpha, shape: _root(alpha + alpha) * shape,
    MCP: lambda alpha, shape: alpha,
    SCAD: lambda alpha, shape: alpha,
    CappedL1: lambda alpha, shape: alpha,
}
# How much the slope falls for each unit, where it does so up to the top of the penalty.
_BENDS: dict[type[Penalty], _Number] = {
    ElasticNet: lambda alpha, shape: alpha * (shape - 1),
    CEL0: lambda alpha, shape: shape * shape,
    MCP: lambda alpha, shape: 1 / shape,
}
# The root of 2 step p, where the penalty is at most p.
_PLATEAUS: dict[type[Penalty], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    L0: lambda step, alpha, shape: _root(step * alpha + step * alpha),
    CEL0: lambda step, alpha, shape: _root(step * alpha + step * alpha),
    MCP: lambda step, alpha, shape: alpha * _root(step * shape),
    SCAD: lambda step, alpha, shape: alpha * _root(step * (shape + 1)),
    CappedL1: lambda step, alpha, shape: _root((step * alpha + step * alpha) * shape),
}


def _is_firm(family: type[Penalty], step: Tensor, alpha: Tensor, shape: Tensor) -> bool:
    """Say whether the operator of a parabola is continuous: the slope decides what becomes zero, not the plateau."""
    plateau = _PLATEAUS[family](step, alpha, shape) if family in _PLATEAUS else torch.inf
    return bool((step * _BENDS[family](alpha, shape) < 1) & (step * _SLOPES[family](alpha, shape) <= plateau))


def _firm(family: type[Penalty], u: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    """Soft thresholding, steeper, until it meets the identity."""
    soft = softshrink(u, float(step * _SLOPES[family](alpha, shape))) / (1 - step * _BENDS[family](alpha, shape))
    return soft if family is ElasticNet else torch.where(soft.abs() <= u.abs(), soft, u)


def _down_a_parabola(v: Tensor, step: Tensor, slope: Tensor, bend: Tensor) -> Tensor:
    """Solve ``x - v + step (slope - bend x) = 0`` up to the top; beyond, or if it opens downwards, take v."""
    gap, keep = v - step * slope, 1 - step * bend
    opens_up = keep > 0
    x = gap / torch.where(opens_up, keep, 1.0)
    return torch.where(opens_up & (gap > 0) & (x < v), x, v)


def _to_plateau(v: Tensor, soft: Tensor, switch: Tensor) -> Tensor:
    """Choose between the minimum on the first slope and that on the plateau, equally good at the switch."""
    return torch.where((soft > 0) & (v <= switch), soft, v)


def _scad(v: Tensor, soft: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    c, keep = step * alpha, shape - 1 - step
    # On the middle piece x - v + step (shape alpha - x) / (shape - 1) = 0; below alpha it is soft thresholding.
    middle = ((shape - 1) * v - shape * c) / torch.where(keep > 0, keep, 1.0)
    middle = torch.where(middle > soft, middle, soft)
    middle = torch.where(middle < v, middle, v)
    return torch.where(keep > 0, middle, _to_plateau(v, soft, (alpha * (shape + 1) + c) / 2))


def _capped_l1(v: Tensor, soft: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    return _to_plateau(v, soft, shape + step * alpha / 2)
