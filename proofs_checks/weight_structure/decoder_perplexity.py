"""A language model, pruned at once without training, that reads articles; made once per process."""

from functools import cache
from typing import Any

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.weight_structure.calibrated_copies import calibrated_copy

__all__ = ["CONTEXT", "N_ARTICLES", "N_CALIBRATION", "decoder", "pruned_perplexity"]

# Tokens of each article, articles that are judged, and other ones for calibration.
CONTEXT, N_ARTICLES, N_CALIBRATION = 512, 2, 3


@cache
def decoder() -> Any:
    """Return SmolLM2 and its tokenizer.

    Raises
    ------
    ImportError
        Without torch, transformers or the packages that carry and read the weights.
    """
    return core.models.load_smollm2()


@cache
def _articles() -> list[Any]:
    """Return the beginnings of long articles: those for calibration, then those that are judged."""
    texts = core.datasets.load_wikipedia_articles().texts[:20]
    batches = decoder().batches(texts, batch_size=1, max_length=CONTEXT)
    return [batch for batch in batches if batch["input_ids"].shape[1] == CONTEXT][: N_CALIBRATION + N_ARTICLES]


@cache
def _grams() -> dict[str, Any]:
    """Return the Gram matrices of the inputs of all layers; a shard of all of them takes 1 GB."""
    model = decoder().model
    return core.collect_grams(model, _articles()[:N_CALIBRATION], core.block_layers(model), n_shards=1)


def _perplexity(model: Any) -> float:
    import torch

    text = torch.cat([batch["input_ids"][0] for batch in _articles()[N_CALIBRATION:]])
    return core.perplexity(model, text, window=CONTEXT).value


@cache
def pruned_perplexity(method: str, sparsity: float) -> float:
    """Prune all 210 matrices of the blocks of SmolLM2 at once; return its perplexity on Wikipedia articles.

    Parameters
    ----------
    method : str
        Of :func:`sparsetheory.gpu.weights.evaluate_pruned`. Wanda sees the beginnings of three articles, and the inputs
        of the dense model; two other articles are judged.
    sparsity : float
        At 0 every method leaves the model as it is.

    Raises
    ------
    ImportError
        Without torch, transformers or the packages that carry the weights and the articles.
    """
    with one_thread():
        if method == "wanda" and sparsity:
            return _perplexity(calibrated_copy(decoder().model, _grams(), weights.wanda, sparsity))
        return weights.evaluate_pruned(_perplexity, decoder().model, "global" if not sparsity else method)(sparsity)
