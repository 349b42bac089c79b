"""Layers with normal weights: moments, masks, divergence, copies, precision; mistakes that are easily made."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sparsetheory.gpu.bayesian import BayesConv2d, BayesLinear
from sparsetheory.gpu.bayesian.layers.softplus import inverse_softplus

CONVOLUTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "padding_mode": "circular"},
    {"padding": 1, "padding_mode": "reflect"},
    {"padding": (2, 1), "padding_mode": "replicate"},
    {"dilation": 2, "groups": 2, "bias": False},
]


def _linear(seed=0, density=0.4, dtype=torch.float64, **options):
    source = torch.Generator().manual_seed(seed)
    return _drawn(BayesLinear(7, 5, dtype=dtype, generator=seed, **options), density, source)


def _conv(seed=0, density=0.5, **options):
    source = torch.Generator().manual_seed(seed)
    layer = BayesConv2d(4, 6, 3, dtype=torch.float64, generator=seed, **options)
    return _drawn(layer, density, source)


def _drawn(layer, density, source):
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=source))
        layer.rho.copy_(torch.randn(layer.weight.shape, generator=source))
        layer.set_mask(torch.rand(layer.weight.shape, generator=source) < density)
    return layer


def _plain(layer, x, weight, bias):
    """Compute what the layer of torch does with other weights."""
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, bias)
    plain = copy.deepcopy(layer)
    plain.__class__ = nn.Conv2d
    del plain._parameters["rho"], plain._buffers["mask"]
    plain.weight, plain.bias = nn.Parameter(weight), None if bias is None else nn.Parameter(bias)
    return plain(x)


def _inputs(layer, n=3):
    shape = (n, 7) if isinstance(layer, nn.Linear) else (n, 4, 6, 7)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


LAYERS = [_linear, *(lambda options=options, **more: _conv(**options, **more) for options in CONVOLUTIONS)]


@pytest.mark.parametrize("make", LAYERS)
def test_without_noise_it_is_the_layer_of_torch_with_masked_means(make):
    layer = make(sampling="mean")
    x, mean = _inputs(layer), layer.weight.detach() * layer.mask
    torch.testing.assert_close(layer(x), _plain(layer, x, mean, layer.bias))


@pytest.mark.parametrize("make", LAYERS)
def test_one_set_of_weights_serves_the_whole_batch(make):
    layer = make(sampling="weights")
    x = _inputs(layer, n=1).expand(4, *_inputs(layer).shape[1:])
    found = layer(x)
    assert (found == found[:1]).all()
    assert not torch.equal(found, layer(x))


@pytest.mark.parametrize("make", LAYERS)
def test_local_noise_has_the_mean_and_the_variance_of_random_weights(make):
    layer, n = make(), 4000
    x = _inputs(layer, n=1)
    with torch.no_grad():
        drawn = layer(x.expand(n, *x.shape[1:]))
    sigma = functional.softplus(layer.rho.detach()) * layer.mask
    mean = _plain(layer, x, layer.weight.detach() * layer.mask, layer.bias).detach()[0]
    variance = _plain(layer, x**2, sigma**2, None).detach()[0]
    off = (drawn.mean(0) - mean).abs() / (variance / n).sqrt().clamp_min(1e-9)
    assert off.max() < 6
    ratio = drawn.var(0)[variance > 0] / variance[variance > 0]
    assert (ratio - 1).abs().max() < 6 * (2 / n) ** 0.5


def test_there_is_no_noise_where_no_active_weight_sees_an_input():
    layer = _linear(density=1.0, bias=False)
    mask = torch.ones_like(layer.mask)
    mask[0], mask[1, :3] = False, False
    layer.set_mask(mask)
    x = torch.zeros(50, 7, dtype=torch.float64)
    x[:, 0] = 1000.0
    found = layer(x).abs().amax(0)
    assert found[:2].max() < 1e-100
    assert found[2:].min() > 1.0


def test_gradients_are_finite_where_the_variance_is_zero():
    layer = _linear(dtype=torch.float32)
    x = torch.zeros(4, 7, requires_grad=True)
    layer(x).square().sum().backward()
    for value in (x.grad, layer.weight.grad, layer.rho.grad):
        assert value.isfinite().all()


@pytest.mark.parametrize("make", [_linear, _conv])
def test_what_is_stored_off_the_mask_does_not_count(make):
    for sampling in ("local", "weights", "mean"):
        layer = make(sampling=sampling)
        other = copy.deepcopy(layer)
        with torch.no_grad():
            other.weight.masked_fill_(~layer.mask, float("nan"))
            other.rho.masked_fill_(~layer.mask, 50.0)
        x = _inputs(layer)
        assert torch.equal(layer(x), other(x))
        assert torch.equal(layer.kl(0.3), other.kl(0.3))


def test_a_parameter_of_zero_is_an_active_weight():
    # A deviation of softplus(0) = 0.69 was once taken for the sign of a masked weight.
    layer = _linear(density=1.0)
    with torch.no_grad():
        layer.rho.zero_()
    assert (layer.sigma - torch.tensor(2.0, dtype=torch.float64).log()).abs().max() < 1e-15
    assert layer.kl(1.0) > 0


@pytest.mark.parametrize("make", [_linear, _conv])
def test_the_divergence_is_that_of_torch(make):
    layer = make()
    on = layer.mask
    own = Normal(layer.weight.detach()[on], functional.softplus(layer.rho.detach()[on]))
    expected = kl_divergence(own, Normal(torch.zeros((), dtype=torch.float64), 0.3)).sum()
    torch.testing.assert_close(layer.kl(0.3), expected, rtol=1e-12, atol=0.0)
    layer.kl(0.3).backward()
    assert (layer.weight.grad[~on] == 0).all()
    assert (layer.rho.grad[~on] == 0).all()
    torch.testing.assert_close(layer.weight.grad[on], (layer.weight.detach() / 0.09)[on])


def test_the_divergence_takes_the_prior_of_the_layer():
    layer = _linear(prior_std=0.3)
    assert torch.equal(layer.kl(), layer.kl(0.3))
    with pytest.raises(ValueError, match="prior_std must be a finite positive number; got None"):
        _linear().kl()


def test_the_divergence_of_low_precision_is_summed_in_single_precision():
    layer = BayesLinear(500, 500, prior_std=0.1).bfloat16()
    with torch.no_grad():
        layer.rho.fill_(-5.03)
    low = (layer.kl(),)
    with torch.autograd.forward_ad.dual_level():  # computed entry by entry
        low += (layer.kl(),)
    expected = layer.double().kl().float()
    for found in low:
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("make", [_linear, _conv])
def test_dense_gradients_are_those_of_a_plain_layer_with_the_same_means(make):
    layer = make(sampling="mean")
    x = _inputs(layer)
    layer(x).square().sum().backward()
    masked = layer.weight.grad.clone()
    assert (masked[~layer.mask] == 0).all()
    layer.zero_grad()
    layer.dense_gradient = True
    layer(x).square().sum().backward()
    weight = (layer.weight.detach() * layer.mask).requires_grad_()
    if isinstance(layer, nn.Linear):
        functional.linear(x, weight, layer.bias.detach()).square().sum().backward()
    else:
        functional.conv2d(x, weight, layer.bias.detach()).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)
    torch.testing.assert_close(layer.weight.grad[layer.mask], masked[layer.mask])
    assert (layer.weight.grad[~layer.mask] != 0).all()


@pytest.mark.parametrize("make", [_linear, _conv])
def test_training_and_evaluation_mode_are_alike(make):
    layer = make()
    x = _inputs(layer)
    found = []
    for mode in (True, False):
        layer.generator.manual_seed(5)
        found.append(layer.train(mode)(x))
    assert torch.equal(*found)


@pytest.mark.parametrize("make", [_linear, _conv])
def test_noise_comes_from_the_generator_and_else_from_the_global_stream(make):
    layer = make()
    x = _inputs(layer)
    for sampling in ("local", "weights"):
        layer.sampling, found = sampling, []
        for generator in (torch.Generator().manual_seed(3), None):
            layer.generator = generator
            torch.manual_seed(3)
            found.append(layer(x))
        assert torch.equal(*found)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("make", [lambda: _linear(density=0.05), _conv])
def test_copies_are_alike_and_independent(make, copied):
    layer = make()
    x = _inputs(layer)
    for _ in range(4):
        layer.mask.copy_(layer.mask.clone())
    layer(x)  # the support of the mask is known now, after some changes
    other = copied(layer)
    assert torch.equal(layer(x), other(x))
    # A copy counts changes of its mask anew; after some of them it has counted as many as the original had.
    for changes in range(1, 6):
        other = copied(layer)
        other.sampling = "mean"
        with torch.no_grad():
            for _ in range(changes):
                other.mask.copy_(torch.rand(other.mask.shape) < 0.1)
            other.weight.fill_(1.0)
        torch.testing.assert_close(other(x), _plain(other, x, other.mask.double(), other.bias))
    assert not torch.equal(layer.mask, other.mask)


def test_states_are_plain_tensors():
    layer, other, file = _linear(seed=1), _linear(seed=2), io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other(_inputs(other))
    other.load_state_dict(torch.load(file, weights_only=True))
    other.sampling = layer.sampling = "mean"
    assert torch.equal(other(_inputs(other)), layer(_inputs(layer)))
    assert torch.equal(other.mask, layer.mask)


def test_changes_of_the_mask_in_place_are_seen():
    layer = BayesLinear(40, 30, bias=False, sampling="mean", backend="sparse")
    x = torch.ones(2, 40)
    for share in (0.5, 0.1, 0.02):
        with torch.no_grad():
            layer.mask.copy_(torch.rand(30, 40) < share)
        torch.testing.assert_close(layer(x), x @ (layer.weight * layer.mask).T)


def test_another_mask_in_its_place_is_seen():
    first, second = (_linear(seed, density=0.05, sampling="mean", bias=False) for seed in (1, 2))
    x = _inputs(first)
    expected = second(x)
    assert first.mask._version == second.mask._version
    assert not torch.equal(first(x), expected)
    found = torch.func.functional_call(first, {"weight": second.weight, "mask": second.mask}, (x,))
    assert torch.equal(found, expected)
    first.load_state_dict(second.state_dict(), assign=True)
    assert torch.equal(first(x), expected)


def test_layers_that_are_made_in_inference_mode():
    with torch.inference_mode():
        layer, x = BayesLinear(40, 30, bias=False, sampling="mean", backend="sparse"), torch.ones(2, 40)
        for share in (0.5, 0.05):
            layer.set_mask(torch.rand(30, 40) < share)
            torch.testing.assert_close(layer(x), x @ (layer.weight * layer.mask).T)


@pytest.mark.parametrize("backend", ["auto", "sparse"])
def test_changes_of_the_mask_that_torch_does_not_count_are_seen(backend):
    # Broadcasts of buffers and processes that share memory make such changes too.
    layer = BayesLinear(40, 30, bias=False, sampling="mean", backend=backend)
    x = torch.ones(2, 40)
    layer(x)
    for share in (0.05, 0.02):
        version, mask = layer.mask._version, torch.rand(30, 40) < share
        layer.mask.data.copy_(mask)
        assert layer.mask._version == version
        torch.testing.assert_close(layer(x), x @ (layer.weight * mask).T)
        assert torch.equal(layer.sigma != 0, mask)


def test_with_workers_masks_are_read_entry_by_entry_on_devices_that_would_be_waited_for(device, monkeypatch):
    layer = BayesLinear(40, 30, bias=False, sampling="mean").to(device)
    x = torch.ones(2, 40, device=device)
    assert not layer._is_watched()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    for n_workers in (1, 2):
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda n=n_workers: n)
        assert layer._is_watched() == (device != "cpu" and n_workers > 1)
    layer(x)
    mask = torch.rand(30, 40, device=device) < 0.05
    layer.mask.data.copy_(mask)
    torch.testing.assert_close(layer(x), x @ (layer.weight * mask).T)


def test_noise_of_a_generator_is_drawn_on_the_cpu_whatever_the_default_device():
    layer = BayesLinear(3, 3, generator=0)
    expected = copy.deepcopy(layer)(torch.ones(2, 3))
    x = torch.ones(2, 3)
    with torch.device("meta"):
        found = layer(x)
    assert torch.equal(found, expected)


def test_the_order_of_memory_changes_no_noise():
    layer = _conv(density=0.5)
    x = _inputs(layer)
    for sampling, own in itertools.product(("local", "weights"), (True, False)):
        found = []
        for order in (torch.contiguous_format, torch.channels_last):
            other = copy.deepcopy(layer).to(memory_format=order)
            other.sampling, other.generator = sampling, other.generator if own else None
            torch.manual_seed(7)
            found.append(other(x.to(memory_format=order)))
        torch.testing.assert_close(*found)
        assert found[1].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("sampling", ["local", "weights", "mean"])
@pytest.mark.parametrize("make", [lambda: BayesLinear(64, 32), lambda: BayesConv2d(4, 8, 3)])
def test_mixed_precision(make, sampling):
    layer = make()
    layer.sampling = sampling
    x = torch.randn(5, 64) if isinstance(layer, nn.Linear) else torch.randn(5, 4, 8, 8)
    with torch.no_grad():
        layer.rho.fill_(-30.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    layer.sampling = "mean"
    torch.testing.assert_close(found.float(), layer(x), rtol=0.05, atol=0.05)
    low = layer.bfloat16()
    low.sampling = sampling
    assert low(x.bfloat16()).dtype == torch.bfloat16
    found.sum().backward()


def test_small_deviations_survive_half_precision():
    # Squares of 1e-4 are 0 in float16.
    layer = BayesLinear(64, 500, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.rho.copy_(inverse_softplus(torch.full_like(layer.rho, 1e-4)))
    with torch.autocast("cpu", dtype=torch.float16):
        found = layer(torch.ones(20, 64)).detach().float()
    assert abs(float(found.std()) / 8e-4 - 1) < 0.1
    assert layer.half()(torch.ones(20, 64).half()).dtype == torch.float16


def test_devices(device):
    torch.manual_seed(0)
    layer = BayesLinear(20, 10, generator=4).to(device)
    layer.set_mask(torch.rand(10, 20) < 0.3)
    found = layer(torch.ones(3, 20, device=device))
    (found.sum() + layer.kl(1.0)).backward()
    assert found.device.type == device
    # Noise is drawn on the CPU, so that it is the same on all devices.
    noise = torch.randn(3, 10, generator=torch.Generator().manual_seed(4))
    std = layer.sigma.square().sum(1).sqrt()
    expected = layer.mean.sum(1) + layer.bias + std * noise.to(device)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("sampling", ["local", "mean"])
@pytest.mark.parametrize("make", [_linear, _conv])
def test_gradients_are_the_same_under_transforms(make, sampling):
    layer = make(sampling=sampling)
    x, values = _inputs(layer), {"weight": layer.weight, "rho": layer.rho}

    def loss(values):
        layer.generator.manual_seed(5)
        return torch.func.functional_call(layer, values, (x,)).square().sum()

    def divergence(values):
        with torch.nn.utils.stateless._reparametrize_module(layer, values):
            return layer.kl(0.5)

    for function in (loss, divergence):
        plain = torch.autograd.grad(function(values), values.values(), allow_unused=True)
        transformed = torch.func.grad(function)({name: value.detach() for name, value in values.items()})
        for one, other in zip(plain, transformed.values(), strict=True):
            torch.testing.assert_close(torch.zeros_like(other) if one is None else one, other)


def test_compilation():
    layer = _linear(density=0.05, sampling="mean", prior_std=0.5)
    compiled = torch.compile(lambda x: layer(x).sum() + layer.kl(), backend="eager", fullgraph=True)
    x = _inputs(layer)
    torch.testing.assert_close(compiled(x), layer(x).sum() + layer.kl())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("density", [0.05, 1.0])
def test_traces_of_torchscript(density):
    layer = _linear(density=density, sampling="mean")
    x = _inputs(layer)
    layer(x)
    traced = torch.jit.trace(layer, x)
    torch.testing.assert_close(traced(3 * x), layer(3 * x))


@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("reentrant", [True, False])
def test_training_with_activation_checkpoints(reentrant, density):
    found = []
    for checkpointed in (False, True):
        torch.manual_seed(0)  # the bias
        layer = _linear(density=density, sampling="mean", prior_std=0.5)
        x = _inputs(layer).requires_grad_()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            output = checkpoint(layer, x, use_reentrant=reentrant) if checkpointed else layer(x)
            (output.square().sum() + layer.kl()).backward()
            with torch.no_grad():
                layer(x)
            optimizer.step()
        found.append(layer.weight.detach())
    torch.testing.assert_close(*found)


def test_shapes_without_values():
    with torch.device("meta"):
        layer = BayesConv2d(3, 4, 3, sampling="weights")
        assert layer(torch.ones(2, 3, 5, 5)).shape == (2, 4, 3, 3)


def test_function_transforms_and_higher_derivatives_pass():
    layer = _linear(density=0.05, sampling="mean", bias=False)
    x = _inputs(layer)
    jacobian = torch.func.jacrev(layer)(x[0])
    torch.testing.assert_close(jacobian, layer.mean)
    layer.backend = "sparse"
    layer.set_mask(torch.rand(5, 7) < 0.4)
    torch.autograd.gradgradcheck(lambda x: layer(x) ** 2, (x.requires_grad_(),))


def test_bad_arguments():
    with pytest.raises(ValueError, match="sampling must be one of 'local', 'weights', 'mean'; got 'none'"):
        BayesLinear(2, 2, sampling="none")
    with pytest.raises(ValueError, match="prior_std must be None or a finite positive number; got 0"):
        BayesConv2d(1, 1, 1, prior_std=0)
    with pytest.raises(ValueError, match="backend must be one of 'auto', 'dense', 'sparse'"):
        BayesLinear(2, 2, backend="csr")
    with pytest.raises(ValueError, match="mask must be a bool tensor of shape"):
        BayesLinear(2, 2).set_mask(torch.ones(2, 2))
    with pytest.raises(ValueError, match="got 'sparse' for torch"):
        BayesLinear(2, 2, backend="sparse", dtype=torch.bfloat16)(torch.ones(1, 2, dtype=torch.bfloat16))


@pytest.mark.parametrize("make", [_linear, _conv])
@pytest.mark.parametrize("how", ["local", "weights", "mean"])
def test_a_layer_that_was_used_in_inference_mode_first_may_be_trained(make, how):
    layer = make(prior_std=0.5, sampling=how)
    twin = copy.deepcopy(layer)
    x = _inputs(layer)
    for one in (layer, twin):
        # Another mask than the one that the layer knows.
        one.set_mask(~one.mask)
    with torch.inference_mode():
        layer(x)
    twin(x)
    gradients = [
        torch.autograd.grad(one(x).square().sum() + one.kl(), [one.weight, one.rho], materialize_grads=True)
        for one in (layer, twin)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
