"""Claims about the order in which a sentence encoder visits keys. Nobody has proved them; they were measured."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from sparsetheory.gpu import attention, core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["ORDERS", "Outcomes", "at_density", "at_gain"]

By = Literal["natural", "block", "token", "oracle"]
ORDERS: tuple[By, ...] = ("natural", "block", "token", "oracle")
# Texts of 256 tokens, and the layers and heads that are looked at: 72 pairs of text and head.
_TEXTS, _DOCSTRINGS, _LAYERS, _HEADS, _TILE = 8, 40, (0, 2, 4), 3, 16
_PAIRS = _TEXTS * len(_LAYERS) * _HEADS
_WHERE = "layers 0, 2 and 4 of the MiniLM encoder, 36 of 72 pairs of a text of 256 tokens and a head in each trial"


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one way to visit keys gave, for each pair of text and head.

    Parameters
    ----------
    density : float
        Visited blocks over all blocks.
    squared : ndarray of shape (pairs,)
        Mean squared error of the outputs.
    relative : ndarray of shape (pairs,)
        Norm of the error over the norm of the outputs.
    """

    density: float
    squared: Float64Array
    relative: Float64Array


@cache
def _heads() -> list[tuple[Any, Any, Any, Any]]:
    """Return queries, keys, values and exact outputs of the heads of each layer, for texts without padding."""
    encoder = core.models.load_minilm()
    docstrings = core.datasets.load_docstrings(_TEXTS * _DOCSTRINGS, 1).calibration
    texts = [" ".join(docstrings[start : start + _DOCSTRINGS]) for start in range(0, len(docstrings), _DOCSTRINGS)]
    batches = encoder.batches(texts, batch_size=_TEXTS, max_length=256)
    if not all(bool(batch["attention_mask"].all()) for batch in batches):
        raise ValueError("texts must fill 256 tokens; got shorter ones")
    with one_thread():
        calls = attention.capture_attention(encoder.model, batches, layers=_LAYERS)
    return [
        (call.q[:, :_HEADS], call.k[:, :_HEADS], call.v[:, :_HEADS], call.dense()[:, :_HEADS])
        for layer in _LAYERS
        for call in calls[layer]
    ]


def _outcomes(parts: list[tuple[float, Any, Any]]) -> Outcomes:
    density = float(np.mean([part[0] for part in parts]))
    errors = [(out - exact).square().mean((-1, -2)).flatten() for _, out, exact in parts]
    sizes = [exact.square().mean((-1, -2)).flatten() for _, _, exact in parts]
    squared, size = (np.concatenate([array(part) for part in of]).astype(np.float64) for of in (errors, sizes))
    return Outcomes(density, squared, np.sqrt(squared / size))


@cache
def at_gain(by: By, gain_tol: float) -> Outcomes:
    """Return what an order gives if tiles of 16 queries stop at a gain, blocks of 16 keys after blocks."""
    block = (_TILE, _TILE)
    parts = []
    with one_thread():
        for q, k, v, exact in _heads():
            order = attention.visit_order(q, k, _TILE, by=by, block=block, causal=False)
            stop = attention.early_stop_attention(q, k, v, order, gain_tol=gain_tol, block=block, causal=False)
            parts.append((stop.density, stop.out, exact))
    return _outcomes(parts)


@cache
def at_density(by: By, density: float) -> Outcomes:
    """Return what an order gives if each tile visits the first keys of its order, the same number for all."""
    parts = []
    with one_thread():
        for q, k, v, exact in _heads():
            order = attention.visit_order(q, k, _TILE, by=by, block=(_TILE, _TILE), causal=False)
            n_kept = round(density * k.shape[-2])
            tiles = zip(q.split(_TILE, dim=-2), order.keys, strict=True)
            outs = [_first_keys(tile, k, v, keys[..., :n_kept]) for tile, keys in tiles]
            parts.append((density, _joined(outs), exact))
    return _outcomes(parts)


def _first_keys(q: Any, k: Any, v: Any, keys: Any) -> Any:
    index = keys[..., None].expand(*keys.shape, k.shape[-1])
    chosen_k, chosen_v = k.gather(-2, index), v.gather(-2, index)
    weight = (q @ chosen_k.mT * q.shape[-1] ** -0.5).softmax(-1)
    return weight @ chosen_v


def _joined(outs: list[Any]) -> Any:
    import torch

    return torch.cat(outs, dim=-2)


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the pairs of text and head, at a tolerance or a density."""

    value: float
    pairs: IndexArray


def _sample(rng: np.random.Generator, value: float) -> Sample:
    return Sample(value, rng.choice(_PAIRS, _PAIRS // 2, replace=False))


def _ordered(sample: Sample) -> Measurement:
    """Compare mean relative errors at one tolerance; orders that err more do not visit fewer blocks than tokens."""
    found = {by: at_gain(by, sample.value) for by in ORDERS}
    errors = {by: float(found[by].relative[sample.pairs].mean()) for by in ORDERS}
    measured = Measurement.chain(errors["token"], errors["block"], {"natural order": errors["natural"]}, scale=1.0)
    return Measurement(
        measured.measured, measured.bound, 1.0, {**measured.extras, "oracle": errors["oracle"]}, measured.also
    )


def _blocks_are_as_good(sample: Sample) -> Measurement:
    """Expect whole blocks, ranked by their mean key, to err no more than ranked tokens."""
    found = _ordered(sample)
    return Measurement(found.bound, found.measured, 1.0)


ranked_tokens = Claim(
    name="sparse_attention.ranked_tokens",
    summary="At one tolerance of the gain, ranked tokens err less than ranked blocks, and these less than no ranking.",
    statement=r"\mathrm{err}(\text{tokens by } \bar q^\top k_j) \le "
    r"\mathrm{err}(\text{blocks by } \bar q^\top \bar k_B) \le \mathrm{err}(\text{natural order})",
    source=Source.measured(f"S2O (Zhang et al. 2026, 2602.22575) permutes tokens; {_WHERE}"),
    verdict=WithProbability(0.9),
    evaluate=_ordered,
    near_miss=_blocks_are_as_good,
    sweep=Sweep(
        axis="tolerance of the gain",
        values=(0.02, 0.05, 0.1),
        draw=_sample,
        trials=40,
        quick_trials=21,
        quick_values=(0.05,),
        log="xy",
        measured_label="ranked tokens",
        bound_label="ranked blocks",
        y_label="relative error of outputs",
    ),
)


def _matched(sample: Sample, factor: float = 1.15) -> Measurement:
    """Compare mean squared errors, pooled, of ranked tokens times a factor with those of ranked blocks."""
    pooled = {by: float(at_density(by, sample.value).squared[sample.pairs].mean()) for by in ORDERS}
    extras = {"natural order": pooled["natural"], "ranked tokens": pooled["token"], "oracle": pooled["oracle"]}
    return Measurement(factor * pooled["token"], pooled["block"], extras=extras)


def _paper_factor(sample: Sample) -> Measurement:
    """Expect the factor that the paper reports of a large model at 128 000 tokens."""
    return _matched(sample, 3.82)


matched_density = Claim(
    name="sparse_attention.matched_density",
    summary="At equal density the squared error of ranked blocks is at least 1.15 times that of ranked tokens.",
    statement=r"1.15 \cdot \mathrm{MSE}(\text{tokens by } \bar q^\top k_j) \le "
    r"\mathrm{MSE}(\text{blocks by } \bar q^\top \bar k_B)",
    source=Source.measured(f"S2O (Zhang et al. 2026, 2602.22575) reports 3.82 at 128 000 tokens; {_WHERE}"),
    verdict=WithProbability(0.9),
    evaluate=_matched,
    near_miss=_paper_factor,
    sweep=Sweep(
        axis="density",
        values=(0.125, 0.25, 0.5),
        draw=_sample,
        trials=40,
        quick_trials=21,
        quick_values=(0.25,),
        log="xy",
        measured_label="1.15 times ranked tokens",
        bound_label="ranked blocks",
        y_label="mean squared error of outputs",
    ),
)
