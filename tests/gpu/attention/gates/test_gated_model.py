"""A model that runs with the blocks that its gates choose."""

import pytest
import torch

from sparsetheory.gpu.attention import AttnGate, distill_gate, gated_attention


@pytest.fixture(scope="module")
def gates(decoder, tokens):
    return distill_gate(decoder, [{"input_ids": tokens}], 60, 1e-2, block=4, reduction="kl_row").gates


def logits(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens).logits


def test_all_blocks_are_the_dense_model(decoder, tokens, gates):
    dense = logits(decoder, tokens)
    with gated_attention(decoder, gates, density=1.0) as record:
        torch.testing.assert_close(logits(decoder, tokens), dense, atol=1e-5, rtol=1e-4)
    assert [layer.dropped_max for layer in record.layers] == [0.0, 0.0]
    assert torch.equal(logits(decoder, tokens), dense)


def test_trained_gates_drop_less_than_fresh_ones(decoder, tokens, gates):
    dropped = []
    for chosen in (gates, {layer: AttnGate(8, 4, 2, block=4) for layer in (0, 1)}):
        with gated_attention(decoder, chosen, density=0.4) as record:
            logits(decoder, tokens)
        dropped.append([layer.dropped_mean for layer in record.layers])
    assert all(ours < theirs for ours, theirs in zip(*dropped, strict=True))


def test_layers_without_a_gate_stay_dense(decoder, tokens, gates):
    with gated_attention(decoder, {1: gates[1]}, threshold=0.1, dense_last=0) as record:
        logits(decoder, tokens)
    assert record.layers[0].density == 1.0
    assert record.layers[1].density < 0.7


def test_heads_may_have_numbers_of_their_own(decoder, tokens, gates):
    with gated_attention(decoder, gates, n_blocks={0: [1, 1, 1, 1], 1: [1, 2, 3, 10]}, dense_last=0) as record:
        logits(decoder, tokens)
    densities = [layer.density for layer in record.layers]
    assert densities[0] < densities[1] < 1.0


def test_gates_of_another_causality_are_refused(decoder, tokens):
    other = AttnGate(8, 4, 2, block=4, causal=False)
    with (
        pytest.raises(ValueError, match=r"gates\[0\] must have causal=True, as the model has; got False"),
        gated_attention(decoder, {0: other}, density=0.5),
    ):
        logits(decoder, tokens)
