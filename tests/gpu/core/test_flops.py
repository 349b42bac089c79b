"""Counts of operations: by hand for small models, by torch's counter for others, and by weight."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune
from torch.utils.flop_counter import FlopCounterMode

from sparsetheory.gpu.core import count_flops
from sparsetheory.gpu.core.effective_weights import effective_weights

WEIGHTS = ("0.weight", "2.weight")


def _mlp(*widths):
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])


def _by_name(count):
    return {layer.name: (layer.flops, layer.sparse_flops) for layer in count.layers}


@pytest.mark.parametrize("batch", [1, 7])
def test_an_mlp_by_hand(device, batch):
    model = _mlp(64, 32, 16, 10).to(device)
    masks = {"0.weight": torch.arange(64 * 32).reshape(32, 64) % 10 == 0, "4.weight": torch.zeros(10, 16) > 0}
    count = count_flops(model, torch.ones(batch, 64, device=device), masks)
    first, middle, last = 2 * 64 * 32, 2 * 32 * 16, 2 * 16 * 10
    assert _by_name(count) == {
        "0.weight": (batch * first, batch * 2 * 205),
        "2.weight": (batch * middle, batch * middle),
        "4.weight": (batch * last, 0),
    }
    assert (count.flops, count.sparse_flops) == (batch * (first + middle + last), batch * (410 + middle))
    assert (count.n_samples, count.other) == (batch, 0)
    assert count.n_parameters == 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10
    assert count.n_nonzero == count.n_parameters - (64 * 32 - 205) - 160
    assert (count.n_bytes, count.sparse_bytes) == (4 * count.n_parameters, 4 * count.n_nonzero)


def test_without_masks_the_zeros_of_the_weights_count():
    model = _mlp(8, 4, 2).to(torch.float16)
    with torch.no_grad():
        model[0].weight.zero_()[0, 0] = 1.0
        model[2].weight.fill_(2.0)
        model[0].bias.zero_()
    count = count_flops(model.float(), torch.ones(3, 8))
    assert _by_name(count) == {"0.weight": (3 * 64, 3 * 2), "2.weight": (3 * 16, 3 * 16)}
    assert count.n_nonzero == 1 + 8 + int(torch.count_nonzero(model[2].bias))


def test_full_masks_change_nothing_and_layers_add_up():
    model = _mlp(9, 5, 4)
    x = torch.ones(2, 9)
    dense = count_flops(model, x)
    full = count_flops(model, x, {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()})
    assert dense == full
    parts = [count_flops(model[i], torch.ones(2, width)) for i, width in ((0, 9), (2, 5))]
    assert dense.flops == sum(part.flops for part in parts)


@pytest.mark.parametrize(
    ("layer", "size", "places"),
    [
        (nn.Conv2d(4, 6, 3), (8, 8), 36),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (8, 8), 16),
        (nn.Conv2d(4, 6, 3, dilation=2), (8, 8), 16),
        (nn.Conv2d(4, 6, (1, 3), groups=2), (5, 8), 30),
    ],
)
def test_convolutions_by_hand(layer, size, places):
    mask = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    count = count_flops(layer, torch.ones(2, 4, *size), {"weight": mask})
    assert _by_name(count) == {"weight": (2 * 2 * places * layer.weight.numel(), 2 * 2 * places * int(mask.sum()))}


def test_the_total_is_that_of_torch():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    x = torch.ones(2, 3, 8, 8)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    assert count_flops(model, x).flops == counter.get_total_flops() > 0


def test_attention_is_dense_and_its_projections_are_not():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).train()
    mask = torch.zeros(24, 8, dtype=torch.bool)
    mask[:, ::2] = True
    count = count_flops(model, torch.ones(3, 5, 8), {"self_attn.in_proj_weight": mask})
    rows = 2 * 3 * 5
    assert _by_name(count) == {
        "self_attn.in_proj_weight": (rows * 24 * 8, rows * 24 * 4),
        "self_attn.out_proj.weight": (rows * 64, rows * 64),
        "linear1.weight": (rows * 128, rows * 128),
        "linear2.weight": (rows * 128, rows * 128),
    }
    # Scores and their product with the values: 5 x 5 pairs, 8 features in all heads.
    assert count.other == 2 * (2 * 3 * 5 * 5 * 8)
    assert model.training
    assert torch.backends.mha.get_fastpath_enabled()


def test_recurrent_layers_count_every_step():
    count = count_flops(nn.LSTM(4, 3), torch.ones(6, 1, 4))
    assert _by_name(count) == {"weight_ih_l0": (6 * 96, 6 * 96), "weight_hh_l0": (6 * 72, 6 * 72)}


class _Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.head = nn.Linear(4, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def test_lookups_are_free_and_shared_weights_are_stored_once_but_work_twice():
    model = _Tied()
    count = count_flops(model, torch.zeros(2, 3, dtype=torch.long), {"head": torch.eye(11, 4, dtype=torch.bool)})
    assert _by_name(count) == {"embedding.weight": (2 * 6 * 44, 2 * 6 * 4)}
    assert (count.n_parameters, count.n_nonzero) == (44, 4)
    lookup = count_flops(nn.Embedding(11, 4), torch.zeros(2, 3, dtype=torch.long))
    assert (lookup.flops, lookup.layers, lookup.n_parameters) == (0, (), 44)


def test_a_layer_called_twice_works_twice():
    layer = nn.Linear(4, 4)
    count = count_flops(nn.Sequential(layer, nn.ReLU(), layer), torch.ones(1, 4), {"2": torch.ones(4, 4) > 0})
    assert _by_name(count) == {"0.weight": (2 * 32, 2 * 32)}
    assert count.n_parameters == 20


class _Halve(nn.Module):
    def forward(self, weight):
        return weight * (torch.arange(weight.numel()) % 2 == 0).reshape(weight.shape)


def test_parametrised_and_pruned_weights_count_as_they_are_used():
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 8), nn.Conv2d(1, 4, 2))
    parametrize.register_parametrization(model[0], "weight", _Halve())
    prune.random_unstructured(model[1], "weight", 12)
    parametrize.register_parametrization(model[2], "weight", _Halve())
    linear = count_flops(model[:2], torch.ones(1, 4))
    assert _by_name(linear) == {"0.weight": (16, 8), "1.weight": (32, 8)}
    assert _by_name(count_flops(model[2:], torch.ones(1, 1, 3, 3))) == {"2.weight": (128, 64)}
    assert not model[0]._forward_hooks
    assert list(effective_weights(model).tensors) == [
        "0.bias",
        "0.weight",
        "1.bias",
        "1.weight",
        "2.bias",
        "2.weight",
    ]


class _Functional(nn.Module):
    """Uses the weights of layers that it never calls, all of them views of one buffer."""

    def __init__(self):
        super().__init__()
        flat = torch.randn(2 * 12)
        self.first = nn.Parameter(flat[:12].view(3, 4))
        self.second = nn.Parameter(flat[12:].view(3, 4))

    def forward(self, x):
        return functional.linear(x, self.first) + functional.linear(x[:1], self.second)


def test_weights_are_told_apart_in_one_buffer():
    count = count_flops(_Functional(), torch.ones(5, 4), {"second": torch.eye(3, 4, dtype=torch.bool)})
    assert _by_name(count) == {"first": (120, 120), "second": (24, 6)}


def test_iso_flop_widths_need_as_many_operations():
    dense = count_flops(_mlp(16, 16, 16), torch.ones(1, 16))
    wide = _mlp(16, 64, 16)
    quarter = {
        name: torch.arange(16 * 64).reshape(p.shape) % 4 == 0 for name, p in wide.named_parameters() if p.ndim > 1
    }
    assert count_flops(wide, torch.ones(1, 16), quarter).sparse_flops == dense.flops


def test_transformers_models(tiny_models):
    bert, gpt2 = tiny_models
    tokens = {"input_ids": torch.ones(3, 5, dtype=torch.long)}
    rows, attention = 2 * 3 * 5, 2 * (2 * 3 * 5 * 5 * 8)
    count = count_flops(bert, tokens)
    assert count.flops == rows * (4 * 64 + 2 * 128) + 2 * 3 * 64 + attention
    assert count.other == attention
    # The head of GPT-2 is its embedding: read by the first layer for nothing, multiplied by at the end.
    count = count_flops(gpt2, tokens)
    assert dict(_by_name(count))["transformer.wte.weight"] == (rows * 20 * 8, rows * 20 * 8)
    assert count.flops == rows * (12 * 64 + 20 * 8) + attention


@pytest.fixture(scope="module")
def tiny_models():
    transformers = pytest.importorskip("transformers")
    ends = {"bos_token_id": 1, "eos_token_id": 1, "vocab_size": 20}
    bert = transformers.BertConfig(hidden_size=8, num_attention_heads=2, intermediate_size=16, num_hidden_layers=1)
    gpt2 = transformers.GPT2Config(n_embd=8, n_head=2, n_layer=1, **ends)
    return transformers.BertModel(bert), transformers.GPT2LMHeadModel(gpt2)


def test_models_without_values_count_all_the_same():
    with torch.device("meta"):
        model = _mlp(10_000, 100_000, 10_000)
    count = count_flops(model, torch.ones(2, 10_000, device="meta"))
    assert count.flops == count.sparse_flops == 2 * 2 * 2 * 10**9
    assert count.n_nonzero == count.n_parameters == 2 * 10**9 + 110_000


def test_bad_masks_are_refused():
    model = _mlp(4, 3, 2)
    x = torch.ones(1, 4)
    with pytest.raises(ValueError, match=r"got '0.wieght'; near names are .*0.weight"):
        count_flops(model, x, {"0.wieght": torch.ones(3, 4) > 0})
    with pytest.raises(ValueError, match=r"masks\['0.weight'\] must be a bool tensor of shape \(3, 4\)"):
        count_flops(model, x, {"0.weight": torch.ones(4, 3) > 0})
    with pytest.raises(ValueError, match=r"must be a bool tensor"):
        count_flops(model, x, {"0.weight": torch.ones(3, 4)})
    with pytest.raises(ValueError, match=r"masks must agree where weights are shared"):
        count_flops(
            _Tied(),
            torch.ones(1, dtype=torch.long),
            {"head": torch.ones(11, 4) > 0, "embedding": torch.ones(11, 4) < 0},
        )
