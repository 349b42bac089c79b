"""Claims about stopping when little mass is certainly left: planted clusters of keys, and the attention of a model."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

__all__ = ["ORDER", "TextStops", "stops_of_text"]

# From what is known exactly to what is cheapest to know.
ORDER: tuple[Any, ...] = ("exact", "variance", "deviation", "chord", "plain")
_CLUSTERS, _KEYS, _DIMENSIONS, _NORM = 10, 32, 16, 6.0


def _planted(rng: np.random.Generator, max_dropped: float, jitter: float = 0.025) -> tuple[Any, Any, float]:
    """Draw 10 clusters of 32 keys, centres of norm 6 in 16 dimensions, and a centre as the query."""
    centers = rng.standard_normal((_CLUSTERS, _DIMENSIONS))
    centers *= _NORM / np.linalg.norm(centers, axis=1, keepdims=True)
    keys = np.repeat(centers, _KEYS, axis=0) + jitter * rng.standard_normal((_CLUSTERS * _KEYS, _DIMENSIONS))
    return tensor(centers[:1]), tensor(keys), max_dropped


def _stop(planted: tuple[Any, Any, float]) -> tuple[int, float]:
    """Return how many blocks are visited with plain bounds, and the bound of the dropped mass over the true one."""
    q, k, max_dropped = planted
    blocks = attention.KeyBlocks.from_keys(k, _KEYS)
    stop = attention.certified_stop(q, k, blocks, max_dropped=max_dropped, masses="plain", order_by="plain")
    true = attention.dropped_mass(attention.attention_scores(q, k), stop.kept)
    ratio = float(stop.dropped_bound[0]) / float(true[0]) if stop.n_visited[0] < _CLUSTERS else 1.0
    return int(stop.n_visited[0]), ratio


def _first_block(planted: tuple[Any, Any, float]) -> Measurement:
    """Compare the bound after the last visited block with the true mass; and the blocks with one, at a tenth.

    Keys of a cluster have scores within twice the radius of each other, so a block's bound is its mass times a little.
    """
    visited, ratio = _stop(planted)
    limit = 1.0 if planted[2] >= 0.1 else float(_CLUSTERS)
    return Measurement(ratio, 1.5, extras={"blocks visited": float(visited), "allowed": limit}).and_chain(
        {"blocks visited": float(visited), "allowed": limit}
    )


def _scattered(planted: tuple[Any, Any, float]) -> Measurement:
    """Cut the same keys into blocks in an order that mixes the clusters."""
    q, k, max_dropped = planted
    mixed = np.arange(len(k)).reshape(_CLUSTERS, _KEYS).T.ravel()
    return _first_block((q, k[tensor(mixed)], max_dropped))


planted_clusters = Claim(
    name="sparse_attention.planted_clusters",
    summary="Where keys come in tight clusters, plain bounds stop after the first one, and are nearly sharp.",
    statement=r"\frac{\rho}{1 + \rho} \le 1.5\,\delta",
    source=Source.measured("ten clusters of keys, the query at the centre of one"),
    verdict=WithProbability(p=0.9, margin=0.25),
    evaluate=_first_block,
    near_miss=_scattered,
    sweep=Sweep(
        axis="allowed dropped mass",
        values=(0.001, 0.01, 0.1),
        draw=_planted,
        trials=40,
        quick_trials=14,
        log="x",
        measured_label="bound over true dropped mass",
        bound_label="1.5",
    ),
)


@dataclass(frozen=True, eq=False)
class TextStops:
    """Where the queries of three layers of the encoder stop on one text.

    Parameters
    ----------
    density : dict of str to float
        Kept over visible pairs, by what bounded the masses.
    n_visited : dict of str to ndarray
        Blocks visited by each query.
    true, bound : dict of str to ndarray
        Dropped mass of each query, and its bound.
    """

    density: dict[str, float]
    n_visited: dict[str, Float64Array]
    true: dict[str, Float64Array]
    bound: dict[str, Float64Array]


_LAYERS, _HEADS, _TEXTS, _BLOCKS = (0, 2, 4), (1, 5, 9), 12, 32


@cache
def _encoder() -> Any:
    from sparsetheory.gpu.core.models import load_minilm

    return load_minilm()


@cache
def _calls(text: int) -> dict[int, Any]:
    """Return what goes into the attention of the encoder on 256 tokens of docstrings."""
    from sparsetheory.gpu.core.datasets import load_docstrings

    encoder, part = _encoder(), 14
    texts = load_docstrings(part * _TEXTS, 1).calibration[part * text : part * (text + 1)]
    batches = encoder.batches([" ".join(texts)], max_length=256)
    return {layer: calls[0] for layer, calls in attention.capture_attention(encoder.model, batches, _LAYERS).items()}


@cache
def stops_of_text(text: int, max_dropped: float, kinds: tuple[Any, ...] = ORDER) -> TextStops:
    """Return the stops of three heads of three layers, with 32 k-means blocks of keys, in one order for all bounds."""
    found: dict[str, list[tuple[Any, ...]]] = {kind: [] for kind in kinds}
    with one_thread():
        for call in _calls(text).values():
            q, k = call.q[:, _HEADS], call.k[:, _HEADS]
            blocks = attention.KeyBlocks.from_keys(k, attention.cluster_keys(k, _BLOCKS, random_state=text))
            scores = attention.attention_scores(q.double(), k.double(), scale=call.scale)
            for kind in kinds:
                stop = attention.certified_stop(
                    q, k, blocks, max_dropped=max_dropped, masses=kind, visible=call.visible, scale=call.scale
                )
                true = attention.dropped_mass(scores, stop.kept, visible=call.visible)
                parts = (stop.n_visited, true, stop.dropped_bound.double())
                found[kind].append((stop.density, *(array(part).ravel() for part in parts)))
    columns = {kind: tuple(zip(*rows, strict=True)) for kind, rows in found.items()}
    return TextStops(
        {kind: float(np.mean(column[0])) for kind, column in columns.items()},
        *({kind: np.concatenate(column[i]) for kind, column in columns.items()} for i in (1, 2, 3)),
    )


def _text(rng: np.random.Generator, max_dropped: float) -> tuple[int, float]:
    return int(rng.integers(_TEXTS)), max_dropped


def _stops_in_order(case: tuple[int, float]) -> Measurement:
    """Compare true dropped masses with their bounds, and numbers of blocks between bounds, query by query.

    In one order of the blocks, a sharper bound of what is left is never larger, so that the query stops no later.
    """
    stops = stops_of_text(*case)
    late = [stops.n_visited[sharp] - stops.n_visited[wide] for sharp, wide in pairwise(ORDER)]
    beyond = [(stops.true[kind] - stops.bound[kind]).max() for kind in ORDER]
    over = max(float(stops.bound[kind].max()) - case[1] for kind in ORDER)
    return Measurement(max(float(np.max(late)), float(np.max(beyond)), over), 0.0, scale=1.0)


def _one_block_less(case: tuple[int, float]) -> Measurement:
    """Stop one block earlier than the rule with the exact masses."""
    stops = stops_of_text(*case)
    return Measurement(float((stops.n_visited["exact"] - (stops.n_visited["variance"] - 1)).max()), 0.0, scale=1.0)


model_stops = Claim(
    name="sparse_attention.model_stops",
    summary="In a sentence encoder no query drops more than allowed, and sharper bounds stop no later.",
    statement=r"\delta \le \frac{\rho}{1 + \rho} \le \varepsilon,\quad "
    r"b_{\text{exact}} \le b_{\text{variance}} \le b_{\text{chord}} \le b_{\text{plain}}",
    source=Source.ours("certified stop of attention over blocks of keys"),
    verdict=Always(rtol=0.0),
    # Every other text is read anew, which takes a second.
    instances=lambda: st.just((0, 0.1)),
    evaluate=_stops_in_order,
    near_miss=_one_block_less,
    sweep=Sweep(
        axis="allowed dropped mass",
        values=(0.01, 0.1, 0.3),
        draw=_text,
        trials=4,
        quick_trials=1,
        quick_values=(0.1,),
        log="x",
        measured_label="largest excess",
    ),
)


def _density(case: tuple[int, float], kind: str = "variance") -> Measurement:
    """Return which share of the visible pairs is kept."""
    density = stops_of_text(*case, ("variance", "plain")).density
    return Measurement(density[kind], 0.8, extras={"plain bounds": density["plain"]})


def _plain_density(case: tuple[int, float]) -> Measurement:
    """Bound the masses by the largest score."""
    return _density(case, "plain")


model_density = Claim(
    name="sparse_attention.model_density",
    summary="With variances of scores the certified rule drops a fifth of the attention of an encoder, at a tenth of "
    "its mass; with plain bounds it does not.",
    statement=r"\varepsilon = 0.1:\quad \text{kept pairs} / \text{visible pairs} \le 0.8",
    source=Source.measured("MiniLM on docstrings of 256 tokens, 32 k-means blocks of keys"),
    verdict=WithProbability(p=0.9, margin=0.45),
    evaluate=_density,
    near_miss=_plain_density,
    sweep=Sweep(
        axis="allowed dropped mass",
        values=(0.1,),
        draw=_text,
        trials=20,
        quick_trials=6,
        measured_label="variances of scores",
        bound_label="0.8",
        y_label="density",
    ),
)
