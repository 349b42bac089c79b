"""Neurons left out by the same error in all layers, or by the same number: real encoders and decoders."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import activations, core
from sparsetheory.proofs_checks.activation_sparsity.sparsing_law.character_models import (
    character_decoder,
    held_out_batch,
)
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

_TARGETS = {"quick": (0.2,), "full": (0.05, 0.1, 0.2, 0.3)}
_RULES = ("same CETT", "top k of each token", "share of each layer", "one size for all")
_COLUMNS = ("model", "CETT", "active share", "last layer", *_RULES)
_NOTES = (
    "MiniLM: cosine to the embeddings of the dense encoder, larger is better. SmolLM2: perplexity on the beginning of "
    "an article, smaller is better. All rules keep the same share of neurons. The same error in all layers is not the "
    "best choice: it prunes the last layers most, and the same number for each token serves better."
)


def _rows(
    name: str, model: Any, batches: Sequence[Any], quality: Callable[[], float], targets: Sequence[float]
) -> list[tuple[Any, ...]]:
    """Return for each target the qualities of four rules that keep the same share."""
    hidden = activations.hidden_activations(model, batches)
    rows = []
    for target in targets:
        rules = {
            layer: activations.SizeThreshold.of_norms(activations.cett_threshold(h, w_out, target), w_out)
            for layer, (h, w_out) in hidden.items()
        }
        shares = [float(rules[layer](h).double().mean()) for layer, (h, _) in hidden.items()]
        share = float(np.mean(shares))
        count = max(1, round(share * next(iter(hidden.values()))[1].shape[1]))
        cut = activations.fat_threshold([h for h, _ in hidden.values()], share)
        others: list[Any] = [
            activations.Largest(count, magnitude=True),
            activations.LargestOfLayer(share),
            activations.SizeThreshold(cut),
        ]
        found = []
        for selectors in (rules, *(dict.fromkeys(hidden, rule) for rule in others)):
            with activations.select_inputs(model, selectors):
                found.append(round(quality(), 4))
        rows.append((name, target, round(share, 3), round(shares[-1], 3), *found))
    return rows


def _encoder(profile: str) -> list[tuple[Any, ...]]:
    encoder = core.models.load_minilm()
    batches = encoder.batches(core.datasets.load_docstrings(4 if profile == "quick" else 16, 1).calibration)
    dense = core.models.sentence_embeddings(encoder.model, batches)
    return _rows(
        "MiniLM",
        encoder.model,
        batches,
        lambda: core.mean_cosine(core.models.sentence_embeddings(encoder.model, batches), dense),
        _TARGETS[profile],
    )


def _decoder() -> list[tuple[Any, ...]]:
    decoder = core.models.load_smollm2()
    batches = decoder.batches(core.datasets.load_wikipedia_articles().texts[:1], batch_size=1, max_length=256)
    return _rows(
        "SmolLM2",
        decoder.model,
        batches,
        lambda: math.exp(activations.next_token_loss(decoder.model, batches)),
        (0.1, 0.2, 0.3),
    )


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        models = list(dict.fromkeys(row[0] for row in rows))
        for ax, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
            own = [row for row in rows if row[0] == model]
            for column, rule in enumerate(_RULES, start=4):
                ax.plot([row[2] for row in own], [row[column] for row in own], marker="o", label=rule)
            ax.set(xlabel="share of active neurons", title=model)
            ax.set_ylabel("cosine to the dense embedding" if model == "MiniLM" else "perplexity")
            ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    with one_thread():
        rows = _encoder(profile) + (_decoder() if profile == "full" else [])
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


neurons_by_error = Study(
    name="activation_sparsity.neurons_by_error",
    title="Which neurons to leave out",
    description="Feed-forward neurons of the encoder MiniLM, and in the full profile of the decoder SmolLM2, are left "
    "out so that all layers have the same relative error, or so that all keep as many: by token, by layer, or by size.",
    run=_run,
)

_STEPS, _SEEDS, _LIMITS = (100, 200, 300), (0, 1), (1.0, 5.0)
_GATE_COLUMNS = ("activation", "steps", "loss", "exact zeros", *(f"active at {p:g} %" for p in _LIMITS))


def _gates(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_GATE_COLUMNS)
    rows = [_gate_row(kind, n_steps) for kind in ("silu", "relu") for n_steps in _STEPS]
    notes = (
        "Decoders over characters, means of two seeds. Half of the neurons of ReLU are exactly zero. By the rise of "
        "perplexity, as the paper measures, it needs more neurons than SiLU at 5 percent, and at 1 percent neither is "
        "ahead throughout: that ReLU is sparser does not show here."
    )
    return StudyResult(_GATE_COLUMNS, rows, notes, _plot_gates(rows))


def _gate_row(kind: str, n_steps: int) -> tuple[Any, ...]:
    found: list[list[float]] = []
    batch = held_out_batch(0, rows=24)
    with one_thread():
        for seed in _SEEDS:
            model = character_decoder(kind, seed, n_steps)
            hidden = activations.hidden_activations(model, [batch])
            zeros = float(np.mean([float((h == 0).double().mean()) for h, _ in hidden.values()]))
            ratios = [activations.ppl_sparsity(model, [batch], p).active_ratio for p in _LIMITS]
            found.append([activations.next_token_loss(model, [batch]), zeros, *ratios])
    return (kind, n_steps, *np.mean(found, axis=0).round(3).tolist())


def _plot_gates(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for kind in ("silu", "relu"):
            own = [row for row in rows if row[0] == kind]
            for column, p in enumerate(_LIMITS, start=4):
                ax.plot([row[1] for row in own], [row[column] for row in own], marker="o", label=f"{kind}, {p:g} %")
        ax.set(xlabel="steps of training", ylabel="share of active neurons", title="Decoders over characters")
        ax.legend(fontsize=8)

    return draw


gates_by_perplexity = Study(
    name="activation_sparsity.gates_by_perplexity",
    title="ReLU and SiLU gates by the rise of perplexity",
    description="Decoders over characters with gates of either activation: the share of neurons that a rise of "
    "perplexity by 1 or 5 percent leaves, along training.",
    run=_gates,
)
