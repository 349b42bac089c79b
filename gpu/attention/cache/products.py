"""Products of queries with packed keys, and of attention weights with packed values."""

import math

import numpy as np
import torch
from torch import Tensor

from sparsetheory.gpu.attention.cache.bitmap import Bitmap
from sparsetheory.gpu.attention.cache.index_format import IndexColumns, IndexRows
from sparsetheory.numba_kernels.activations import bitmap_tiles, index_rows
from sparsetheory.numba_kernels.activations.gather import GATHERED
from sparsetheory.typing import AnyArray

__all__ = ["PackedKeys", "PackedValues", "packed_scores", "packed_sums"]

PackedKeys = Bitmap | IndexRows
PackedValues = Bitmap | IndexColumns
_TILE = 64
_COMPILED = (torch.float32, torch.float64)


def packed_scores(keys: PackedKeys, q: Tensor) -> Tensor:
    """Return the products of packed keys with queries.

    On the CPU a kernel goes over the packed numbers, in single and double precision. On other devices, and in half
    precision, keys are unpacked and multiplied.

    Parameters
    ----------
    keys : Bitmap of tiles along tokens, or IndexRows
        Of shape (..., tokens, width); leading axes count as heads.
    q : Tensor of shape (heads, n_queries, width)
        Of the type of the keys; wider for keys in half precision.

    Returns
    -------
    Tensor of shape (heads, n_queries, tokens)
        Of the type of `q`.

    Raises
    ------
    ValueError
        If shapes or types do not fit, or tiles lie along channels.

    Examples
    --------
    >>> import torch
    >>> keys = Bitmap.pack(torch.tensor([[0.0, 3.0], [5.0, 4.0]]), along="tokens")
    >>> packed_scores(keys, torch.tensor([[[1.0, 2.0]]]))
    tensor([[[ 6., 13.]]])
    """
    heads, tokens, width = _sizes(keys)
    if isinstance(keys, Bitmap) and keys.along != "tokens":
        raise ValueError(f"keys must be packed along tokens; got tiles along {keys.along}")
    _check(q, "q", (heads, width), keys.values)
    if not _compiled(keys.values):
        return q @ keys.unpack().reshape(heads, tokens, width).to(q.dtype).mT
    n_queries = q.shape[1]
    out = torch.empty(heads, n_queries, tokens, dtype=q.dtype)
    if isinstance(keys, Bitmap):
        bitmap_tiles.key_scores(*_bitmap(keys), _flat(q), (n_queries, tokens, width), _flat(out))
    else:
        sizes = (heads, n_queries, tokens, width, keys.values.shape[-2])
        index_rows.key_scores(_flat(keys.values), _flat(keys.indices), _flat(q), sizes, _flat(out))
    return out


def packed_sums(values: PackedValues, weights: Tensor) -> Tensor:
    """Return the sums of packed values with weights.

    Computed where and as :func:`packed_scores` is.

    Parameters
    ----------
    values : Bitmap of tiles along channels, or IndexColumns
        Of shape (..., tokens, width); leading axes count as heads.
    weights : Tensor of shape (heads, n_queries, tokens)
        Of the type of the values; wider for values in half precision.

    Returns
    -------
    Tensor of shape (heads, n_queries, width)
        Of the type of `weights`.

    Raises
    ------
    ValueError
        If shapes or types do not fit, or tiles lie along tokens.

    Examples
    --------
    >>> import torch
    >>> values = IndexColumns.pack(torch.tensor([[0.0, 3.0], [5.0, 4.0]]))
    >>> packed_sums(values, torch.tensor([[[1.0, 2.0]]]))
    tensor([[[10., 11.]]])
    """
    heads, tokens, width = _sizes(values)
    if isinstance(values, Bitmap) and values.along != "channels":
        raise ValueError(f"values must be packed along channels; got tiles along {values.along}")
    _check(weights, "weights", (heads, tokens), values.values)
    if not _compiled(values.values):
        return weights @ values.unpack().reshape(heads, tokens, width).to(weights.dtype)
    n_queries = weights.shape[1]
    tile = _TILE if isinstance(values, Bitmap) else GATHERED
    out = torch.zeros(heads, n_queries, width + -width % tile, dtype=weights.dtype)
    if isinstance(values, Bitmap):
        bitmap_tiles.value_sums(*_bitmap(values), _flat(weights), (n_queries, tokens, width), _flat(out))
    else:
        parts = (values.values, values.indices, values.offsets, values.channels, values.starts)
        sizes, work = (n_queries, tokens, out.shape[-1], values.group), _flat(out.new_empty(GATHERED))
        index_rows.value_sums(*(_flat(part) for part in parts), _flat(weights), sizes, _flat(out), work)
    return out[..., :width].contiguous()


def _sizes(packed: PackedKeys | PackedValues) -> tuple[int, int, int]:
    """Return heads, tokens, width."""
    *leading, tokens, width = packed.shape
    return math.prod(leading), tokens, width


def _compiled(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype in _COMPILED


def _check(given: Tensor, name: str, ends: tuple[int, int], values: Tensor) -> None:
    """Raise ValueError unless the other factor fits; kernels read past its end otherwise."""
    heads, last = ends
    if given.ndim != 3 or given.shape[0] != heads or given.shape[2] != last:
        raise ValueError(f"{name} must have shape ({heads}, n_queries, {last}); got {tuple(given.shape)}")
    if given.device != values.device or (_compiled(values) and given.dtype != values.dtype):
        got = f"{given.dtype} on {given.device}"
        raise ValueError(f"{name} must be {values.dtype} on {values.device} as what is packed; got {got}")


def _flat(part: Tensor) -> AnyArray:
    """Return the memory of a tensor as a vector."""
    return part.detach().numpy().reshape(-1)


def _bitmap(packed: Bitmap) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
    words = _flat(packed.words).view(np.uint64)
    return words, _flat(packed.offsets), _flat(packed.values), _flat(packed.starts)
