"""The sparse layer does what the dense one does, with the weights that are kept."""

import copy
import math
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from sparsetheory.gpu.core import RowBlock
from sparsetheory.gpu.kernels import Rates, SparseConv1x1, pack_rows, rates, sparse_conv

_RTOL = {torch.float32: 1e-5, torch.float64: 1e-13, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def _drawn(m=9, k=12, size=(5, 6), count=2, density=0.3, dtype=torch.float32, seed=0, device="cpu"):
    draws = torch.Generator().manual_seed(seed)
    weight = torch.randn(m, k, generator=draws).to(device, dtype)
    mask = (torch.rand(m, k, generator=draws) < density).to(device)
    images = torch.randn(count, k, *size, generator=draws).to(device, dtype)
    return weight, mask, torch.randn(m, generator=draws).to(device, dtype), images


def _assert_dense(layer, weight, mask, bias, images):
    kept = (weight * mask).double()[:, :, None, None]
    expected = functional.conv2d(images.double(), kept, bias.double()).clamp(layer.lower, layer.upper)
    scale = functional.conv2d(images.double().abs(), kept.abs(), bias.double().abs())
    result = layer(images)
    assert result.dtype == images.dtype
    assert result.device == images.device
    assert result.is_contiguous()
    assert bool(((result.double() - expected).abs() <= _RTOL[images.dtype] * scale).all())


@settings(deadline=None)
@given(
    m=st.integers(1, 20),
    k=st.integers(1, 20),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    count=st.integers(1, 3),
    density=st.sampled_from([0.0, 0.2, 1.0]),
    block=st.sampled_from(["auto", 1, 4]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    break_even=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_layer_is_the_dense_convolution(m, k, height, width, count, density, block, dtype, break_even, seed):
    weight, mask, bias, images = _drawn(m, k, (height, width), count, density, dtype, seed)
    options = {"block": block, "bias": bias, "break_even": break_even}
    _assert_dense(SparseConv1x1.from_dense(weight, mask, **options), weight, mask, bias, images)
    clamped = SparseConv1x1.from_dense(weight, mask, **options, lower=0.0, upper=0.7)
    _assert_dense(clamped, weight, mask, bias, images)


def test_any_device(device):
    weight, mask, bias, images = _drawn(device=device)
    _assert_dense(SparseConv1x1.from_dense(weight, mask, bias=bias, upper=1.0), weight, mask, bias, images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_types_take_the_dense_way(dtype):
    weight, mask, bias, images = _drawn(dtype=dtype)
    _assert_dense(SparseConv1x1.from_dense(weight, mask, bias=bias, lower=0.0), weight, mask, bias, images)


def test_layer_moves_to_another_type_and_back():
    weight, mask, bias, images = _drawn()
    layer = SparseConv1x1.from_dense(weight, mask, bias=bias)
    first = layer(images)
    layer.double()
    _assert_dense(layer, weight.double(), mask, bias.double(), images.double())
    assert torch.equal(layer.float()(images), first)


@pytest.mark.parametrize("has_bias", [True, False])
def test_from_a_convolution(has_bias):
    dense = nn.Conv2d(12, 8, 1, bias=has_bias)
    mask = RowBlock(4, 0.25).mask(dense.weight.detach())
    layer = SparseConv1x1.from_dense(dense, mask, lower=0.0, upper=6.0)
    assert layer.block == 4
    assert layer.density == 0.25
    assert torch.equal(layer.to_dense(), dense.weight.detach() * mask)
    masked = copy.deepcopy(dense)
    masked.weight.data *= mask
    images = torch.randn(2, 12, 7, 7)
    expected = functional.relu6(masked(images)).detach()
    torch.testing.assert_close(layer(images), expected, rtol=1e-5, atol=1e-5)


def test_one_image_without_a_batch_and_batches_without_images():
    weight, mask, bias, images = _drawn()
    layer = SparseConv1x1.from_dense(weight, mask, bias=bias)
    assert torch.equal(layer(images[0]), layer(images)[0])
    assert layer(images[:0]).shape == (0, 9, 5, 6)
    assert layer(images[:, :, :0]).shape == (2, 9, 0, 6)


def _counted(monkeypatch):
    calls = []
    multiply = sparse_conv.multiply_memory
    monkeypatch.setattr(sparse_conv, "multiply_memory", lambda *given: calls.append(1) or multiply(*given))
    return calls


def test_dense_weights_are_multiplied_densely(monkeypatch):
    weight, mask, bias, images = _drawn(density=0.7)
    calls = _counted(monkeypatch)
    SparseConv1x1.from_dense(weight, mask, bias=bias)(images)
    assert not calls
    SparseConv1x1.from_dense(weight, mask, bias=bias, break_even=0.9)(images)
    assert calls


def test_measured_break_even_is_that_of_the_block_and_measured_once(monkeypatch):
    measured = []

    def measure(shape, *rest):
        measured.append(shape)
        return Rates(rate_single=1.0, rate_blocks=9.0, rate_dense=10.0)

    monkeypatch.setattr(rates, "_rates", measure)
    rates._measured.cache_clear()
    calls = _counted(monkeypatch)
    weight, mask, _, images = _drawn(m=12, k=33, density=0.4)
    for block, ways in ((1, 0), (4, 1)):
        wide = mask if block == 1 else mask[:3].repeat_interleave(4, 0)
        layer = SparseConv1x1.from_dense(weight, wide, block=block, break_even="measured")
        layer(images)
        layer(images[:1])
        assert len(calls) == 2 * ways
    assert measured == [(16, 64, 32)]
    rates._measured.cache_clear()


def test_measured_break_even_works_on_this_machine():
    weight, mask, bias, images = _drawn(m=3, k=4)
    layer = SparseConv1x1.from_dense(weight, mask, bias=bias, break_even="measured")
    _assert_dense(layer, weight, mask, bias, images)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"kernel_size": 3}, "kernel_size"),
        ({"kernel_size": 1, "stride": 2}, "stride"),
        ({"kernel_size": 1, "groups": 2}, "groups"),
        ({"kernel_size": 1, "padding": 1}, "padding"),
    ],
)
def test_other_convolutions_are_refused_by_name(options, name):
    with pytest.raises(ValueError, match=f"dense must have {name}="):
        SparseConv1x1.from_dense(nn.Conv2d(4, 8, **options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dense": nn.Linear(3, 4)}, "dense must be a torch.nn.Conv2d"),
        ({"dense": torch.ones(4, 3, 3, 3)}, "dense must have shape"),
        ({"dense": torch.ones(4, 3, dtype=torch.int32)}, "dense must have finite weights"),
        ({"dense": torch.full((4, 3), math.nan)}, "dense must have finite weights"),
        ({"mask": torch.ones(3, 4, dtype=torch.bool)}, "mask must be of bool"),
        ({"mask": torch.ones(4, 3)}, "mask must be"),
        ({"block": 2}, "block must be"),
        ({"bias": torch.ones(3)}, "bias must have shape"),
        ({"lower": 1.0, "upper": 0.0}, "lower must be at most upper"),
        ({"lower": math.nan}, "lower must be at most upper"),
        ({"break_even": 1.5}, "break_even must be"),
        ({"warn_layout": 1}, "warn_layout must be"),
    ],
)
def test_construction_checks_its_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        SparseConv1x1.from_dense(**({"dense": torch.ones(4, 3)} | change))


def test_images_that_do_not_fit_are_refused():
    layer = SparseConv1x1.from_dense(torch.ones(4, 3))
    with pytest.raises(ValueError, match="images must have shape"):
        layer(torch.ones(1, 4, 5, 5))
    with pytest.raises(ValueError, match="images must have shape"):
        layer(torch.ones(3, 5))
    with pytest.raises(ValueError, match=r"images must be of torch\.float32"):
        layer(torch.ones(1, 3, 5, 5, dtype=torch.float64))


def test_a_gradient_is_refused():
    layer = SparseConv1x1.from_dense(nn.Conv2d(3, 4, 1), break_even=1.0)
    images = torch.ones(1, 3, 5, 5, requires_grad=True)
    with pytest.raises(RuntimeError, match="no gradient"):
        layer(images)
    with torch.no_grad():
        assert not layer(images).requires_grad
    with torch.inference_mode():
        layer(images)
    layer.values.requires_grad_()
    with pytest.raises(RuntimeError, match="no gradient"):
        layer(images.detach())
    with torch.no_grad():
        layer(images.detach())


def test_other_layouts_are_copied_with_one_warning():
    weight, mask, bias, images = _drawn()
    layer = SparseConv1x1.from_dense(weight, mask, bias=bias)
    expected = layer(images)
    nhwc = images.to(memory_format=torch.channels_last)
    with pytest.warns(RuntimeWarning, match="warn_layout=False"):
        assert torch.equal(layer(nhwc), expected)
    quiet = SparseConv1x1.from_dense(weight, mask, bias=bias, warn_layout=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(layer(nhwc), expected)
        assert torch.equal(quiet(images.transpose(2, 3)), expected.transpose(2, 3))


def test_state_round_trip_takes_any_number_of_weights(tmp_path):
    weight, mask, bias, images = _drawn(m=16)
    trained = SparseConv1x1.from_dense(weight, mask, block=4, bias=bias)
    torch.save(nn.Sequential(trained).state_dict(), tmp_path / "state.pt")
    other = nn.Sequential(SparseConv1x1.from_dense(torch.zeros(16, 12)))
    assert other(images).abs().max() == 0
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other[0].block == 4
    assert torch.equal(other(images), trained(images))


def test_state_of_another_layer_is_refused_before_it_is_read():
    layer = SparseConv1x1.from_dense(torch.ones(4, 3))
    wider = SparseConv1x1.from_dense(torch.ones(4, 9), break_even=1.0)
    layer.load_state_dict(wider.state_dict())
    layer.break_even = 100.0
    with pytest.raises(ValueError, match="indices must be from 0 to 2"):
        layer(torch.ones(1, 3, 2, 2))


def test_copies_and_pickles_are_equal():
    weight, mask, bias, images = _drawn()
    layer = SparseConv1x1.from_dense(weight, mask, bias=bias, lower=0.0)
    expected = layer(images)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(images), expected)
        other.values.zero_()
        other.bias.zero_()
        assert other(images).abs().max() == 0
    assert torch.equal(layer(images), expected)


@pytest.mark.parametrize("break_even", [0.0, 1.0])
def test_changes_in_place_are_noticed(break_even):
    weight, mask, bias, images = _drawn()
    layer = SparseConv1x1.from_dense(weight, mask, bias=bias, break_even=break_even)
    expected = layer(images)
    layer.values.mul_(2)
    layer.bias.mul_(2)
    assert torch.equal(layer(images), 2 * expected)


@pytest.mark.parametrize("break_even", [0.0, 1.0])
def test_new_buffers_are_noticed(break_even):
    weight, mask, bias, images = _drawn()
    layer = SparseConv1x1.from_dense(weight, mask, bias=bias, break_even=break_even)
    layer(images)
    rows = pack_rows(2 * weight, mask)
    layer.values = rows.values
    layer.bias = 2 * bias
    _assert_dense(layer, 2 * weight, mask, 2 * bias, images)


def test_printed_form_says_what_it_is():
    layer = SparseConv1x1.from_dense(torch.eye(8), lower=0.0, upper=6.0)
    assert repr(layer) == "SparseConv1x1(8, 8, density=0.125, block=1, clamp=[0, 6])"
    assert "clamp" not in repr(SparseConv1x1.from_dense(torch.eye(8)))


def _running(block=1, **options):
    """A layer that has run, so that its arrays are prepared, with images."""
    weight, mask, bias, images = _drawn()
    layer = SparseConv1x1.from_dense(weight, mask, bias=bias, block=block, break_even=1.0, **options)
    with torch.no_grad():
        layer(images)
    return layer, images


@pytest.mark.parametrize("break_even", [0.0, 1.0])
def test_buffers_of_a_functional_call_are_taken(break_even):
    layer, images = _running()
    layer.break_even = break_even
    with torch.no_grad():
        layer(images)
        zeros = {name: torch.zeros_like(getattr(layer, name)) for name in ("values", "bias")}
        assert not torch.func.functional_call(layer, zeros, images).any()
        assert layer(images).any()


def test_positions_that_leave_the_images_are_refused_after_any_change():
    layer, images = _running()
    with torch.no_grad():
        layer.indices.fill_(10**6)
        with pytest.raises(ValueError, match="indices must be from 0 to 11"):
            layer(images)
        other, _ = _running()
        other.indices.data = other.indices + 10**6
        with pytest.raises(ValueError, match="indices must be from 0 to 11"):
            other(images)
        with torch.inference_mode():
            weight, mask, _, _ = _drawn()
            uncounted = SparseConv1x1.from_dense(weight.clone(), mask, block=1, break_even=1.0)
            before = uncounted(images)
            uncounted.indices.fill_(10**6)
            # Changes of such tensors cannot be seen; they are not followed either.
            assert torch.equal(uncounted(images), before)


def test_values_moved_elsewhere_are_noticed():
    layer, images = _running()
    layer.values.data = torch.zeros_like(layer.values)
    with torch.no_grad():
        assert torch.equal(layer(images), layer.bias[:, None, None].expand(2, 9, 5, 6))


def test_new_bounds_are_noticed():
    layer, images = _running()
    layer.lower, layer.upper = 0.0, 0.5
    with torch.no_grad():
        assert 0 <= float(layer(images).min()) <= float(layer(images).max()) <= 0.5


def test_states_with_more_rows_than_there_are_get_refused():
    layer, images = _running(block=4)
    layer.indptr = torch.zeros(12 + 3, dtype=torch.int32)
    layer.indices, layer.values = layer.indices[:0], layer.values[:0]
    with torch.no_grad(), pytest.raises(ValueError, match="indptr must"):
        layer(images)


def test_a_trace_computes_anew():
    layer, images = _running(lower=0.0)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(layer, images)
        other = images.flip(0) * 2
        torch.testing.assert_close(traced(other), layer(other), rtol=1e-5, atol=1e-5)


def test_negated_numbers_and_batches_of_functions():
    layer, images = _running()
    with torch.no_grad():
        negated = torch._neg_view(images)
        assert torch.equal(layer(negated), layer(-images))
        with pytest.raises(RuntimeError, match="data pointer"):
            torch.vmap(layer)(images[None])
