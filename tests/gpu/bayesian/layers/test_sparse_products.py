"""Products at the weights on the mask alone, against dense ones."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.bayesian import BayesConv2d, BayesLinear, bayesianise, kl_divergence
from sparsetheory.gpu.bayesian.layers.sparse_products import moments, support_of
from sparsetheory.gpu.core import class_loss, count_flops
from sparsetheory.gpu.core.models import MLP


def _pair(density, dtype=torch.float64, shape=(30, 70), **options):
    """Return two equal layers, one with dense products and one with sparse ones, and equal streams of noise."""
    made = []
    for backend in ("dense", "sparse"):
        torch.manual_seed(0)
        layer = BayesLinear(shape[1], shape[0], dtype=dtype, backend=backend, generator=1, **options)
        layer.set_mask(torch.rand(layer.mask.shape) < density)
        made.append(layer)
    return made


def _results(layer, x):
    x = x.clone().requires_grad_()
    found = layer(x)
    weights = torch.cos(torch.arange(found.numel(), dtype=found.dtype)).reshape(found.shape)
    (found * weights).sum().backward()
    rho = torch.zeros(()) if layer.rho.grad is None else layer.rho.grad
    return found.detach(), x.grad, layer.weight.grad, rho, layer.bias.grad


@pytest.mark.parametrize("sampling", ["local", "weights", "mean"])
@pytest.mark.parametrize("shape", [(1, 70), (128, 70), (129, 70), (700, 70), (3, 5, 70), (0, 70), (70,)])
def test_dense_and_sparse_products_agree(sampling, shape):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for dense_gradient in (False, True):
        layers = _pair(0.1, sampling=sampling)
        for layer in layers:
            layer.dense_gradient = dense_gradient
        for dense, sparse in zip(*(_results(layer, x) for layer in layers), strict=True):
            torch.testing.assert_close(sparse, dense.expand_as(sparse), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("density", [0.0, 0.01, 1.0])
def test_rows_and_columns_without_weights(density):
    for dense, sparse in zip(
        *(_results(layer, torch.ones(4, 70)) for layer in _pair(density, torch.float32)), strict=True
    ):
        torch.testing.assert_close(sparse, dense, rtol=1e-4, atol=1e-4)


def test_first_and_second_derivatives_of_both_moments():
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    support = support_of(mask)
    n = len(support.places)
    draw = torch.Generator().manual_seed(1)
    given = [torch.randn(shape, dtype=torch.float64, generator=draw).requires_grad_() for shape in ((3, 6), (n,), (n,))]

    def both(*args):
        return moments(*args, support)

    assert torch.autograd.gradcheck(both, given)
    assert torch.autograd.gradgradcheck(both, given)
    # First derivatives that are to be differentiated again are computed in another way, which the check does not see.
    total = sum(moment.sin().sum() for moment in both(*given))
    once = torch.autograd.grad(total, given, retain_graph=True)
    again = torch.autograd.grad(total, given, create_graph=True)
    torch.testing.assert_close(again, once)


@pytest.mark.parametrize("backend", ["auto", "sparse"])
@pytest.mark.parametrize("shape", [(2, 69), (2, 71), (2, 7000), (70, 2), ()])
def test_inputs_of_another_width_are_refused_before_the_kernel_reads_beyond_them(backend, shape):
    layer = _pair(0.05)[1]
    layer.backend = backend
    with pytest.raises(ValueError, match=r"x must have shape \(..., 70\); got \("):
        layer(torch.ones(shape, dtype=torch.float64))
    with pytest.raises(ValueError, match="x must be a tensor"):
        layer(torch.ones(2, 70).double().numpy())


def test_entries_must_be_as_many_as_the_mask_has():
    support, x, one = support_of(torch.tensor([[True, False], [True, True]])), torch.ones(4, 2), torch.ones(3)
    for short in (one[:2], torch.ones(4), torch.ones(3, 1)):
        with pytest.raises(ValueError, match=r"means must have shape \(3,\), one for each weight on the mask"):
            moments(x, short, None, support)
        with pytest.raises(ValueError, match="variances must have shape"):
            moments(x, one, short, support)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_layers_without_inputs_or_outputs(shape):
    for layer in _pair(0.5, shape=shape):
        found = layer(torch.ones(3, shape[1], dtype=torch.float64))
        assert found.shape == (3, shape[0])
        found.sum().backward()
        assert layer.weight.grad.shape == shape
        assert layer.kl(1.0) == 0


def test_second_derivatives_of_dense_gradients():
    found = []
    for layer in _pair(0.3, shape=(4, 6), sampling="local"):
        layer.dense_gradient = True
        x = torch.linspace(-1, 1, 18, dtype=torch.float64).reshape(3, 6).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(x).pow(3).sum(), layer.weight, create_graph=True)
        assert (gradient[~layer.mask] != 0).any()
        found.append(torch.autograd.grad(gradient.square().sum(), (x, layer.weight, layer.rho, layer.bias)))
    for dense, sparse in zip(*found, strict=True):
        torch.testing.assert_close(sparse, dense, rtol=1e-9, atol=1e-9)


def test_derivatives_in_forward_mode():
    layer = BayesLinear(70, 30, sampling="mean")
    layer.set_mask(torch.rand(30, 70, generator=torch.Generator().manual_seed(0)) < 0.05)
    x, along = torch.ones(2, 70), torch.randn(2, 70, generator=torch.Generator().manual_seed(1))
    with torch.autograd.forward_ad.dual_level():
        found = torch.autograd.forward_ad.unpack_dual(layer(torch.autograd.forward_ad.make_dual(x, along)))
    torch.testing.assert_close(found.tangent, along @ layer.mean.T)


def test_the_support_lists_the_mask_row_after_row():
    mask = torch.tensor([[False, True, True], [False, False, False], [True, False, False]])
    support = support_of(mask)
    assert support.indptr.tolist() == [0, 2, 2, 3]
    assert support.indices.tolist() == [1, 2, 0]
    assert support.places.tolist() == [1, 2, 6]
    assert torch.equal(support.matrix(torch.ones(3)), mask.float())


class _Marked(torch.Tensor):
    pass


def test_sparse_products_are_chosen_at_low_density_only(monkeypatch):
    taken = []
    original = BayesLinear._sparse
    monkeypatch.setattr(BayesLinear, "_sparse", lambda self, x, s: (taken.append(self), original(self, x, s))[1])
    sparse, dense = BayesLinear(50, 40), BayesLinear(50, 40)
    sparse.set_mask(torch.arange(2000).reshape(40, 50) % 10 == 0)
    dense.set_mask(torch.arange(2000).reshape(40, 50) % 9 == 0)
    x = torch.ones(2, 50)
    for layer in (sparse, dense):
        layer(x)
    assert taken == [sparse]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sparse(x)
    torch.func.vmap(sparse, randomness="different")(x)
    assert type(sparse(x.as_subclass(_Marked))) is _Marked
    sparse.double()(x.double())
    assert taken == [sparse, sparse]


def test_counts_of_operations_see_two_products_of_every_layer():
    model = bayesianise(MLP([64, 32, 10]), 0.05, dense_first=False, generator=0)
    masks = {f"{index}.weight": model[index].mask for index in (0, 2)}
    products = 2 * 8 * (64 * 32 + 32 * 10)
    for sampling, times in (("local", 2), ("weights", 1), ("mean", 1)):
        for layer in (model[0], model[2]):
            layer.sampling = sampling
        count = count_flops(model, torch.ones(8, 64), masks)
        assert (count.flops, count.other) == (times * products, 0)
        assert count.sparse_flops == times * 2 * 8 * sum(int(mask.sum()) for mask in masks.values())


def test_counts_of_operations_see_convolutions():
    layer = BayesConv2d(3, 4, 3, padding=1)
    layer.set_mask(torch.rand(layer.mask.shape, generator=torch.Generator().manual_seed(0)) < 0.2)
    count = count_flops(nn.Sequential(layer), torch.ones(2, 3, 5, 5), {"0.weight": layer.mask})
    assert (count.flops, count.other) == (2 * 2 * 2 * 25 * 108, 0)
    assert count.sparse_flops == 2 * 2 * 2 * 25 * int(layer.mask.sum())


def test_training_goes_the_same_way():
    losses = []
    for backend in ("dense", "sparse"):
        model = bayesianise(MLP([20, 40, 3]), 0.1, prior_std=0.1, mu_std="fan_in", dense_first=False, generator=0)
        for layer in (model[0], model[2]):
            layer.backend, layer.generator = backend, torch.Generator().manual_seed(3)
        model.double()
        x = torch.randn(60, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
        y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(30):
            optimizer.zero_grad()
            loss = class_loss(model(x), y) + 0.01 / 60 * kl_divergence(model)
            loss.backward()
            optimizer.step()
        losses.append(float(loss.detach()))
        assert all((layer.weight[~layer.mask] == 0).all() for layer in (model[0], model[2]))
    assert abs(losses[0] - losses[1]) < 1e-6 * losses[0]
