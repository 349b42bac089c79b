"""Pruned tokens in packed groups, to which further ones append."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from sparsetheory.gpu.attention.cache.bitmap import Bitmap
from sparsetheory.gpu.attention.cache.index_format import IndexColumns, IndexRows
from sparsetheory.gpu.attention.cache.products import PackedKeys, PackedValues, packed_scores, packed_sums

__all__ = ["PackedTokens"]

_GROUP = 64
# Two neighbours of one length become one of twice the length, up to this; so there are few, and each token is packed
# anew a few times only. A part must not be so long that unpacking it takes much memory.
_LONGEST = 4096


class PackedTokens:
    """Keys and values with many zeros: packed in whole groups of 64 tokens; the others wait.

    Parameters
    ----------
    layout : {"bitmap", "index"}
    """

    def __init__(self, layout: str) -> None:
        self.layout = layout
        self._parts: list[tuple[PackedKeys, PackedValues]] = []
        self._waiting: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """Return the number of tokens, with those that wait."""
        return sum(_tokens(k) for k, _ in self._parts) + (0 if self._waiting is None else self._waiting[0].shape[1])

    def append(self, k: Tensor, v: Tensor) -> None:
        """Add pruned tokens of shape (batch, heads, n, width)."""
        k, v = k.flatten(0, 1), v.flatten(0, 1)
        if self._waiting is not None:
            k, v = (torch.cat(pair, dim=1) for pair in zip(self._waiting, (k, v), strict=True))
        first, whole = 0, k.shape[1] // _GROUP * _GROUP
        while first < whole:
            last = min(first + _LONGEST, whole)
            self._parts.append(self._pack(k[:, first:last], v[:, first:last]))
            self._merge()
            first = last
        self._waiting = k[:, whole:].clone(), v[:, whole:].clone()

    def scores(self, q: Tensor) -> list[Tensor]:
        """Return products with queries of shape (heads, n_queries, width), one tensor for each part."""
        found = [packed_scores(k, q) for k, _ in self._parts]
        return found if self._waiting is None else [*found, q @ self._waiting[0].to(q.dtype).mT]

    def sums(self, weights: Tensor) -> Tensor | float:
        """Return the sum of all tokens, weighted by their share of weights of shape (heads, n_queries, more tokens)."""
        total: Tensor | float = 0.0
        first = 0
        for _, v in self._parts:
            last = first + _tokens(v)
            total = total + packed_sums(v, weights[..., first:last])
            first = last
        if self._waiting is None:
            return total
        last = first + self._waiting[1].shape[1]
        return total + weights[..., first:last] @ self._waiting[1].to(weights.dtype)

    @property
    def nbytes(self) -> tuple[int, int]:
        """Bytes of what is packed, and of what waits."""
        packed = sum(part.nbytes for pair in self._parts for part in pair)
        return packed, sum(part.numel() * part.element_size() for part in self._waiting or ())

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and numbers that :meth:`from_state` makes the same tokens of."""
        parts = [[{f.name: getattr(part, f.name) for f in fields(part)} for part in pair] for pair in self._parts]
        return {"parts": parts, "waiting": self._waiting}

    @classmethod
    def from_state(cls, layout: str, state: Mapping[str, Any]) -> "PackedTokens":
        """Return the tokens of a state."""
        found = cls(layout)
        kinds: tuple[Any, Any] = (Bitmap, Bitmap) if layout == "bitmap" else (IndexRows, IndexColumns)
        found._parts = [(kinds[0](**k), kinds[1](**v)) for k, v in state["parts"]]
        found._waiting = state["waiting"]
        return found

    def _pack(self, k: Tensor, v: Tensor) -> tuple[PackedKeys, PackedValues]:
        if self.layout == "bitmap":
            return Bitmap.pack(k, along="tokens"), Bitmap.pack(v, along="channels")
        return IndexRows.pack(k), IndexColumns.pack(v)

    def _merge(self) -> None:
        """Join the last two parts while they are equally long."""
        while len(self._parts) > 1 and _tokens(self._parts[-2][0]) == _tokens(self._parts[-1][0]) <= _LONGEST // 2:
            pairs = zip(self._parts[-2], self._parts[-1], strict=True)
            k, v = (torch.cat([left.unpack(), right.unpack()], dim=1) for left, right in pairs)
            self._parts[-2:] = [self._pack(k, v)]


def _tokens(part: PackedKeys | PackedValues) -> int:
    return int(part.shape[-2])
