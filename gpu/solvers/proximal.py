"""Proximal operators of all penalties of :mod:`sparsetheory.penalties`, on tensors, with gradients.

Each family has two functions of the size v of an entry: the largest one that becomes zero, and the operator beyond it.
Both are derived in :mod:`sparsetheory.numba_kernels.penalties.proximal`, whose order of operations is kept, so that
ties fall on the same side.
"""

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
    precision. In float64 and float32 the values are those of the compiled operators up to a few roundings, and zero
    wins the same ties, except for `Lq` and `LogSum`, whose thresholds come from powers and logarithms, which libraries
    round differently in the last bit.

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
    if type(penalty) not in _OPERATORS:
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
    if family is L1 and not step.ndim and not step.requires_grad:
        return softshrink(u, float(step * alpha))
    is_zero, beyond = _OPERATORS[family]
    v = u.abs()
    with torch.no_grad():
        zero = is_zero(v, step, alpha, shape)
    # Entries that become zero must not meet formulas that hold beyond the threshold only: their gradients may be NaN.
    far = 1 + step.detach() * alpha / torch.where(shape > 0, shape, 1.0) + 4 * (shape + step.detach() * alpha)
    sizes = beyond(torch.where(zero, far, v), step, alpha, shape)
    return torch.where(zero, 0.0, sizes * u.sign())


_Numbers = tuple[Tensor, Tensor, Tensor]


def _at_most(limit: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Return the rule that entries up to a limit become zero."""
    return lambda v, step, alpha, shape: v <= limit(step, alpha, shape)


def _soft(v: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    return v - step * alpha


def _itself(v: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    return v + 0 * step


def _down_a_parabola(v: Tensor, step: Tensor, slope: Tensor, bend: Tensor) -> Tensor:
    """Solve ``x - v + step (slope - bend x) = 0`` up to the top; beyond, or if it opens downwards, take v."""
    gap, keep = v - step * slope, 1 - step * bend
    opens_up = keep > 0
    x = gap / torch.where(opens_up, keep, 1.0)
    return torch.where(opens_up & (gap > 0) & (x < v), x, v)


def _elastic_net(v: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    return _down_a_parabola(v, step, alpha * shape, alpha * (shape - 1))


def _cel0_slope(alpha: Tensor, shape: Tensor) -> Tensor:
    return (alpha + alpha).sqrt() * shape


def _cel0(v: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    return _down_a_parabola(v, step, _cel0_slope(alpha, shape), shape * shape)


def _mcp(v: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    return _down_a_parabola(v, step, alpha, 1 / shape)


def _to_plateau(v: Tensor, soft: Tensor, switch: Tensor) -> Tensor:
    """Choose between the minimum on the first slope and that on the plateau, equally good at the switch."""
    return torch.where((soft > 0) & (v <= switch), soft, v)


def _scad(v: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    c = step * alpha
    soft, keep = v - c, shape - 1 - step
    # On the middle piece x - v + step (shape alpha - x) / (shape - 1) = 0; below alpha it is soft thresholding.
    middle = ((shape - 1) * v - shape * c) / torch.where(keep > 0, keep, 1.0)
    middle = torch.where(middle > soft, middle, soft)
    return torch.where(
        keep > 0, torch.where(middle < v, middle, v), _to_plateau(v, soft, (alpha * (shape + 1) + c) / 2)
    )


def _capped_l1(v: Tensor, step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    c = step * alpha
    return _to_plateau(v, v - c, shape + c / 2)


def _lq_limit(step: Tensor, alpha: Tensor, shape: Tensor) -> Tensor:
    return lq_jump(step * alpha, shape) * (1 + (1 - shape)) / 2 / (1 - shape)


# Zero loses to a small value beyond step times the slope at zero, and to a value on a plateau p beyond sqrt(2 step p).
_OPERATORS: dict[type[Penalty], tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    L1: (_at_most(lambda step, alpha, shape: step * alpha), _soft),
    ElasticNet: (_at_most(lambda step, alpha, shape: step * (alpha * shape)), _elastic_net),
    L0: (_at_most(lambda step, alpha, shape: (step * alpha + step * alpha).sqrt()), _itself),
    CEL0: (
        _at_most(
            lambda step, alpha, shape: torch.minimum(
                step * _cel0_slope(alpha, shape), (step * alpha + step * alpha).sqrt()
            )
        ),
        _cel0,
    ),
    MCP: (
        _at_most(lambda step, alpha, shape: torch.minimum(step * alpha, alpha * (step * shape).sqrt())),
        _mcp,
    ),
    SCAD: (
        _at_most(lambda step, alpha, shape: torch.minimum(step * alpha, alpha * (step * (shape + 1)).sqrt())),
        _scad,
    ),
    CappedL1: (
        _at_most(
            lambda step, alpha, shape: torch.minimum(step * alpha, ((step * alpha + step * alpha) * shape).sqrt())
        ),
        _capped_l1,
    ),
    Lq: (_at_most(_lq_limit), lambda v, step, alpha, shape: lq_root(v, step * alpha, shape)),
    LogSum: (
        lambda v, step, alpha, shape: log_sum_is_zero(v, step * alpha, shape),
        lambda v, step, alpha, shape: log_sum_root(v, step * alpha, shape),
    ),
}
