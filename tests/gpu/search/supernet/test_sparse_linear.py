"""The sparse layer of a search: which weights it uses, what its gradients are, and what a warm-up sees."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from sparsetheory.gpu import activations, core
from sparsetheory.gpu.search import SparseLinear


def _stored(layer):
    return layer.parametrizations.weight.original


def _inputs(n=6, width=8, dtype=torch.float64):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_outputs_and_gradients_are_those_of_the_surrogate(device, dtype):
    layer = SparseLinear(8, 5, 0.3, "random").to(device, dtype)
    x = _inputs(dtype=dtype).to(device)
    W, S = (one.detach().clone().requires_grad_() for one in (_stored(layer), layer.score))
    expected = functional.linear(x, W * (layer.mask + (S - S.detach())), layer.bias)
    out = layer(x)
    assert torch.equal(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    assert torch.equal(_stored(layer).grad, W.grad)
    assert torch.equal(layer.score.grad, S.grad)
    # Scores of weights that are out learn, or these could never come back.
    assert int((layer.score.grad[~layer.mask] != 0).sum()) > 0
    assert int(_stored(layer).grad[~layer.mask].count_nonzero()) == 0


def test_gradients_of_single_samples():
    layer = SparseLinear(8, 5, 0.3).double()
    x = _inputs()
    parameters = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(values, row):
        return torch.func.functional_call(layer, values, (row,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    layer(x).square().sum().backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(each[name].sum(0), parameter.grad)


def test_scores_start_at_relative_magnitudes_or_at_random():
    layer = SparseLinear(8, 5, 0.3)
    W = _stored(layer).detach()
    torch.testing.assert_close(layer.score.detach(), W.abs() / W.abs().max())
    assert torch.equal(layer.mask, core.PerTensor(0.3).mask(W.abs()))
    drawn = SparseLinear(8, 5, 0.3, "random")
    assert torch.equal(_stored(drawn), _stored(layer))
    assert bool(((drawn.score >= 0) & (drawn.score <= 1)).all())
    assert not torch.equal(drawn.mask, layer.mask)
    drawn.score_by_magnitude()
    assert torch.equal(drawn.score, layer.score)


def test_density_one_is_a_linear_layer_bit_for_bit():
    layer = SparseLinear(8, 5, 1.0)
    plain = nn.Linear(8, 5)
    plain.load_state_dict({"weight": _stored(layer), "bias": layer.bias})
    x = _inputs(dtype=torch.float32)
    assert torch.equal(layer(x), plain(x))


def test_the_count_is_exact_for_equal_scores_and_the_first_weights_win():
    layer = SparseLinear(4, 4, 0.25)
    with torch.no_grad():
        layer.score.fill_(0.5)
    layer(torch.ones(1, 4))
    assert layer.mask.flatten().tolist() == [True] * 4 + [False] * 12


def test_a_warm_up_is_dense_and_leaves_scores_alone():
    layer = SparseLinear(8, 5, 0.3)
    x = _inputs(dtype=torch.float32)
    layer.masked = False
    assert torch.equal(layer(x), functional.linear(x, _stored(layer), layer.bias))
    layer(x).sum().backward()
    assert layer.score.grad is None
    assert bool(layer.mask.all())
    layer.masked = True
    assert int(layer.weight.count_nonzero()) == core.PerTensor(0.3).count((5, 8))


def test_frozen_scores_keep_the_mask_through_training():
    layer = SparseLinear(8, 5, 0.3)
    layer.score.requires_grad_(False)
    before, out = layer.mask.clone(), _stored(layer).detach().clone()
    optimizer = torch.optim.Adam([p for p in layer.parameters() if p.requires_grad], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        layer(_inputs(dtype=torch.float32)).square().sum().backward()
        optimizer.step()
    assert torch.equal(layer.mask, before)
    assert torch.equal(_stored(layer).detach()[~before], out[~before])
    assert not torch.equal(_stored(layer).detach()[before], out[before])


def test_reports_masks_and_copies_see_the_weight_in_use():
    model = nn.Sequential(SparseLinear(8, 5, 0.3), nn.ReLU(), nn.Linear(5, 2))
    kept = core.PerTensor(0.3).count((5, 8))
    assert core.MaskSet.of(model)["0.weight"].sum() == kept
    count = core.count_flops(model, torch.ones(1, 8))
    assert [layer.sparse_flops for layer in count.layers] == [2 * kept, 20]
    assert core.sparsity_report(model, core.MaskSet.of(model)).layers[0].n_nonzero == kept
    twin = copy.deepcopy(model)
    x = _inputs(dtype=torch.float32)
    assert torch.equal(twin(x), model(x))
    fresh = nn.Sequential(SparseLinear(8, 5, 0.3, generator=7), nn.ReLU(), nn.Linear(5, 2))
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), model(x))
    parametrize.remove_parametrizations(model[0], "weight")
    assert torch.equal(twin(x), model(x))
    assert int(model[0].weight.count_nonzero()) == kept


def test_it_is_not_the_layer_that_is_sparse_in_its_inputs():
    assert SparseLinear is not activations.SparseLinear
    assert issubclass(SparseLinear, nn.Linear)


def test_bad_arguments_are_refused():
    for density in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="density must be a number in"):
            SparseLinear(8, 5, density)
    with pytest.raises(ValueError, match=r"density must keep at least 1 of 40 weights; got 0\.01"):
        SparseLinear(8, 5, 0.01)
    with pytest.raises(ValueError, match="score_init must be one of 'magnitude', 'random'"):
        SparseLinear(8, 5, 0.5, "ones")
    with pytest.raises(ValueError, match="in_features must be an integer from 1"):
        SparseLinear(0, 5, 0.5)


def test_scores_of_zero_weights_are_zero():
    layer = SparseLinear(4, 3, 0.5)
    with torch.no_grad():
        layer.parametrizations.weight.original.zero_()
    layer.score_by_magnitude()
    assert not layer.score.any()
