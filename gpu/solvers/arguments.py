"""Checks of tensors that the twins share, and the precision in which they compute."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["finite_tensor", "in_memory_chunks", "together", "working_dtype"]

# Temporary memory of one chunk of problems, in bytes: on a CPU it should stay in its caches.
_CPU_BYTES, _DEVICE_BYTES = 2**23, 2**30


def finite_tensor(name: str, value: Any, *, least_axes: int = 0) -> Tensor:
    """Return a tensor of finite real floating-point numbers.

    Raises
    ------
    TypeError
        If it is not a tensor of such numbers.
    ValueError
        If it has too few axes, or an entry is infinite or not a number.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} must be a tensor of real floating-point numbers; got {got}")
    if value.ndim < least_axes:
        raise ValueError(f"{name} must have at least {least_axes} axes; got shape {tuple(value.shape)}")
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    return value.detach()


def together(**tensors: Tensor | None) -> None:
    """Raise ValueError unless all tensors that are given lie on one device."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    if len({tensor.device for tensor in given.values()}) > 1:
        where = ", ".join(f"{name} on {tensor.device}" for name, tensor in given.items())
        raise ValueError(f"{' and '.join(given)} must be on one device; got {where}")


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """Return the precision to compute in: float64 if any tensor has it, else float32."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def in_memory_chunks(count: int, bytes_each: int, device: torch.device) -> list[slice]:
    """Return slices that cover `count` problems, few enough at a time for the memory that a chunk may take."""
    budget = _CPU_BYTES if device.type == "cpu" else _DEVICE_BYTES
    size = max(budget // max(bytes_each, 1), 1)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
