"""Layers as matrices: y = W x holds for linear layers, convolutions and those of GPT-2, and names are found."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core import find_layers
from sparsetheory.gpu.core.layers import as_weight, input_rows, is_transposed, weight_rows, write_rows

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return request.param


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CONVOLUTIONS = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"padding": (2, 0), "stride": (1, 3)},
    {"dilation": 2},
    {"dilation": (1, 2), "padding": 2, "stride": 2},
]


@pytest.mark.parametrize("settings", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("kernel", [1, 3, (2, 3)])
def test_convolutions_are_products_of_rows(device, settings, kernel):
    layer = nn.Conv2d(4, 5, kernel, dtype=torch.float64, **settings).to(device)
    x = _normal(2, 4, 9, 8).to(device)
    rows = input_rows(layer, x)
    y = rows @ weight_rows(layer).T + layer.bias
    expected = layer(x).flatten(2).transpose(1, 2)
    assert rows.shape[:2] == expected.shape[:2]
    # 36 products of order 1, in another order.
    assert torch.allclose(y, expected, rtol=0, atol=1e-12)
    assert torch.equal(input_rows(layer, x[0]), input_rows(layer, x[:1]))


@pytest.mark.parametrize("settings", CONVOLUTIONS, ids=str)
def test_rows_of_convolutions_are_explicit_patches(settings):
    layer = nn.Conv2d(3, 2, (2, 3), dtype=torch.float64, **settings)
    x = _normal(1, 3, 8, 9)
    (down, right), (top, left) = layer.stride, layer.padding
    padded = torch.zeros(3, 8 + 2 * top, 9 + 2 * left, dtype=torch.float64)
    padded[:, top : top + 8, left : left + 9] = x[0]
    patches = []
    for i in range(0, padded.shape[1] - layer.dilation[0], down):
        for j in range(0, padded.shape[2] - 2 * layer.dilation[1], right):
            places = [
                padded[:, i + a * layer.dilation[0], j + b * layer.dilation[1]] for a in range(2) for b in range(3)
            ]
            patches.append(torch.cat(places))
    assert torch.equal(input_rows(layer, x)[0], torch.stack(patches))


def test_consecutive_columns_of_convolutions_are_channels():
    layer = nn.Conv2d(4, 2, 3)
    assert torch.equal(weight_rows(layer)[:, 4:8], layer.weight.detach()[:, :, 0, 1])


def test_other_padding_is_refused():
    for settings in ({"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}):
        with pytest.raises(ValueError, match="padding must be given as numbers, with zeros"):
            input_rows(nn.Conv2d(1, 1, 3, **settings), torch.ones(1, 1, 5, 5))


def _gpt2_layer(inputs, outputs):
    return pytest.importorskip("transformers.pytorch_utils").Conv1D(outputs, inputs).double()


@pytest.mark.parametrize("make", [lambda a, b: nn.Linear(a, b, dtype=torch.float64), _gpt2_layer])
def test_linear_layers_are_products_of_rows(make):
    layer = make(6, 4)
    with torch.no_grad():
        layer.bias.copy_(_normal(4))
    x = _normal(3, 5, 6)
    assert weight_rows(layer).shape == (4, 6)
    assert torch.allclose(input_rows(layer, x) @ weight_rows(layer).T + layer.bias, layer(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", [nn.Linear, _gpt2_layer, lambda a, b: nn.Conv2d(a, b, (2, 3))])
def test_rows_are_written_where_they_were_read(make):
    layer = make(4, 3)
    for dtype in (torch.float32, torch.bfloat16):
        layer = layer.to(dtype)
        rows = _normal(*weight_rows(layer).shape)
        before = layer.weight
        write_rows(layer, rows)
        assert layer.weight is before
        assert layer.weight.dtype == dtype
        assert torch.equal(weight_rows(layer), rows.to(dtype))
        mask = rows > 0
        shaped = torch.zeros_like(layer.weight, dtype=torch.bool)
        shaped[layer.weight > 0] = True
        assert torch.equal(weight_rows(layer, shaped), weight_rows(layer) > 0)
        assert int(mask.sum()) == int(weight_rows(layer, shaped).sum())
    assert not weight_rows(layer).requires_grad


@pytest.mark.parametrize("make", [nn.Linear, _gpt2_layer, lambda a, b: nn.Conv2d(a, b, (2, 3))])
def test_rows_are_shaped_as_the_weight_again(make):
    layer = make(4, 3)
    assert torch.equal(as_weight(layer, weight_rows(layer)), layer.weight)


def test_there_is_nothing_to_write_to_in_a_parametrised_weight():
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Identity())
    with pytest.raises(ValueError, match="parametri"):
        write_rows(layer, torch.ones(2, 2))


def test_only_layers_of_gpt2_are_transposed():
    class Conv1D(nn.Module):
        pass

    assert is_transposed(_gpt2_layer(2, 3))
    assert not is_transposed(Conv1D())
    assert not is_transposed(nn.Linear(2, 3))


def _network():
    shared = nn.Linear(3, 3)
    blocks = [nn.ModuleDict({"query": nn.Linear(3, 3), "key": nn.Linear(3, 3)}) for _ in range(2)]
    return nn.ModuleDict(
        {
            "encoder": nn.ModuleList(blocks),
            "stem": nn.Conv2d(1, 2, 3),
            "grouped": nn.Conv2d(2, 2, 3, groups=2),
            "norm": nn.LayerNorm(3),
            "first": shared,
            "second": shared,
        }
    )


def test_layers_are_found_by_name_and_pattern_in_the_order_of_the_model():
    model = _network()
    every = ["encoder.0.query", "encoder.0.key", "encoder.1.query", "encoder.1.key", "stem", "first"]
    assert list(find_layers(model)) == every
    assert list(find_layers(model, "*.query")) == ["encoder.0.query", "encoder.1.query"]
    assert list(find_layers(model, ["stem", "encoder.0.*"])) == ["encoder.0.query", "encoder.0.key", "stem"]
    assert list(find_layers(model, exclude=["stem", "encoder.*"])) == ["first"]
    assert find_layers(model)["first"] is model["first"]
    assert list(find_layers(nn.Linear(2, 2))) == [""]
    assert find_layers(model, []) == {}


@pytest.mark.parametrize("argument", ["layers", "exclude"])
def test_unknown_names_list_near_ones(argument):
    model = _network()
    with pytest.raises(
        ValueError, match=rf"{argument} must .*'encoder.0.qery' matches none; near names are encoder.0.query"
    ):
        find_layers(model, **{argument: "encoder.0.qery"})
    for name in ("norm", "grouped", "encoder"):
        with pytest.raises(ValueError, match=f"{name!r} matches none"):
            find_layers(model, **{argument: name})


def test_a_name_unlike_all_others_lists_the_first_ones():
    with pytest.raises(ValueError, match=r"'#' matches none; the first are encoder.0.query, "):
        find_layers(_network(), "#")


def test_a_model_without_layers_says_so():
    with pytest.raises(ValueError, match="the model has no linear or convolutional layer"):
        find_layers(nn.ReLU())
