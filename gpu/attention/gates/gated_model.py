"""A pretrained model whose attention is as sparse as its gates say."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from sparsetheory.gpu.attention.block_mask import BlockMask
from sparsetheory.gpu.attention.gates.attn_gate import AttnGate
from sparsetheory.gpu.attention.gates.block_scores import BlockScores
from sparsetheory.gpu.attention.gates.examples import before_rotary, recorded_rotary
from sparsetheory.gpu.attention.gates.rotary import Rotary
from sparsetheory.gpu.attention.gates.selection import select_blocks
from sparsetheory.gpu.attention.masked import Backend
from sparsetheory.gpu.attention.model_attention import AttentionCall
from sparsetheory.gpu.attention.sparse_model import MassRecord, sparse_attention

__all__ = ["gated_attention"]


@contextmanager
def gated_attention(
    model: nn.Module,
    gates: Mapping[int, AttnGate],
    density: float | None = None,
    threshold: float | None = None,
    keep_diagonal: bool = True,
    dense_last: int = 2,
    *,
    n_blocks: int | Mapping[int, Sequence[int]] | None = None,
    backend: Backend = "dense",
    measured: bool = True,
) -> Iterator[MassRecord]:
    """Run a pretrained model with the blocks that gates choose, for the time of a block of code.

    Parameters
    ----------
    model : torch.nn.Module
        As :func:`sparse_attention` takes it.
    gates : mapping of int to AttnGate
        By the number of the layer. Layers without a gate stay dense.
    density, threshold, keep_diagonal, dense_last
        As in :func:`select_blocks`.
    n_blocks : int, or mapping of int to sequence of int, optional
        Blocks a row: one number, or for each layer with a gate one number a head, as :func:`head_budgets` shares them.
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
        If a gate and the model do not agree about causality, or an argument does not fit.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.attention import distill_gate
    >>> from sparsetheory.gpu.core.models import load_minilm
    >>> encoder = load_minilm()
    >>> batch = encoder.batches(["Sparse codes are short, and this sentence is not."])[0]
    >>> gates = distill_gate(encoder.model, [batch], steps=20, lr=1e-2, layers=[2], block=4).gates
    >>> with torch.no_grad(), gated_attention(encoder.model, gates, density=0.5, dense_last=0) as record:
    ...     _ = encoder.model(**batch)
    >>> [layer.density == 1.0 for layer in record.layers]
    [True, True, False, True, True, True]
    """

    def choose(call: AttentionCall) -> BlockMask:
        gate = gates.get(call.layer)
        if gate is None:
            return _dense(call)
        if gate.causal != call.causal:
            raise ValueError(f"gates[{call.layer}] must have causal={call.causal}, as the model has; got {gate.causal}")
        counts = n_blocks[call.layer] if isinstance(n_blocks, Mapping) else n_blocks
        scores = _scores(gate, call, tables.get(call.layer))
        return select_blocks(scores, density, threshold, keep_diagonal, dense_last, n_blocks=counts)

    with (
        recorded_rotary(model) as tables,
        sparse_attention(model, choose, backend=backend, measured=measured) as record,
    ):
        yield record


def _scores(gate: AttnGate, call: AttentionCall, rotary: Rotary | None) -> BlockScores:
    with torch.no_grad():
        q, k = (before_rotary(part, rotary).to(gate.k_map) for part in (call.q, call.k))
        return gate(q, k, None if rotary is None else (rotary[0].to(q), rotary[1].to(q)), call.key_mask)


def _dense(call: AttentionCall) -> BlockMask:
    n_queries, n_keys = call.visible.shape[-2:]
    everything = torch.ones(1, 1, dtype=torch.bool, device=call.q.device)
    return BlockMask(everything, n_queries, n_keys, block=(n_queries, n_keys), causal=call.causal)
