"""Networks without their dead neurons answer as before."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from sparsetheory.gpu.bayesian import bayesianise, remove_dead_neurons
from sparsetheory.gpu.core.models import MLP


def _pruned(model, density, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                kept = torch.rand(module.weight.shape, generator=generator) < density
                module.weight.masked_fill_(~kept, 0)
                if module.bias is not None:
                    module.bias.copy_(torch.randn(module.bias.shape, generator=generator))
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return model.double().eval()


def _alike(model, x):
    smaller = remove_dead_neurons(model)
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), model(x), rtol=0, atol=1e-12)
    return smaller


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "identity"])
@pytest.mark.parametrize("seed", range(5))
def test_networks_of_any_depth_and_density(seed, activation):
    model = _pruned(MLP([7, 20, 15, 10, 3], activation=activation), 0.08, seed)
    smaller = _alike(model, torch.randn(30, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
    widths = [layer.out_features for layer in smaller if isinstance(layer, nn.Linear)]
    assert widths[-1] == 3
    assert sum(widths) < 48
    # Nothing is left to remove, but for the one neuron that a layer keeps.
    hidden = [layer for layer in smaller if isinstance(layer, nn.Linear)]
    for before, after in pairwise(hidden):
        dead = ~before.weight.bool().any(1) | ~after.weight.bool().any(0)
        assert not dead.any() or before.out_features == 1


def test_what_is_dead_only_without_others_goes_too():
    model = MLP([2, 2, 2, 1]).double()
    with torch.no_grad():
        for layer in (model[0], model[2], model[4]):
            layer.weight.copy_(torch.eye(*layer.weight.shape))
        model[4].weight[0, 0] = 2.0
    smaller = _alike(model, torch.ones(1, 2, dtype=torch.float64))
    assert [smaller[i].out_features for i in (0, 2, 4)] == [1, 1, 1]


def test_constants_go_through_activations_into_the_next_bias():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight[0] = 0
        model[0].bias.copy_(torch.tensor([0.0, 1.0]))
        model[2].weight.copy_(torch.tensor([[3.0, 1.0]]))
    smaller = _alike(model, torch.randn(4, 2, dtype=torch.float64))
    assert smaller[2].bias.item() == pytest.approx(3.0 * 0.5)


def test_a_layer_whose_neurons_are_all_dead_keeps_one():
    model = _pruned(MLP([3, 5, 4, 2]), 1.0)
    with torch.no_grad():
        model[2].weight.zero_()
    smaller = _alike(model, torch.randn(6, 3, dtype=torch.float64))
    assert [smaller[i].out_features for i in (0, 2, 4)] == [1, 1, 2]


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_channels_of_convolutions(padding, seed):
    model = nn.Sequential(
        nn.Conv2d(2, 9, 3, padding=padding, bias=False),
        nn.BatchNorm2d(9),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Conv2d(9, 8, 3, padding=padding), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten()),
        nn.LazyLinear(5),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Linear(5, 2),
    )
    x = torch.randn(3, 2, 10, 10, generator=torch.Generator().manual_seed(seed))
    model.eval()(x)
    model = _pruned(model, 0.04, seed)
    smaller = _alike(model, x.double())
    places = smaller[4].in_features // smaller[3][0].out_channels
    assert places * smaller[3][0].out_channels == smaller[4].in_features
    assert smaller[3][0].out_channels < 8
    assert smaller[1].num_features == smaller[0].out_channels


def test_a_constant_is_not_folded_where_it_meets_padding():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 3, padding=1)).double()
    with torch.no_grad():
        model[0].weight[0] = 0
        model[0].bias.copy_(torch.tensor([1.0, 0.5]))
    assert _alike(model, torch.randn(1, 1, 4, 4, dtype=torch.float64))[0].out_channels == 2
    with torch.no_grad():
        model[0].bias[0] = 0
    assert _alike(model, torch.randn(1, 1, 4, 4, dtype=torch.float64))[0].out_channels == 1


@pytest.mark.parametrize(
    "between", [nn.Softmax(-1), nn.LayerNorm(4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 4)]
)
def test_neurons_that_are_mixed_or_not_settled_stay(between):
    if isinstance(between, nn.Linear):
        between = nn.utils.parametrizations.weight_norm(between)
    model = nn.Sequential(nn.Linear(3, 4), between, nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight[0] = 0
        model[2].weight[:, 1] = 0
    assert remove_dead_neurons(model)[0].out_features == 4


def test_a_linear_layer_on_pictures_is_left_alone():
    # It reads the last axis, not channels.
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        model[2].weight[:, 1] = 0
    assert _alike(model, torch.randn(2, 1, 4, 4, dtype=torch.float64))[0].out_channels == 4


def test_activations_in_place_leave_the_biases_alone():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[0].weight[0] = 0
        model[0].bias.copy_(torch.tensor([0.5, -0.5, 0.5]))
    assert _alike(model, torch.ones(1, 2, dtype=torch.float64))[0].bias.tolist() == [-0.5, 0.5]


@pytest.mark.parametrize(
    ("pool", "left"),
    [
        (nn.AvgPool2d(2), 1),
        (nn.AvgPool2d(2, divisor_override=3), 2),
        (nn.AvgPool2d(2, padding=1), 2),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), 1),
    ],
)
def test_means_over_places_of_which_some_are_padded_are_no_constants(pool, left):
    model = nn.Sequential(nn.Conv2d(1, 2, 1), pool, nn.Conv2d(2, 1, 1)).double()
    with torch.no_grad():
        model[0].weight[0] = 0
        model[0].bias[0] = 1.0
    assert _alike(model, torch.randn(1, 1, 4, 4, dtype=torch.float64))[0].out_channels == left


def test_a_bias_that_layers_share_is_not_changed_for_both():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).double()
    model[2].bias = model[4].bias
    with torch.no_grad():
        model[0].weight[0] = 0
    model[4].bias.requires_grad_(False)
    smaller = _alike(model, torch.randn(4, 2, dtype=torch.float64))
    assert smaller[0].out_features == 2
    assert not smaller[2].bias.requires_grad


def test_what_computes_in_its_own_way_stays():
    class Skip(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    skip = Skip(nn.Linear(4, 4), nn.Linear(4, 4))
    for layers in (skip, nn.Sequential(Doubled(4, 4), nn.Linear(4, 4))):
        layers[0].weight.data[0] = 0
    x = torch.randn(3, 4, dtype=torch.float64)
    assert _alike(nn.Sequential(skip, nn.Linear(4, 2)).double(), x)[0][0].out_features == 4
    assert _alike(layers.double(), x)[0].out_features == 4


def test_the_model_is_left_as_it_is_and_the_mode_kept():
    model = _pruned(MLP([3, 8, 2]), 0.2).train()
    state = copy.deepcopy(model.state_dict())
    smaller = remove_dead_neurons(model)
    assert smaller.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in smaller.parameters())


def test_bad_input():
    with pytest.raises(ValueError, match=r"model must be a torch\.nn\.Sequential"):
        remove_dead_neurons(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="call export_plain before"):
        remove_dead_neurons(bayesianise(MLP([2, 2]), 1.0))
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="must hold every layer once"):
        remove_dead_neurons(nn.Sequential(layer, layer))
