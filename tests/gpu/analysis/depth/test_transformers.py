"""Decoders and encoders of transformers, small and with random weights: tuples, masks, positions, caches."""

import copy
import warnings

import pytest
import torch

from sparsetheory.gpu.analysis import (
    LayerNormScaling,
    depth_report,
    mean_jacobian,
    next_token_loss,
    residual_layers,
    residual_statistics,
    skip_layer,
    swapped,
)

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, initializer_range=0.3, attn_implementation="sdpa",
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def batch():
    tokens = torch.randint(40, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[0, 6:] = 0
    return {"input_ids": tokens, "attention_mask": mask}


def test_hidden_states_of_the_model_are_the_stream(llama, batch):
    assert residual_layers(llama) == [f"model.layers.{i}" for i in range(4)]
    found = residual_statistics(llama, batch)
    with torch.no_grad():
        states = llama(**batch, output_hidden_states=True).hidden_states
    kept = batch["attention_mask"].bool()
    # The last of them is after the final normalisation, and so is no part of the stream.
    for layer, state in enumerate(states[:-1]):
        by_hand = state[kept].double().var(dim=1, correction=0)
        torch.testing.assert_close(found.variance[layer], by_hand.mean())
        torch.testing.assert_close(found.median_variance[layer], by_hand.median())
    assert not torch.isclose(found.variance[-1], states[-1][kept].double().var(dim=1, correction=0).mean())


def test_a_report_passes_masks_and_positions_on_and_keeps_no_cache(llama, batch):
    report = depth_report(llama, None, batch, jacobian=False)
    assert report.causal.shape == (4, 4)
    other = copy.deepcopy(llama)
    layers = other.model.layers
    layers[0], layers[3] = layers[3], layers[0]
    with torch.no_grad():
        whole = float(next_token_loss(llama(**batch, use_cache=False), batch))
        exchanged = float(next_token_loss(other(**batch, use_cache=False), batch))
    assert report.loss == pytest.approx(whole, rel=1e-6)
    assert float(report.permutation[0, 3]) == pytest.approx(abs(exchanged - whole) / whole, rel=1e-4)
    # Padding does not count: what it holds is no matter.
    padded = {**batch, "input_ids": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 7)}
    torch.testing.assert_close(depth_report(llama, None, padded, jacobian=False).causal, report.causal)


def test_labels_of_the_batch_give_the_loss(llama, batch):
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    report = depth_report(llama, None, {**batch, "labels": labels}, jacobian=False, pairs="adjacent")
    assert report.loss == pytest.approx(
        depth_report(llama, None, batch, jacobian=False, pairs="adjacent").loss, rel=1e-6
    )


def hooks(model):
    return [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]


def test_layers_with_a_cache_are_not_exchanged(llama, batch):
    before = hooks(llama)
    with pytest.raises(ValueError, match="got past_key_values: pass use_cache=False"), swapped(llama, 0, 1):
        llama(**batch, use_cache=True)
    assert hooks(llama) == before
    cache = transformers.DynamicCache()
    with pytest.raises(ValueError, match="no cache of an earlier call"):
        depth_report(llama, None, {**batch, "past_key_values": cache})


def test_a_text_grows_without_a_layer_as_if_read_at_once(llama):
    tokens = torch.arange(1, 6)[None]
    with torch.no_grad(), skip_layer(llama, 1):
        grown = llama.generate(tokens, max_new_tokens=4, do_sample=False, pad_token_id=0)
        again = llama(grown, use_cache=False).logits.argmax(-1)
    assert torch.equal(again[:, 4:-1], grown[:, 5:])


def test_the_jacobian_keeps_other_arguments(llama, batch):
    found = mean_jacobian(llama, 2, batch)
    calls = []
    layer = llama.model.layers[2]
    handle = layer.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    with torch.no_grad():
        llama(**batch, use_cache=False)
    handle.remove()
    (args, kwargs), kept = calls[0], batch["attention_mask"].bool()

    def total(x):
        output = layer.forward(x, *args[1:], **kwargs)
        return (output[0] if isinstance(output, tuple) else output)[kept].sum(0)

    full = torch.autograd.functional.jacobian(total, args[0])
    torch.testing.assert_close(found.float(), full[:, kept].mean(1), atol=1e-5, rtol=1e-4)


def test_scaled_normalisations_are_those_of_the_layer(llama, batch):
    scaled = copy.deepcopy(llama)
    with torch.no_grad():
        for place, layer in enumerate(scaled.model.layers):
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.weight *= (place + 1) ** -0.5
    with torch.no_grad(), LayerNormScaling(llama):
        found = llama(**batch, use_cache=False).logits
        torch.testing.assert_close(found, scaled(**batch, use_cache=False).logits, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def bert():
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4
    )
    return transformers.BertModel(config).eval()


def test_an_encoder_that_normalises_last_is_warned_of(bert, llama, batch):
    with pytest.warns(UserWarning, match=r"3 layers, the first of them encoder\.layer\.0, end with a norm.*Post-LN"):
        report = depth_report(bert, None, batch, loss=None, jacobian=False)
    assert report.loss is report.permutation is report.skip_increase is None
    with pytest.raises(ValueError, match=r"normalisations of their own; encoder\.layer\.0 has none"):
        LayerNormScaling(bert)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        depth_report(llama, None, batch, jacobian=False)


def test_without_logits_a_loss_must_be_given(bert, batch):
    with pytest.raises(TypeError, match="loss must be given, as the model returns no logits"):
        depth_report(bert, None, batch)
