"""Models become Bayesian in place, at exact densities, and unchanged where that cannot be."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from sparsetheory.gpu.bayesian import BayesConv2d, BayesLinear, VariationalLayer, bayesianise
from sparsetheory.gpu.core import MaskSet, find_layers, sparsity_report
from sparsetheory.gpu.core.models import MLP


def _network():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, padding_mode="circular"),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 16, 3, stride=2, bias=False),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def test_layers_change_in_place_and_all_else_stays():
    model = _network()
    before, calls = dict(model.named_parameters()), []
    model[6].register_forward_hook(lambda *_: calls.append(1))
    assert bayesianise(model, 0.1, generator=0) is model
    assert [type(model[i]) for i in (0, 3, 4, 6)] == [BayesConv2d, nn.Conv2d, BayesConv2d, BayesLinear]
    assert all(dict(model.named_parameters())[name] is value for name, value in before.items())
    assert model(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert calls == [1]
    assert list(find_layers(model)) == ["0", "4", "6"]


def test_masks_have_the_density_and_the_first_layer_is_dense():
    model = bayesianise(_network(), 0.1, generator=0)
    assert [int(model[i].mask.sum()) for i in (0, 4, 6)] == [72, round(115.2), 64]
    model = bayesianise(_network(), 0.1, dense_first=False, generator=0)
    assert [int(model[i].mask.sum()) for i in (0, 4, 6)] == [7, 115, 64]
    for index in (0, 4, 6):
        layer = model[index]
        assert (layer.weight[~layer.mask] == 0).all()
        assert (layer.rho[~layer.mask] == 0).all()
        assert layer.prior_std == 0.005
    assert MaskSet.of(model) == MaskSet({f"{index}.weight": model[index].mask for index in (0, 4, 6)})
    report = sparsity_report(model, MaskSet.of(model))
    assert report.layers[2].n_nonzero == 64


def test_initial_values_are_the_published_ones():
    model = bayesianise(MLP([300, 400]), 1.0, generator=0)
    mean, sigma = model[0].mean.detach(), model[0].sigma.detach()
    assert abs(float(mean.std()) / 0.01 - 1) < 0.02
    # The mean of the size of a normal number with mean 6e-4 and standard deviation 5e-4.
    draw = (6e-4 + 5e-4 * torch.randn(10**6, generator=torch.Generator().manual_seed(7))).abs()
    assert abs(float(sigma.mean() / draw.mean()) - 1) < 0.02
    assert abs(float(sigma.std() / draw.std()) - 1) < 0.02
    assert sigma.min() > 0


def test_means_may_be_scaled_to_the_inputs_or_taken_over():
    model = bayesianise(MLP([300, 400]), 0.04, mu_std="fan_in", dense_first=False, generator=0)
    assert abs(float(model[0].mean.detach()[model[0].mask].std()) * (300 * 0.04) ** 0.5 - 1) < 0.05
    model = MLP([30, 20, 5])
    before = copy.deepcopy(model)
    bayesianise(model, 0.2, mu_std="pretrained", generator=0)
    assert torch.equal(model[0].mean, before[0].weight)
    kept, weight = model[2].mask, before[2].weight.detach()
    assert int(kept.sum()) == 20
    assert weight[kept].abs().min() >= weight[~kept].abs().max()
    assert torch.equal(model[2].mean[kept], weight[kept])
    assert torch.equal(model[2].bias, before[2].bias)


def test_a_seed_gives_the_same_model_and_another_one_another():
    states = [bayesianise(MLP([30, 20]), 0.3, dense_first=False, generator=seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in ("0.weight", "0.rho", "0.mask"))
    assert not any(torch.equal(states[0][name], states[2][name]) for name in ("0.weight", "0.rho", "0.mask"))


def test_layers_are_chosen_by_name():
    model = bayesianise(MLP([8, 8, 8, 8]), 0.5, layers="*", exclude="2", generator=0)
    assert [isinstance(model[i], VariationalLayer) for i in (0, 2, 4)] == [True, False, True]
    bayesianise(model, 0.25, layers="2", dense_first=False, generator=0)
    assert int(model[2].mask.sum()) == 16


def test_a_shared_module_is_one_layer():
    layer = nn.Linear(6, 6)
    model = bayesianise(nn.Sequential(layer, nn.ReLU(), layer), 0.5, dense_first=False, generator=0)
    assert model[0] is model[2]
    assert int(model[0].mask.sum()) == 18


def test_a_model_may_be_one_layer():
    assert isinstance(bayesianise(nn.Linear(6, 6), 0.5, generator=0), BayesLinear)


def test_dtype_and_device_stay(device):
    model = bayesianise(MLP([6, 6]).to(device, torch.bfloat16), 0.5, generator=0)
    layer = model[0]
    assert {value.dtype for value in (layer.weight, layer.rho)} == {torch.bfloat16}
    assert {value.device.type for value in (layer.weight, layer.rho, layer.mask)} == {device}
    assert layer.rho.isfinite().all()


def _tied():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight = model[0].weight
    return model


def test_layers_get_the_way_of_sampling_and_choose_their_products():
    model = bayesianise(_network(), 0.1, sampling="weights", generator=0)
    assert {model[index].sampling for index in (0, 4, 6)} == {"weights"}
    assert model[6].backend == "auto"


def test_deviations_that_are_rounded_to_zero_have_finite_parameters():
    model = bayesianise(MLP([6, 6]), 1.0, sigma_init=(0.0, 1e-60), generator=0)
    assert model[0].rho.isfinite().all()
    assert (model[0].sigma == 1e-12).all()


def test_frozen_layers_stay_frozen():
    model = MLP([6, 6, 6])
    model[0].requires_grad_(False)
    bayesianise(model, 0.5, generator=0)
    assert [layer.rho.requires_grad for layer in (model[0], model[2])] == [False, True]
    model(torch.ones(2, 6)).sum().backward()
    assert model[0].rho.grad is None


class _Own(nn.Linear):
    pass


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 4), parametrizations.weight_norm(nn.Linear(4, 4))), "1.weight .* computed"),
        (lambda: nn.Sequential(nn.Linear(4, 4), prune.random_unstructured(nn.Linear(4, 4), "weight", 1)), "1.weight"),
        (_tied, "0.weight must belong to 0 alone"),
        (lambda: nn.Sequential(nn.Linear(4, 4), _Own(4, 4)), "1 is _Own: leave it out"),
        (lambda: nn.Sequential(nn.Linear(4, 4), BayesLinear(4, 4)), "1 is BayesLinear"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)), "one of the 4 weights of 1; got 0.1"),
    ],
)
def test_what_cannot_be_converted_leaves_the_model_as_it_was(make, words):
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    classes = [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=words):
        bayesianise(model, 0.1, generator=0)
    assert [type(module) for module in model.modules()] == classes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"density": 0.0}, "density must be a number in"),
        ({"density": 1.5}, "density must be a number in"),
        ({"prior_std": 0.0}, "prior_std must be"),
        ({"mu_std": "normal"}, "mu_std must be"),
        ({"mu_std": -1.0}, "mu_std must be"),
        ({"sigma_init": (0.1,)}, "sigma_init must be two"),
        ({"sigma_init": (0.0, 0.0)}, "sigma_init must be two"),
        ({"sampling": "none"}, "sampling must be"),
        ({"dense_first": 1}, "dense_first must be"),
        ({"layers": "3"}, "layers must name"),
        ({"generator": "seed"}, "generator must be"),
    ],
)
def test_bad_arguments(arguments, words):
    model = MLP([4, 4])
    with pytest.raises(ValueError, match=words):
        bayesianise(model, **{"density": 0.5, **arguments})
    assert type(model[0]) is nn.Linear
