"""A cache of keys and values that prunes and packs a token when it is not among the recent ones any more.

Source: D. Joo, H. Hosseini, R. Hadidi, B. Asgari, "MUSTAFAR: Promoting Unstructured Sparsity for KV Cache Pruning in
LLM Inference", NeurIPS 2025, arXiv 2505.22913.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import FLAG, SIZE, Choice
from sparsetheory.gpu.attention.cache.cache_bounds import CacheBound, DroppedNorms, bound_of
from sparsetheory.gpu.attention.cache.cache_checks import check_pair, check_queries
from sparsetheory.gpu.attention.cache.packed_tokens import PackedTokens
from sparsetheory.gpu.attention.cache.pruning import SPARSITY, prune_tokens

__all__ = ["CacheMemory", "SparseKVCache"]

_LAYOUT = Choice("bitmap", "index")


@dataclass(frozen=True)
class CacheMemory:
    """Bytes of a cache.

    Parameters
    ----------
    packed : int
        Of the tokens that are packed.
    dense : int
        Of the recent tokens, and of pruned ones that wait for a group of 64.
    norms : int
        Of the norms that bounds are made of.
    reference : int
        Of all tokens if they were dense.
    """

    packed: int
    dense: int
    norms: int
    reference: int

    @property
    def ratio(self) -> float:
        """All bytes as a share of the dense ones."""
        return (self.packed + self.dense + self.norms) / self.reference if self.reference else 1.0


class SparseKVCache:
    """Keys and values of one attention layer: the recent tokens dense, older ones pruned and packed.

    The attention is one softmax over all tokens. A token is pruned when `window` later ones have come. It is packed
    with its neighbours, 64 at a time, and waits dense, with its zeros, until they are complete.

    Parameters
    ----------
    window : int
        Recent tokens that stay as they are.
    k_sparsity, v_sparsity : float
        Share of each older key and value that is dropped, at least 0 and below 1.
    layout : {"bitmap", "index"}
        How older tokens are stored: with one bit for each entry, or with one byte for each nonzero. The first is the
        smaller one up to a sparsity of 0.6 or so, in half precision of 0.7. Where the processor has AVX-512, both take
        about the same time for one query a head of keys, and the first one half for four. Elsewhere the second is
        faster on the CPU.
    official : bool
        Whether the threshold of the published code decides, see
        :func:`~sparsetheory.gpu.attention.cache.pruning.prune_tokens`.
    output_aware : bool
        Whether entries of keys count as much as recent queries are large there. The last `window` queries of each
        head that were attended to or appended have a say, at least 1; before the first one all entries count alike.
    k_rotation, v_rotation : Tensor of shape (key heads, width, width), optional
        Orthogonal matrices, as :func:`~sparsetheory.gpu.attention.cache.rotation.head_rotation` makes them: keys and
        values are pruned in these coordinates. Queries turn too and outputs turn back, so that nothing else changes.

    Notes
    -----
    Keys are appended after rotary positions. The attention of the prompt itself is the caller's, on the dense keys and
    values, as in the paper. Products with packed tokens run in compiled kernels on the CPU, in single and double
    precision; otherwise groups of tokens are unpacked one after the other. Sums of half-precision tensors are kept in
    single precision.

    Examples
    --------
    >>> import torch
    >>> draws = torch.Generator().manual_seed(0)
    >>> k, v = (torch.randn(1, 2, 200, 64, generator=draws) for _ in range(2))
    >>> cache = SparseKVCache(window=32, k_sparsity=0.7, v_sparsity=0.5)
    >>> cache.append(k, v)
    >>> cache.attend(torch.randn(1, 4, 1, 64, generator=draws)).shape
    torch.Size([1, 4, 1, 64])
    >>> len(cache), cache.memory().packed < cache.memory().reference / 2
    (200, True)
    """

    def __init__(
        self,
        window: int = 32,
        k_sparsity: float = 0.5,
        v_sparsity: float = 0.5,
        *,
        layout: str = "bitmap",
        official: bool = False,
        output_aware: bool = False,
        k_rotation: Tensor | None = None,
        v_rotation: Tensor | None = None,
    ) -> None:
        self.window = SIZE.check("window", window)
        self.k_sparsity = SPARSITY.check("k_sparsity", k_sparsity)
        self.v_sparsity = SPARSITY.check("v_sparsity", v_sparsity)
        self.layout = _LAYOUT.check("layout", layout)
        self.official = FLAG.check("official", official)
        self.output_aware = FLAG.check("output_aware", output_aware)
        self.k_rotation, self.v_rotation = k_rotation, v_rotation
        self._packed = PackedTokens(layout)
        self._recent: tuple[Tensor, Tensor] | None = None
        self._queries: Tensor | None = None
        self._dropped: DroppedNorms | None = None

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self._packed) + (0 if self._recent is None else self._recent[0].shape[2])

    def append(self, k: Tensor, v: Tensor, q: Tensor | None = None) -> None:
        """Add tokens behind those that are there.

        Parameters
        ----------
        k, v : Tensor of shape (batch, key heads, n, width)
            Finite numbers.
        q : Tensor of shape (batch, heads, n, width), optional
            Queries of these tokens; with `output_aware` they have a say in what is pruned.

        Raises
        ------
        TypeError
            If a tensor does not hold floating-point numbers.
        ValueError
            If shapes do not fit together or to the tokens that are there, or a number is not finite.
        """
        check_pair(k, v, self._recent)
        if q is not None:
            self._notice(q, k.shape)
        k, v = _turned(k.detach(), self.k_rotation), _turned(v.detach(), self.v_rotation)
        if self._recent is None:
            self._dropped = DroppedNorms.empty(k)
        else:
            k, v = (torch.cat(parts, dim=2) for parts in zip(self._recent, (k, v), strict=True))
        leaving = max(0, k.shape[2] - self.window)
        self._recent = k[:, :, leaving:].clone(), v[:, :, leaving:].clone()
        if leaving:
            self._prune(k[:, :, :leaving], v[:, :, :leaving])

    def attend(self, q: Tensor) -> Tensor:
        """Return the attention of queries to all tokens of the cache.

        O(packed bytes) traffic per group of queries that share a head of keys.

        Parameters
        ----------
        q : Tensor of shape (batch, heads, n_queries, width)
            The number of heads is a multiple of that of the keys; neighbouring heads share one. Every query sees every
            token, so that in decoding there is one.

        Returns
        -------
        Tensor of the shape and dtype of `q`

        Raises
        ------
        ValueError
            If the cache is empty, shapes do not fit, or a query is not finite.
        """
        attention = self._attention(q)
        self._notice(q, self._keys().shape)
        mixed = self._packed.sums(attention) + attention[..., len(self._packed) :] @ self._heads(1).to(attention.dtype)
        out = mixed.unflatten(0, self._keys().shape[:2]).unflatten(2, (-1, q.shape[2])).flatten(1, 2)
        return _turned(out, self.v_rotation, back=True).to(q.dtype)

    def error_bound(self, q: Tensor) -> CacheBound:
        """Bound how far the attention of queries is from that of an unpruned cache, without its keys and values.

        Parameters
        ----------
        q : Tensor of shape (batch, heads, n_queries, width)

        Returns
        -------
        CacheBound

        Notes
        -----
        The norms of what was dropped are kept, one number for each token, and the largest norm of a value. By
        Cauchy-Schwarz scores have changed by at most ``eta = |q| max |dk_t| / sqrt(width)``, so the attention by at
        most ``tanh(eta / 2)`` in total variation. With the diameter of the values at most twice their largest norm,
        and attention a_t to the pruned keys, the output has changed by at most
        ``tanh(eta / 2) diameter + sum a_t |dv_t|``. What rounding changes is not part of it.
        """
        if self._dropped is None:
            raise ValueError("cache must hold tokens; got an empty one")
        attention = self._attention(q)
        return bound_of(_grouped(q, self._keys().shape[1]), attention, self._dropped, q.shape, self._value_norm())

    def memory(self) -> CacheMemory:
        """Return how many bytes the cache takes."""
        if self._recent is None or self._dropped is None:
            return CacheMemory(0, 0, 0, 0)
        packed, waiting = self._packed.nbytes
        recent = sum(part.numel() * part.element_size() for part in self._recent)
        k, v = self._recent
        per_token = math.prod(k.shape[:2]) * (k.shape[3] + v.shape[3]) * k.element_size()
        return CacheMemory(packed, waiting + recent, self._dropped.nbytes, per_token * len(self))

    def state_dict(self) -> dict[str, Any]:
        """Return what the cache holds as tensors and numbers, for :meth:`load_state_dict`."""
        return {
            "packed": self._packed.state_dict(),
            "recent": self._recent,
            "queries": self._queries,
            "dropped": None if self._dropped is None else self._dropped.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the tokens of a cache that was made with the same parameters.

        Parameters
        ----------
        state : mapping
            As :meth:`state_dict` returns it.
        """
        self._packed = PackedTokens.from_state(self.layout, state["packed"])
        self._recent, self._queries = state["recent"], state["queries"]
        self._dropped = None if state["dropped"] is None else DroppedNorms(**state["dropped"])

    def _keys(self) -> Tensor:
        if self._recent is None or not len(self):
            raise ValueError("cache must hold tokens; got an empty one")
        return self._recent[0]

    def _heads(self, which: int) -> Tensor:
        """Return the recent keys or values with batch and heads as one axis."""
        self._keys()
        return self._recent[which].flatten(0, 1)  # type: ignore[index]

    def _value_norm(self) -> float:
        recent = self._heads(1).double().norm(dim=-1)
        largest = float(recent.max()) if recent.numel() else 0.0
        return max(largest, self._dropped.v_norm if self._dropped else 0.0)

    def _prune(self, k: Tensor, v: Tensor) -> None:
        weight = None
        if self.output_aware and self._queries is not None:
            weight = self._queries.sum(-2, keepdim=True)
        pruned_k = prune_tokens(k, self.k_sparsity, self.official, weight=weight)
        pruned_v = prune_tokens(v, self.v_sparsity, self.official)
        assert self._dropped is not None
        self._dropped = self._dropped.extended(k, pruned_k, v, pruned_v)
        self._packed.append(pruned_k, pruned_v)

    def _attention(self, q: Tensor) -> Tensor:
        """Return the softmax over all tokens, of shape (batch * key heads, queries of the group, tokens)."""
        keys = self._keys()
        check_queries(q, keys)
        turned = _turned(q.detach(), self.k_rotation)
        grouped = _grouped(turned, keys.shape[1]) / math.sqrt(q.shape[-1])
        recent = grouped @ self._heads(0).to(grouped.dtype).mT
        return torch.cat([*self._packed.scores(grouped), recent], dim=-1).softmax(-1)

    def _notice(self, q: Tensor, shape: torch.Size) -> None:
        """Remember the magnitudes of the last queries, summed over the heads that share keys."""
        if not self.output_aware:
            return
        seen = _turned(q.detach(), self.k_rotation).abs().unflatten(1, (shape[1], -1)).sum(2)
        if self._queries is not None:
            seen = torch.cat([self._queries, seen], dim=2)
        self._queries = seen[:, :, -max(1, self.window) :].clone()


def _grouped(q: Tensor, key_heads: int) -> Tensor:
    """Return queries of shape (batch * key heads, heads of a group * n_queries, width), not in half precision."""
    wide = q if q.dtype == torch.float64 else q.float()
    return wide.unflatten(1, (key_heads, -1)).flatten(2, 3).flatten(0, 1)


def _turned(x: Tensor, rotation: Tensor | None, *, back: bool = False) -> Tensor:
    """Turn vectors by the matrix of their head; heads of queries share that of their keys."""
    if rotation is None:
        return x
    if rotation.ndim != 3 or rotation.shape[1] != rotation.shape[2] or rotation.shape[2] != x.shape[-1]:
        got = tuple(rotation.shape)
        raise ValueError(f"rotation must have shape (key heads, {x.shape[-1]}, {x.shape[-1]}); got {got}")
    matrix = rotation.to(x.device, x.dtype).repeat_interleave(x.shape[1] // len(rotation), dim=0)
    return x @ (matrix.mT if back else matrix)
