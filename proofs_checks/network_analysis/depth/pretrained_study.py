"""Use of depth in pretrained networks: a decoder that normalises first, and an encoder that normalises last."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.weight_structure.decoder_perplexity import decoder

if TYPE_CHECKING:
    from torch import Tensor

# Tokens of an article.
_CONTEXT = 512


def _not_first(batch: Any) -> "Tensor":
    """Return which tokens count: all but the first one of a text, whose stream is thousands of times larger."""
    mask: Tensor = batch["attention_mask"].clone()
    mask[:, 0] = 0
    return mask


def _article() -> Any:
    texts = core.datasets.load_wikipedia_articles().texts[:20]
    batches = decoder().batches(texts, batch_size=1, max_length=_CONTEXT)
    return next(batch for batch in batches if batch["input_ids"].shape[1] == _CONTEXT)


def _decoder(profile: str) -> StudyResult:
    columns = ("layer", "median variance after it", "cosine", "|Delta| / |h|", "perplexity without it")
    if profile == "quick":
        return StudyResult.left_out(columns)
    model, batch = decoder().model, _article()
    with one_thread():
        stream = analysis.residual_statistics(model, batch, mask=_not_first)
        dense = _perplexity(model, batch)
        without = []
        for name in stream.layers:
            with analysis.skip_layer(model, name):
                without.append(_perplexity(model, batch))
    rows = [
        (
            layer,
            round(float(stream.median_variance[layer + 1]), 2),
            round(float(stream.cosine[layer]), 3),
            round(float(stream.relative_contribution[layer]), 3),
            round(without[layer], 1),
        )
        for layer in range(len(stream.layers))
    ]
    notes = (
        f"The first {_CONTEXT} tokens of one Wikipedia article, whose perplexity is {dense:.1f} with all layers. The "
        "first token is left out, and variances are medians over tokens. The growth of the stream is there, but the "
        "last layers are not idle: leaving out one of the last two costs more than leaving out most of those in the "
        "middle."
    )
    return StudyResult(columns, rows, notes, _plot(rows, columns, dense))


def _perplexity(model: Any, batch: Any) -> float:
    return core.perplexity(model, batch["input_ids"][0], window=_CONTEXT).value


def _plot(rows: list[Any], columns: tuple[str, ...], dense: float) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        layers = [row[0] for row in rows]
        left.semilogy(layers, [row[1] for row in rows], ".-")
        left.set_title(columns[1], fontsize=10)
        right.semilogy(layers, [row[4] for row in rows], ".-")
        right.axhline(dense, color="grey", ls=":", label="with all layers")
        right.set_title(columns[4], fontsize=10)
        right.legend(fontsize=8)
        for ax in (left, right):
            ax.set_xlabel("layer")

    return draw


def _encoder(profile: str) -> StudyResult:
    columns = ("layer", "variance after it", "cosine", "|Delta| / |h|")
    if profile == "quick":
        return StudyResult.left_out(columns)
    encoder = core.models.load_minilm()
    batch = encoder.batches(core.datasets.load_docstrings(16, 4).calibration)[0]
    with one_thread(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stream = analysis.residual_statistics(encoder.model, batch)
    rows = [
        (
            layer,
            *(
                round(float(one), 3)
                for one in (stream.variance[layer + 1], stream.cosine[layer], stream.relative_contribution[layer])
            ),
        )
        for layer in range(len(stream.layers))
    ]
    said = "; ".join(str(one.message) for one in caught if one.category is UserWarning)
    notes = f"Docstrings. Each layer ends with a normalisation, so that nothing grows. The report warns: {said}."
    return StudyResult(columns, rows, notes)


depth_decoder = Study(
    name="network_analysis.depth_decoder",
    title="Use of depth in a pretrained decoder",
    description="The residual stream of the dequantised SmolLM2, 30 layers that normalise first, and its perplexity "
    "without one of them.",
    run=_decoder,
)

depth_encoder = Study(
    name="network_analysis.depth_encoder",
    title="An encoder that normalises last",
    description="The residual stream of MiniLM, 6 layers of BERT: the contrast to networks that normalise first.",
    run=_encoder,
)
