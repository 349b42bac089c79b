"""Products that read only the rows of a matrix which meet an input other than zero, on the CPU.

To set activations to zero saves nothing by itself. Here zeros are found first, and their rows are neither read nor
multiplied. The time is that of the memory traffic, so it falls with the share of active inputs. Above some share, the
crossing, the dense product of torch is faster.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from sparsetheory.constraints import MISSING, Real
from sparsetheory.numba_kernels.activations.row_skipping import WORK, multiply_active, multiply_gated
from sparsetheory.typing import AnyArray

__all__ = ["check_crossing", "gated_product", "skipping_product"]

# See the module crossing for how these came about.
_CROSSING, _FEWEST_WEIGHTS = 0.6, 2**19
_TYPES = (torch.float32, torch.float64)


def check_crossing(crossing: Any) -> float | None:
    """Return a crossing if it is a number from 0 to 1, or None."""
    checked: float | None = (MISSING | Real(0.0, 1.0)).check("crossing", crossing)
    return checked


def skipping_product(x: Tensor, by_input: Tensor, *, crossing: float | None = None) -> Tensor:
    """Return ``x @ by_input``, without the rows of `by_input` that meet zeros, where that is faster.

    The kernel runs on the CPU in float32 and float64, on one thread. All else is the dense product of torch: other
    devices and types, wherever a derivative is wanted, under ``torch.compile`` or ``torch.autocast``, and if more
    entries are active than the crossing says.

    Parameters
    ----------
    x : Tensor of shape (..., in)
    by_input : Tensor of shape (in, out)
        One row for each input; contiguous, or the product is dense.
    crossing : float, optional
        Share of active inputs, from 0 to 1, up to which rows are skipped for one token. For b tokens it is divided by
        ``sqrt(b)``, and compared with the mean share. With 0 the product is always dense. By default 0.6, and 0 for
        matrices of less than half a million entries, whose product takes no longer than to look for zeros;
        :func:`measure_crossing` gives the number for a machine and shape.

    Returns
    -------
    Tensor of shape (..., out)

    Notes
    -----
    A row that is not read cannot do harm: where the dense product makes NaN of zero times infinity, this one has 0.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([0.0, 2.0, 0.0])
    >>> skipping_product(x, torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    tensor([6., 8.])
    """
    if crossing is not None:
        check_crossing(crossing)
    if x.ndim == 0 or by_input.ndim != 2 or x.shape[-1] != by_input.shape[0]:
        raise ValueError(f"x must have {by_input.shape[0]} features in its last axis; got shape {tuple(x.shape)}")
    arrays = _arrays(x.contiguous(), by_input) if _may_skip(x, by_input) else None
    if arrays is not None:
        out = np.zeros((*x.shape[:-1], by_input.shape[1]), dtype=arrays[0].dtype)
        n_tokens, found = x.numel() // x.shape[-1], np.empty(x.shape[-1], dtype=np.int64)
        limit = _limit(crossing, x.numel(), n_tokens, by_input.numel())
        if multiply_active(arrays[0], n_tokens, arrays[1], out.reshape(-1), limit, found):
            return torch.from_numpy(out)
    return x @ by_input


def gated_product(gates: Tensor, x: Tensor, up: Tensor, down: Tensor, *, crossing: float | None = None) -> Tensor:
    """Return ``(gates * (x @ up.T)) @ down``, without the rows of `up` and `down` whose gate is zero.

    The places of active gates are found once, for both matrices. When it skips and when it is dense is as in
    :func:`skipping_product`.

    Parameters
    ----------
    gates : Tensor of shape (..., hidden)
        Activations of the gates.
    x : Tensor of shape (..., width)
    up, down : Tensor of shape (hidden, width)
        One row for each hidden unit; contiguous, or the product is dense.
    crossing : float, optional

    Returns
    -------
    Tensor of shape (..., width)

    Raises
    ------
    ValueError
        If shapes do not fit together.

    Examples
    --------
    >>> import torch
    >>> up, down = torch.tensor([[1.0], [9.0]]), torch.tensor([[2.0], [9.0]])
    >>> gated_product(torch.tensor([0.5, 0.0]), torch.tensor([3.0]), up, down)
    tensor([3.])
    """
    if crossing is not None:
        check_crossing(crossing)
    _check_gated(gates, x, up, down)
    arrays = _arrays(gates.contiguous(), x.contiguous(), up, down) if _may_skip(gates, x, up, down) else None
    if arrays is not None:
        hidden, n_tokens = up.shape[0], x.numel() // x.shape[-1]
        out = np.zeros((*x.shape[:-1], down.shape[1]), dtype=arrays[0].dtype)
        work, found = np.empty(WORK, dtype=arrays[0].dtype), np.empty(hidden, dtype=np.int64)
        limit = _limit(crossing, gates.numel(), n_tokens, up.numel())
        # The kernel overwrites its gates.
        given = arrays[0].copy(), arrays[1], n_tokens, arrays[2], arrays[3]
        if multiply_gated(*given, out.reshape(-1), limit, found, work):
            return torch.from_numpy(out)
    return (gates * (x @ up.T)) @ down


def _check_gated(gates: Tensor, x: Tensor, up: Tensor, down: Tensor) -> None:
    matrices = up.ndim == 2 and down.ndim == 2 and up.shape[0] == down.shape[0]
    tokens = gates.ndim > 0 and x.ndim > 0 and gates.shape[:-1] == x.shape[:-1]
    if not (matrices and tokens and gates.shape[-1] == up.shape[0] and x.shape[-1] == up.shape[1]):
        shapes = ", ".join(str(tuple(part.shape)) for part in (gates, x, up, down))
        raise ValueError(f"gates, x, up and down must have shapes (..., f), (..., d), (f, d) and (f, e); got {shapes}")


def _limit(crossing: float | None, size: int, n_tokens: int, n_weights: int) -> int:
    """Return how many entries of `size` may be active."""
    if crossing is None:
        crossing = _CROSSING if n_weights >= _FEWEST_WEIGHTS else 0.0
    return math.floor(crossing / math.sqrt(n_tokens) * size) if crossing else -1


def _may_skip(*tensors: Tensor) -> bool:
    """Return whether tensors are what the kernel takes; plain loops, as this comes before products of microseconds."""
    dtype, gradients = tensors[0].dtype, torch.is_grad_enabled()
    if dtype not in _TYPES or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    for part in tensors:
        if not part.is_cpu or part.dtype != dtype or (gradients and part.requires_grad) or not part.numel():
            return False
    return True


def _arrays(*tensors: Tensor) -> list[AnyArray] | None:
    """Return the memory of tensors as vectors, or None where there is none or it is out of order."""
    arrays = []
    for part in tensors:
        if not part.is_contiguous() or unpack_dual(part).tangent is not None:
            return None
        try:
            arrays.append(part.detach().numpy().reshape(-1))
        except RuntimeError:
            # Within transformations of torch.func, and for lazy views, there is no memory that numpy could read.
            return None
    return arrays
