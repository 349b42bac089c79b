"""What every backend is given: checked tensors, with one key head for each query head."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import MISSING, POSITIVE
from sparsetheory.gpu.attention.block_mask import BlockMask

__all__ = ["Problem", "all_finite", "attention_problem", "check_tensors", "each_head"]

_SCALE = MISSING | POSITIVE


@dataclass(frozen=True)
class Problem:
    """A masked attention, checked.

    Parameters
    ----------
    q : Tensor of shape (..., heads, queries, head_dim)
        Queries.
    k, v : Tensor of shape (..., heads, keys, head_dim)
        Keys and values; query heads that share keys see the same memory.
    mask : BlockMask
        Which blocks are kept.
    scale : float
        What products of queries and keys are multiplied by.
    key_mask : Tensor of bool of shape (..., 1, keys), optional
        True where a key exists.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    mask: BlockMask
    scale: float
    key_mask: Tensor | None

    @property
    def wants_gradient(self) -> bool:
        """Whether a gradient will be asked of the attention."""
        return torch.is_grad_enabled() and any(part.requires_grad for part in (self.q, self.k, self.v))

    def element_mask(self) -> Tensor:
        """Return for every pair whether it is kept, of shape (..., heads or 1, queries, keys)."""
        kept = self.mask.element_mask()
        return kept if self.key_mask is None else kept & self.key_mask[..., None, :]


def attention_problem(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, scale: float | None, key_mask: Tensor | None
) -> Problem:
    """Return checked inputs of a masked attention, in the order in which they were given."""
    check_tensors(q, k, v)
    scale = _SCALE.check("scale", scale)
    if not isinstance(mask, BlockMask):
        raise TypeError(f"mask must be a BlockMask; got {type(mask).__name__}")
    n, m = q.shape[-2], k.shape[-2]
    if (mask.n_queries, mask.n_keys) != (n, m):
        raise ValueError(f"mask must be for {n} queries and {m} keys; got {mask.n_queries} and {mask.n_keys}")
    if mask.blocks.device != q.device:
        raise ValueError(f"mask must be on {q.device}; got {mask.blocks.device}")
    if key_mask is not None:
        key_mask = _checked_key_mask(key_mask, m)[..., None, :]
        mask.require_keys(key_mask)
    lead = _lead(q, k, mask, key_mask)
    group = q.shape[-3] // k.shape[-3]
    return Problem(
        q.expand(*lead, *q.shape[-2:]),
        each_head(k, group).expand(*lead, *k.shape[-2:]),
        each_head(v, group).expand(*lead, *v.shape[-2:]),
        mask,
        1.0 / math.sqrt(q.shape[-1]) if scale is None else scale,
        key_mask,
    )


def check_tensors(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuse queries, keys and values that do not fit each other or hold an entry that is not finite."""
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            got = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"{name} must be a tensor of real floating-point numbers; got {got}")
        if tensor.dim() < 3 or tensor.numel() == 0:
            raise ValueError(f"{name} must have shape (..., heads, length, head_dim); got {tuple(tensor.shape)}")
        if (tensor.dtype, tensor.device) != (q.dtype, q.device):
            raise ValueError(f"{name} must be {q.dtype} on {q.device} like q; got {tensor.dtype} on {tensor.device}")
        if not all_finite(tensor):
            raise ValueError(f"{name} must hold finite numbers; got NaN or infinity")
    dims = (q.shape[-1], k.shape[-1], v.shape[-1])
    if len(set(dims)) > 1:
        raise ValueError(f"q, k and v must have equal last dimensions; got {dims[0]}, {dims[1]} and {dims[2]}")
    if k.shape != v.shape:
        raise ValueError(f"v must have the shape of k, {tuple(k.shape)}; got {tuple(v.shape)}")
    if q.shape[-3] % k.shape[-3]:
        raise ValueError(
            f"the number of heads of q must be a multiple of that of k; got {q.shape[-3]} and {k.shape[-3]}"
        )


def all_finite(tensor: Tensor) -> bool:
    """Return whether a tensor holds finite numbers only."""
    # A finite sum is quickly found and has finite terms; an infinite one may be a matter of half precision.
    values = tensor.detach()
    return math.isfinite(values.sum().item()) or bool(values.isfinite().all())


def _lead(q: Tensor, k: Tensor, mask: BlockMask, key_mask: Tensor | None) -> tuple[int, ...]:
    """Return batch and heads, and refuse a mask that has others."""
    try:
        lead = (*np.broadcast_shapes(q.shape[:-3], k.shape[:-3]), q.shape[-3])
    except ValueError:
        got = f"got {tuple(q.shape)} and {tuple(k.shape)}"
        raise ValueError(f"k must have axes before the heads that broadcast with those of q; {got}") from None
    shapes = {"mask": mask.lead} | ({} if key_mask is None else {"key_mask": key_mask.shape[:-1]})
    for name, shape in shapes.items():
        if len(shape) > len(lead) or any(
            size not in (1, of) for size, of in zip(shape[::-1], lead[::-1], strict=False)
        ):
            raise ValueError(f"{name} must have leading axes that broadcast to {lead}; got {tuple(shape)}")
    return lead


def each_head(shared: Tensor, group: int) -> Tensor:
    """Return one head of keys or values for each head of queries."""
    return shared if group == 1 else shared.repeat_interleave(group, dim=-3)


def _checked_key_mask(key_mask: Tensor, n_keys: int) -> Tensor:
    if not isinstance(key_mask, Tensor) or key_mask.dtype != torch.bool:
        got = key_mask.dtype if isinstance(key_mask, Tensor) else type(key_mask).__name__
        raise TypeError(f"key_mask must be a tensor of bool; got {got}")
    if key_mask.shape[-1:] != (n_keys,):
        raise ValueError(f"key_mask must have shape (..., {n_keys}); got {tuple(key_mask.shape)}")
    return key_mask
