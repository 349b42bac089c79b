"""Where powers and logarithms balance a quadratic, in batch; the derivations stand beside the compiled operators.

See :mod:`sparsetheory.numba_kernels.penalties.roots`. Numbers are tensors of one precision that broadcast; gradients
are those of the roots, not of the iterations that found them.
"""

import torch
from torch import Tensor

__all__ = ["log_sum_is_zero", "log_sum_root", "lq_jump", "lq_root"]

# Newton steps of l^q from its starting point: the first ones halve the error at least, the last four square it.
_NEWTON = 64


def lq_jump(c: Tensor, q: Tensor) -> Tensor:
    """Return the smallest nonzero value of the operator of ``c v^q``: where ``x / 2 + c x^(q - 1)`` is least."""
    return ((c + c) * (1 - q)) ** (1 / (2 - q))


def lq_root(v: Tensor, c: Tensor, q: Tensor) -> Tensor:
    """Return the largest root of ``x - v + c q x^(q-1) = 0`` for v beyond the threshold.

    Newton steps from v only go down, because the function is convex. With the root known, one more step from it whose
    starting point counts as constant has the derivatives of the implicit function.
    """
    with torch.no_grad():
        x, small = v.clone(), torch.finfo(v.dtype).eps ** 0.5
        for _ in range(_NEWTON):
            p = c * q * x ** (q - 2)
            move = (x * (1 + p) - v) / (1 - (1 - q) * p)
            move = torch.where(move > 0, move, 0.0)
            x = x - move
            if not bool((move > small * x).any()):
                break
    if not any(number.requires_grad for number in (v, c, q)):
        return x
    slope = 1 - (1 - q.detach()) * c.detach() * q.detach() * x ** (q.detach() - 2)
    # Zero in value, since x solves the equation; written as a difference so that it is exactly that.
    off = v - c * q * x ** (q - 1)
    return x + (off - off.detach()) / slope


def log_sum_root(v: Tensor, c: Tensor, eps: Tensor) -> Tensor:
    """Return the larger root of ``(x - v)(x + eps) + c = 0``, or zero where it is not positive."""
    edge, difference = 2 * c.sqrt(), v - eps
    gap = v + eps - edge
    real = gap > 0
    # Where there is no root the formulas are fed a one, so that no gradient is infinite there.
    root = torch.where(real, gap, 1.0).sqrt() * torch.where(real, v + eps + edge, 1.0).sqrt()
    falls = difference < 0
    quotient = 2 * (v * eps - c) / torch.where(falls, root - difference, 1.0)
    x = torch.where(falls, quotient, (difference + root) / 2)
    return torch.where((gap < 0) | (x < 0), 0.0, torch.where(x > v, v, x))


def log_sum_is_zero(v: Tensor, c: Tensor, eps: Tensor) -> Tensor:
    """Say whether zero is at least as good as the larger root.

    For ``c <= eps^2`` the objective is convex, and its slope at zero decides. Otherwise the values do.
    """
    x = log_sum_root(v, c, eps)
    safe = torch.where(x > 0, x, 1.0)
    worse = (x == 0) | (safe / 2 + c * torch.log1p(safe / eps) / safe >= v)
    return torch.where((c <= eps * eps) | (v > c / eps), v <= c / eps, worse)
