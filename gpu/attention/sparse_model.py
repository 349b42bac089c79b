"""Sparse attention in a whole pretrained model, with the mass that every call dropped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.attention.block_geometry import query_mask, real_blocks
from sparsetheory.gpu.attention.block_mask import BlockMask
from sparsetheory.gpu.attention.certificates.dropped_mass import attention_scores, dropped_mass
from sparsetheory.gpu.attention.masked import Backend, masked_attention
from sparsetheory.gpu.attention.model_attention import AttentionCall, replaced_attention

__all__ = ["LayerMass", "MassRecord", "sparse_attention"]


@dataclass(frozen=True)
class LayerMass:
    """What the attention of one layer computed with, and what it dropped.

    Parameters
    ----------
    layer : int
    density : float
        Kept pairs over the pairs that causality and padding allow.
    dropped_mean, dropped_max : float
        Dropped mass of a query, the mean and the largest over texts, heads and queries. Queries that pad are left out.
    """

    layer: int
    density: float
    dropped_mean: float
    dropped_max: float


@dataclass(eq=False)
class MassRecord:
    """Sums over the calls of each layer, as :func:`sparse_attention` collects them."""

    _sums: dict[int, list[float]] = field(default_factory=dict)

    def add(self, call: AttentionCall, mask: BlockMask) -> None:
        """Count one call: all scores are computed, so this is for measuring and not for speed."""
        real = query_mask(call.key_mask[:, None], call.q.shape[-2])
        grouped = call.grouped()
        kept = (mask.element_mask() & call.visible).expand(*call.q.shape[:-1], call.k.shape[-2])
        scores = attention_scores(call.q, grouped.k, scale=call.scale)
        mass = dropped_mass(scores, kept | ~real[..., None], visible=call.visible | ~real[..., None])
        chosen = mass[real.expand(mass.shape)].double()
        seen = call.visible & real[..., None]
        old = self._sums.get(call.layer, [0.0, 0.0, 0.0, 0.0, 0.0])
        self._sums[call.layer] = [
            old[0] + float((kept & seen).sum()),
            old[1] + float(seen.sum()) * call.q.shape[1],
            old[2] + float(chosen.sum()),
            old[3] + chosen.numel(),
            max(old[4], float(chosen.max())),
        ]

    @property
    def layers(self) -> list[LayerMass]:
        """One entry for each layer that was called, in order."""
        return [
            LayerMass(layer, kept / seen, mass / count, largest)
            for layer, (kept, seen, mass, count, largest) in sorted(self._sums.items())
        ]

    def to_frame(self) -> Any:
        """Return the layers as a pandas data frame."""
        import pandas

        return pandas.DataFrame(self.layers)


@contextmanager
def sparse_attention(
    model: nn.Module,
    choose: Callable[[AttentionCall], BlockMask],
    *,
    backend: Backend = "dense",
    measured: bool = True,
) -> Iterator[MassRecord]:
    """Run a pretrained model with few keys a query, for the time of a block of code.

    Parameters
    ----------
    model : torch.nn.Module
        As :func:`replaced_attention` takes it.
    choose : callable
        From an :class:`AttentionCall` to the :class:`BlockMask` that it is computed under. Its ``causal`` must be that
        of the call.
    backend : str
        As :func:`masked_attention` takes it.
    measured : bool
        Whether the exact dropped mass is recorded. It needs all scores, so nothing is saved then.

    Yields
    ------
    MassRecord
        Filled while the model runs.

    Raises
    ------
    ValueError
        If a mask lets a query see a later key where the model does not, or texts of a causal model are padded in
        front: the first queries would be without a key. Pad at the end.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import load_minilm
    >>> encoder = load_minilm()
    >>> batch = encoder.batches(["Sparse codes are short."])[0]
    >>> def nearest(call):
    ...     n = call.q.shape[2]
    ...     blocks = -(-n // 2)
    ...     distance = (torch.arange(blocks)[:, None] - torch.arange(blocks)).abs()
    ...     return BlockMask(distance <= 1, n, n, block=(2, 2))
    >>> with torch.no_grad(), sparse_attention(encoder.model, nearest) as record:
    ...     _ = encoder.model(**batch)
    >>> [layer.layer for layer in record.layers], 0.5 < record.layers[0].density < 1
    ([0, 1, 2, 3, 4, 5], True)
    """
    record = MassRecord()

    def attend(call: AttentionCall) -> Tensor:
        mask = choose(call)
        if call.causal and not mask.causal:
            raise ValueError("choose must return a causal mask, as the model is causal; got one with causal=False")
        if call.causal and not bool(call.key_mask[:, 0].all()):
            raise ValueError("model must be given texts that are padded at the end; got padding in front")
        if measured:
            with torch.no_grad():
                record.add(call, mask)
        seen = _with_padding(mask, call.key_mask)
        return masked_attention(call.q, call.k, call.v, seen, backend=backend, scale=call.scale, key_mask=call.key_mask)

    with replaced_attention(model, attend):
        yield record


def _with_padding(mask: BlockMask, key_mask: Tensor) -> BlockMask:
    """Let blocks of queries that only pad see a block with a real key: nobody reads them, but a softmax needs a key."""
    if bool(key_mask.all()):
        return mask
    real = key_mask[:, None]
    queries = real_blocks(_ordered(query_mask(real, mask.n_queries), mask.order_q), mask.block[0])
    keys = real_blocks(_ordered(real, mask.order_k), mask.block[1])
    first = keys & (keys.long().cumsum(-1) == 1)
    return replace(mask, blocks=mask.blocks | (~queries[..., None] & first[..., None, :]))


def _ordered(real: Tensor, order: Tensor) -> Tensor:
    """Return which tokens are real, in the order that is cut into blocks."""
    lead = torch.broadcast_shapes(real.shape[:-1], order.shape[:-1])
    return real.expand(*lead, -1).gather(-1, order.expand(*lead, -1))
