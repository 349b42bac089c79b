"""Linear layers that skip zeros give what dense ones with the same zeros give."""

import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.kernels import PackedLinear, deploy, rates


def _masked(rows, columns, density=0.2, *, block=1, dtype=torch.float32, bias=True):
    generator = torch.Generator().manual_seed(rows + columns)
    layer = nn.Linear(columns, rows, bias=bias, dtype=dtype)
    places = torch.rand(-(-rows // block), columns, generator=generator) < density
    with torch.no_grad():
        layer.weight.copy_(torch.randn(rows, columns, generator=generator, dtype=dtype))
        layer.weight.masked_fill_(~places.repeat_interleave(block, 0)[:rows], 0)
    return layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "columns", "block"), [(10, 7, 1), (12, 30, 4), (14, 30, 4), (3, 1, 1)])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (33,), (2, 3), (2, 0), (0,)])
def test_outputs_are_those_of_the_dense_layer(rows, columns, block, dtype, shape):
    dense = _masked(rows, columns, block=block, dtype=dtype)
    layer = PackedLinear.from_dense(dense, block=block)
    x = torch.randn(*shape, columns, generator=torch.Generator().manual_seed(1), dtype=dtype)
    with torch.inference_mode():
        found, expected = layer(x), dense(x)
    assert (found.shape, found.dtype) == (expected.shape, dtype)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-13)


@pytest.mark.parametrize("break_even", [0.0, "measured"])
def test_other_ways_to_compute_agree(break_even, device):
    dense = _masked(12, 20).to(device)
    layer = PackedLinear.from_dense(dense, break_even=break_even)
    with torch.inference_mode():
        x = torch.randn(9, 20, device=device)
        torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=1e-5)
    half = PackedLinear.from_dense(dense.to(torch.bfloat16))
    with torch.inference_mode():
        assert half(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 20), (3, 5, 20), (20,), (0, 20)])
def test_what_stays_dense_computes_as_a_linear_layer(dtype, shape):
    dense = _masked(12, 20, dtype=torch.float64).to(dtype)
    layer = PackedLinear.from_dense(dense, break_even=0.0, upper=0.5)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.inference_mode():
        found = layer(x)
        # To the bit, and as contiguous as its outputs are.
        assert torch.equal(found, dense(x).clamp(max=0.5))
        assert found.is_contiguous()


def test_inputs_that_are_not_contiguous(device):
    dense = _masked(12, 20).to(device)
    whole = torch.randn(20, 6, 40, device=device)
    for x in (whole[:, :, 0].T, whole[:, :, ::2].transpose(0, 2)[:20], whole[3, :, 5:25]):
        for break_even in (0.0, 1.0):
            layer = PackedLinear.from_dense(dense, break_even=break_even)
            with torch.inference_mode():
                torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=1e-5)


def test_a_measured_break_even_is_that_of_the_batch(monkeypatch):
    asked = []

    def measure(shape, density, dtype, repeats, rng, samples):
        asked.append((shape, samples))
        return rates.Rates(1.0, 1.0, 1.0 if shape[2] > 2 else 1e9)

    monkeypatch.setattr(rates, "_rates", measure)
    rates._measured.cache_clear()
    layer = PackedLinear.from_dense(_masked(12, 20), break_even=1.0)
    layer.break_even = "measured"
    try:
        with torch.inference_mode():
            shapes = [(1, 20), (20,), (2, 20), (3, 20), (2, 2, 20)]
            ways = [layer._skips_zeros(torch.zeros(1, 20, 1, torch.zeros(shape).numel() // 20)) for shape in shapes]
            # Samples that were computed with zeros lie side by side.
            assert [layer(torch.randn(shape)).is_contiguous() for shape in shapes] == [True, True, True, False, False]
    finally:
        rates._measured.cache_clear()
    assert ways == [False, False, False, True, True]
    assert asked == [((16, 32, 1), True), ((16, 32, 2), True), ((16, 32, 4), True)]


def test_a_chain_of_layers_transposes_once():
    first, second = (PackedLinear.from_dense(_masked(*shape)) for shape in ((16, 10), (4, 16)))
    with torch.inference_mode():
        hidden = first(torch.randn(6, 10))
        assert hidden.T.is_contiguous()
        rest = hidden.relu()
        # What an activation leaves is still so, and the next layer reads it without a copy.
        assert rest.T.is_contiguous()
        assert rest.T.contiguous().data_ptr() == rest.data_ptr()
        assert second(rest).shape == (6, 4)


def test_state_bias_bounds_and_names():
    dense = _masked(8, 6)
    layer = PackedLinear.from_dense(dense, lower=0.0)
    assert (layer.in_features, layer.out_features) == (6, 8)
    assert layer.density == int((dense.weight != 0).sum()) / 48
    assert torch.equal(layer.weight, dense.weight.detach())
    other = PackedLinear.from_dense(torch.zeros(8, 6), torch.zeros(8, 6, dtype=torch.bool), lower=0.0)
    other.load_state_dict(layer.state_dict())
    with torch.inference_mode():
        x = torch.randn(5, 6)
        assert torch.equal(other(x), layer(x))
        assert torch.equal(copy.deepcopy(layer)(x), layer(x))
        torch.testing.assert_close(layer(x), dense(x).relu(), rtol=0, atol=1e-5)
    assert not PackedLinear.from_dense(_masked(8, 6, bias=False)).bias.any()


@pytest.mark.parametrize("batch", [1, 50])
def test_a_pruned_network_is_deployed(batch):
    model = MLP([20, 16, 12, 3]).eval()
    for layer, block in zip((model[0], model[2]), (4, 1), strict=True):
        layer.weight.data = _masked(layer.out_features, layer.in_features, block=block).weight.data
    found = deploy(model, break_even=0.5)
    assert [(layer.name, layer.block, layer.folded) for layer in found.layers] == [("0", 4, ("1",)), ("2", 1, ("3",))]
    assert type(found.model[4]) is nn.Linear
    with torch.inference_mode():
        x = torch.randn(batch, 20)
        torch.testing.assert_close(found.model(x), model(x), rtol=0, atol=1e-5)
    entries = int((model[0].weight != 0).sum())
    assert found.layers[0].n_bytes == 4 * (entries + entries // 4 + 16 // 4 + 1 + 16)
    entries = int((model[2].weight != 0).sum())
    assert found.layers[1].n_bytes == 4 * (entries + entries + 12 + 1 + 12)


@pytest.mark.parametrize("activation", [nn.ReLU6(), nn.Hardtanh(-0.2, 0.1), nn.ReLU()])
@pytest.mark.parametrize("break_even", [0.0, 1.0])
def test_both_bounds_of_an_activation_are_folded(activation, break_even):
    model = nn.Sequential(_masked(12, 20), activation).eval()
    x = 9 * torch.randn(30, 20, generator=torch.Generator().manual_seed(0))
    found = deploy(model, break_even=break_even)
    assert found.layers[0].folded == ("1",)
    with torch.inference_mode():
        torch.testing.assert_close(found.model(x), model(x), rtol=0, atol=1e-4)


def test_an_activation_of_its_own_kind_is_not_folded():
    class Shifted(nn.ReLU):
        def forward(self, x):
            return super().forward(x) - 1

    model = nn.Sequential(_masked(4, 6), Shifted()).eval()
    assert [layer.folded for layer in deploy(model).layers] == [()]


def test_a_density_at_the_break_even_is_computed_with_zeros():
    model = nn.Sequential(nn.Linear(4, 4)).eval()
    model[0].weight.data = torch.eye(4)
    for break_even, dense in ((0.25, False), (0.24, True)):
        found = deploy(model, break_even=break_even, block=1)
        assert found.layers[0].falls_back is dense
        with torch.inference_mode():
            # What is computed with zeros has samples side by side.
            assert found.model(torch.randn(3, 4)).is_contiguous() is dense


def test_a_given_bias_takes_the_place_of_that_of_the_layer():
    layer = PackedLinear.from_dense(_masked(8, 6), bias=torch.arange(8.0))
    with torch.inference_mode():
        torch.testing.assert_close(layer(torch.zeros(2, 6)), torch.arange(8.0).expand(2, 8))


def test_what_derives_from_a_linear_layer_stays():
    class Own(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    model = nn.Sequential(Own(4, 4), nn.Linear(4, 4)).eval()
    for layer in model:
        layer.weight.data[0] = 0
    assert [layer.name for layer in deploy(model).layers] == ["1"]
    with pytest.raises(ValueError, match="layers must be linear"):
        deploy(model, "0")


def test_a_normalisation_behind_a_linear_layer_is_not_folded():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.BatchNorm2d(4)).eval()
    model[0].weight.data[0] = 0
    model[3].weight.data[0] = 0
    assert [layer.folded for layer in deploy(model).layers] == [(), ()]


def test_an_encoder_that_reads_its_layers_keeps_its_answers():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    encoder.linear1.weight.data[:8] = 0
    model, x = nn.Sequential(encoder).eval(), torch.randn(2, 5, 8)
    found = deploy(model, fold=False)
    assert [layer.name for layer in found.layers] == ["0.linear1"]
    with torch.inference_mode():
        torch.testing.assert_close(found.model(x), model(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PackedLinear.from_dense(nn.Conv2d(3, 3, 1)), r"dense must be a torch\.nn\.Linear"),
        (lambda: PackedLinear.from_dense(torch.zeros(2, 2, 1, 1)), "dense must be"),
        (lambda: PackedLinear.from_dense(torch.full((2, 2), torch.nan)), "dense must have finite weights"),
        (lambda: PackedLinear.from_dense(torch.eye(3))(torch.zeros(4)), r"x must have shape \(\.\.\., 3\)"),
        (lambda: PackedLinear.from_dense(torch.eye(3))(torch.tensor(1.0)), r"x must have shape \(\.\.\., 3\)"),
        (lambda: PackedLinear.from_dense(torch.eye(3))(torch.zeros(2, 3).double()), "x must be of torch.float32"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message), torch.inference_mode():
        call()


def test_a_gradient_is_refused():
    with pytest.raises(RuntimeError, match="no gradient"):
        PackedLinear.from_dense(torch.eye(3))(torch.zeros(2, 3, requires_grad=True))
