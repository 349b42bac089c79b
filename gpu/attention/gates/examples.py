"""What a gate learns from: pooled queries and keys of a model, and the block maxima of its attention."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.attention.block_geometry import query_mask
from sparsetheory.gpu.attention.gates.block_maxima import block_max_attention
from sparsetheory.gpu.attention.gates.pooling import Pool, PooledBlocks, pool_attention
from sparsetheory.gpu.attention.gates.rotary import Rotary, unrotate
from sparsetheory.gpu.attention.model_attention import AttentionCall, replaced_attention
from sparsetheory.gpu.core.recording import check_batches, run_batches

__all__ = ["GateExample", "before_rotary", "gate_examples", "recorded_rotary"]


@dataclass(frozen=True, eq=False)
class GateExample:
    """One call of the attention of a layer, as a gate sees it, and what the gate should say.

    Parameters
    ----------
    pooled : PooledBlocks
        Queries and keys before rotary positions.
    target : Tensor of shape (batch, heads, query blocks, key blocks)
        Largest attention of each pair of blocks, rows divided by their sums; from queries and keys as the model
        multiplies them.
    """

    pooled: PooledBlocks
    target: Tensor


def gate_examples(
    model: nn.Module,
    batches: Iterable[Any],
    layers: Iterable[int] | None = None,
    block: int = 64,
    q_pool: Sequence[Pool] = ("avg",),
    k_pool: Sequence[Pool] = ("max", "min", "avg"),
) -> dict[int, list[GateExample]]:
    """Record what gates learn from, while a model runs on batches.

    Pooling has no weights, so a model runs once over each batch however long gates are trained. Only pooled vectors and
    block maxima are held, never a matrix of all pairs of tokens.

    The attention of a model is called with queries and keys after rotary positions. The turn is undone with the tables
    that the model hands to its layers, so any layer that turns pairs of the two halves of a head is served, whatever
    its projections look like. A model without rotary positions hands no tables; its queries and keys are taken as they
    are, and gates then know no positions.

    Parameters
    ----------
    model : torch.nn.Module
        As :func:`replaced_attention` takes it. Run in evaluation mode and without gradients.
    batches : iterable
        What the model takes.
    layers : iterable of int, optional
        Numbers of the layers; all by default.
    block : int
        Tokens of a block.
    q_pool, k_pool : sequence of {"avg", "max", "min"}
        How a block is pooled.

    Returns
    -------
    dict of int to list of GateExample
        One for each batch, in single precision or wider.

    Raises
    ------
    ValueError
        If a layer does not exist, there is no batch, or queries see neither all real keys nor all earlier ones.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import load_minilm
    >>> encoder = load_minilm()
    >>> batches = encoder.batches(["Sparse codes are short.", "So is this one."])
    >>> gate_examples(encoder.model, batches, layers=[2], block=4)[2][0].target.shape
    torch.Size([2, 12, 2, 2])
    """
    check_batches("batches", batches)
    wanted = None if layers is None else list(layers)
    found: dict[int, list[GateExample]] = {} if wanted is None else {layer: [] for layer in wanted}

    def attend(call: AttentionCall) -> Tensor:
        if wanted is None or call.layer in wanted:
            found.setdefault(call.layer, []).append(_example(call, tables.get(call.layer), block, q_pool, k_pool))
        return call.dense()

    with recorded_rotary(model) as tables, replaced_attention(model, attend):
        for _ in run_batches(model, batches):
            pass
    if not found:
        raise ValueError("batches must hold a batch; got none")
    if missing := [layer for layer, seen in found.items() if not seen]:
        raise ValueError(f"layers must be numbers of layers of the model, run on a batch at least; got {missing}")
    return found


@contextmanager
def recorded_rotary(model: nn.Module) -> Iterator[dict[int, Rotary]]:
    """Keep the rotary tables of the latest call of each layer, for the time of a block of code.

    Yields
    ------
    dict of int to tuple of Tensor
        By the number of the layer, cosines and sines; no entry for a layer without rotary positions.
    """
    tables: dict[int, Rotary] = {}

    def hook(module: nn.Module, _: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("position_embeddings") is not None:
            tables[int(module.layer_idx)] = kwargs["position_embeddings"]  # type: ignore[arg-type]

    numbered = [module for module in model.modules() if isinstance(getattr(module, "layer_idx", None), int)]
    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module in numbered]
    try:
        yield tables
    finally:
        for handle in handles:
            handle.remove()


def before_rotary(x: Tensor, rotary: Rotary | None) -> Tensor:
    """Return queries or keys of a call as they were before rotary positions, in single precision or wider."""
    wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    return wide if rotary is None else unrotate(wide, (rotary[0].to(wide), rotary[1].to(wide)))


def _example(
    call: AttentionCall, rotary: Rotary | None, block: int, q_pool: Sequence[Pool], k_pool: Sequence[Pool]
) -> GateExample:
    q, k = before_rotary(call.q, None), before_rotary(call.k, None)
    _check_mask(call)
    target = block_max_attention(q, k, block, call.causal, scale=call.scale, key_mask=call.key_mask)
    pooled = pool_attention(
        before_rotary(q, rotary),
        before_rotary(k, rotary),
        block,
        causal=call.causal,
        q_pool=q_pool,
        k_pool=k_pool,
        rotary=None if rotary is None else (rotary[0].to(q), rotary[1].to(q)),
        key_mask=call.key_mask,
    )
    return GateExample(pooled, target)


def _check_mask(call: AttentionCall) -> None:
    """Raise unless queries see all real keys, or all of them up to their own position."""
    n, m = call.visible.shape[-2:]
    allowed = call.key_mask[:, None, None, :].expand(call.visible.shape)
    if call.causal:
        allowed = allowed.tril(m - n)
    # What queries of padding see is of no account.
    if bool(((call.visible != allowed) & query_mask(call.key_mask, n)[:, None, :, None]).any()):
        raise ValueError("model must let queries see all real keys, or all earlier ones; got another mask of attention")
