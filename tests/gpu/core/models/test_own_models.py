"""Our own models: shapes, stated initial variances, and seeds that decide all weights."""

import math

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.models import (
    MLP,
    Attention,
    CharacterDecoder,
    FeedForward,
    GatedFFN,
    PreNormBlock,
    VisionTransformer,
    initialise,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def _available(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return device


MAKERS = {
    "mlp": lambda seed: MLP([6, 8, 3], generator=seed),
    "decoder": lambda seed: CharacterDecoder(5, width=8, n_layers=2, n_heads=2, hidden=12, context=7, generator=seed),
    "vit": lambda seed: VisionTransformer(8, 4, width=8, n_layers=2, n_heads=2, hidden=12, generator=seed),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_seeds_decide_all_weights_whatever_the_global_state_is(make):
    torch.manual_seed(1)
    first = make(3).state_dict()
    torch.manual_seed(2)
    again, other = make(3).state_dict(), make(4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name, weight in first.items() if weight.numel() > 1 and weight.std() > 0]
    assert not [name for name in drawn if torch.equal(first[name], other[name])]
    # Norms and biases are all that is not drawn.
    assert all(name.endswith("bias") or "norm" in name for name in set(first) - set(drawn))


@pytest.mark.parametrize(
    ("initialisation", "variance"),
    [
        ("he_normal", 2 / 400),
        ("lecun_normal", 1 / 400),
        ("lecun_uniform", 1 / 1200),
        ("glorot_normal", 2 / 1000),
        ("glorot_uniform", 2 / 1000),
    ],
)
def test_initial_variances_are_as_stated(initialisation, variance):
    layer = nn.Linear(400, 600)
    initialise(layer, initialisation, 5)
    n = layer.weight.numel()
    # The relative standard error of a variance is at most sqrt(2 / n): 0.003 here; five of them.
    assert layer.weight.var().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))
    assert abs(layer.weight.mean().item()) < 5 * math.sqrt(variance / n)
    assert not layer.bias.count_nonzero()


def test_convolutions_count_their_window():
    layer = nn.Conv2d(16, 64, 5, groups=2)
    initialise(layer, "he_normal")
    assert layer.weight.var().item() == pytest.approx(2 / (8 * 25), rel=0.1)


def test_initialisation_keeps_dtype_and_norms():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.LayerNorm(4)).to(torch.float64)
    with torch.no_grad():
        model[1].weight.fill_(7)
    initialise(model, "he_normal")
    assert model[0].weight.dtype == torch.float64
    assert model[1].weight.min().item() == 7


def test_mlp_is_the_product_of_its_layers():
    model = MLP([4, 5, 3], activation="tanh", bias=False).double()
    x = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(6, 2, 2)
    first, last = model[0].weight, model[2].weight
    assert torch.allclose(model(x), (x.reshape(6, 4) @ first.T).tanh() @ last.T)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "2.weight"]


def test_gated_network_by_hand():
    network = GatedFFN(2, 1, activation="relu")
    with torch.no_grad():
        network.gate.weight.copy_(torch.tensor([[1.0, 0.0]]))
        network.up.weight.copy_(torch.tensor([[0.0, 3.0]]))
        network.down.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    assert network(torch.tensor([[2.0, 5.0], [-2.0, 5.0]])).tolist() == [[30.0, -30.0], [0.0, 0.0]]


def test_attention_is_that_of_torch():
    ours = Attention(8, 2, causal=True).double()
    theirs = nn.MultiheadAttention(8, 2, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.out_proj.weight.copy_(ours.out.weight)
    x = torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    assert torch.allclose(ours(x), theirs(x, x, x, attn_mask=later, need_weights=False)[0], atol=1e-12)


def test_block_normalises_first():
    block = PreNormBlock(nn.Identity(), FeedForward(4, 3, "relu"), 4).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    middle = x + nn.functional.layer_norm(x, (4,))
    last = block.feed_forward(nn.functional.layer_norm(middle, (4,)))
    assert torch.allclose(block(x), middle + last)


@pytest.mark.parametrize("device", DEVICES)
def test_decoder_never_looks_ahead(device):
    model = MAKERS["decoder"](0).to(_available(device)).double()
    tokens = torch.tensor([[0, 1, 2, 3, 4, 0, 1]], device=device)
    changed = tokens.clone()
    changed[0, 4:] = 2
    before, after = model(tokens), model(changed)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-12)
    assert not torch.allclose(before[:, 4], after[:, 4], atol=1e-3)
    assert before.shape == (1, 7, 5)
    assert before.device.type == device


@pytest.mark.parametrize("device", DEVICES)
def test_vision_transformer_sees_patches_row_by_row(device):
    model = MAKERS["vit"](0).to(_available(device)).double()
    images = torch.rand(3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
    seen = []
    handle = model.patches.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    assert model(images).shape == (3, 10)
    handle.remove()
    assert torch.equal(seen[0][1, 2], images[1, 4:, :4].flatten())
    assert torch.equal(model(images), model(images[:, None]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP([3]), "widths must hold at least two numbers"),
        (lambda: MLP([3, 0]), "widths must be an integer"),
        (lambda: MLP([3, 2], activation="rleu"), "activation must be one of 'gelu', .*; got 'rleu'"),
        (lambda: MLP([3, 2], initialisation="he"), "initialisation must be one of .*; got 'he'"),
        (lambda: MLP([3, 2], generator=-1), "generator must be"),
        (lambda: Attention(6, 4, causal=True), "width must be a multiple of n_heads=4; got 6"),
        (lambda: VisionTransformer(9, 4), "image_size must be a multiple of patch_size=4; got 9"),
        (lambda: MAKERS["decoder"](0)(torch.zeros(1, 8, dtype=torch.long)), "tokens must have at most 7 positions"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
