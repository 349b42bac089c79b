"""What may be put into a cache, and asked of it."""

import torch
from torch import Tensor

__all__ = ["check_pair", "check_queries"]


def check_pair(k: Tensor, v: Tensor, recent: tuple[Tensor, Tensor] | None) -> None:
    """Raise TypeError or ValueError unless keys and values fit together, and to those that are there."""
    for name, x in (("k", k), ("v", v)):
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{name} must be a tensor of floating-point numbers; got {got}")
        if x.ndim != 4 or 0 in (*x.shape[:2], x.shape[3]):
            raise ValueError(f"{name} must have shape (batch, key heads, n, width); got {tuple(x.shape)}")
        if not bool(torch.isfinite(x).all()):
            raise ValueError(f"{name} must be finite; got NaN or infinity")
    if k.shape[:3] != v.shape[:3] or (k.dtype, k.device) != (v.dtype, v.device):
        raise ValueError(f"v must have the batch, heads, tokens and type of k; got {tuple(v.shape)}, {v.dtype}")
    for name, x, held in zip("kv", (k, v), recent or (k, v), strict=True):
        if (*x.shape[:2], x.shape[3], x.dtype, x.device) != (*held.shape[:2], held.shape[3], held.dtype, held.device):
            raise ValueError(f"{name} must fit to the tokens that are there, {tuple(held.shape)}; got {tuple(x.shape)}")


def check_queries(q: Tensor, keys: Tensor) -> None:
    """Raise ValueError unless queries fit to keys of shape (batch, key heads, n, width)."""
    batch, heads, _, width = keys.shape
    if q.ndim != 4 or (q.shape[0], q.shape[3]) != (batch, width) or q.shape[1] % heads or not q.shape[1]:
        wanted = f"({batch}, a multiple of {heads}, n_queries, {width})"
        raise ValueError(f"q must have shape {wanted}; got {tuple(q.shape)}")
    if (q.dtype, q.device) != (keys.dtype, keys.device):
        raise ValueError(f"q must be {keys.dtype} on {keys.device} as the cache is; got {q.dtype} on {q.device}")
    if not bool(torch.isfinite(q).all()):
        raise ValueError("q must be finite; got NaN or infinity")
