"""Exported networks are the noise-free ones bit by bit, and their zeros survive training."""

import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.bayesian import (
    SSVIScheduler,
    bayesianise,
    export_plain,
    freeze_pruned,
    sampling,
    variational_layers,
)
from sparsetheory.gpu.core import MaskSet, class_loss, run_masked, train
from sparsetheory.gpu.core.models import MLP


def _network(density=0.4, dtype=torch.float32):
    body = [nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 3)]
    model = bayesianise(nn.Sequential(*body), density, mu_std=0.3, dense_first=False, generator=0).to(dtype)
    with torch.no_grad():
        for layer in variational_layers(model).values():
            # What is stored off the mask does not count.
            layer.weight.add_(0.01)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_those_without_noise_bit_by_bit(dtype, training, device):
    model = _network(dtype=dtype).to(device).train(training)
    model[4].eval()
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    plain = export_plain(model)
    assert [type(layer) for layer in (plain[0], plain[4])] == [nn.Conv2d, nn.Linear]
    assert (plain.training, plain[4].training, plain[0].weight.dtype) == (training, False, dtype)
    with sampling(model, "mean"), torch.no_grad():
        assert torch.equal(copy.deepcopy(plain)(x), copy.deepcopy(model)(x))


def test_convolutions_keep_their_geometry():
    options = {"stride": 2, "padding": 2, "dilation": 2, "padding_mode": "circular", "bias": False}
    model = bayesianise(nn.Sequential(nn.Conv2d(2, 4, 3, **options)), 0.5, dense_first=False, mu_std=0.3, generator=0)
    x = torch.randn(2, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    with sampling(model, "mean"), torch.no_grad():
        assert torch.equal(export_plain(model)(x), model(x))


def test_further_masks_are_those_of_a_masked_run():
    model = _network().eval()
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    masks = {"4.weight": torch.rand(3, 96, generator=torch.Generator().manual_seed(1)) < 0.5}
    plain = export_plain(model, masks)
    with sampling(model, "mean"), torch.no_grad():
        (expected,) = run_masked(model, masks, [x])
        assert torch.equal(plain(x), expected)
    assert torch.equal(plain[4].weight != 0, model[4].mask & masks["4.weight"])
    assert torch.equal(plain[0].weight != 0, model[0].mask)


def test_the_network_is_left_as_it_is():
    model = _network()
    state = copy.deepcopy(model.state_dict())
    plain = export_plain(model)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert len(variational_layers(model)) == 2


@pytest.mark.parametrize("rule", ["grad", "gain"])
def test_what_trains_the_network_stays_behind(rule):
    model = bayesianise(MLP([6, 8, 3]), 0.5, dense_first=False, generator=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    SSVIScheduler(model, optimizer, rule=rule, period=2, t_end=10, n_samples=40)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    calls.clear()
    # A copy of a copy: what a hook holds must not be half of a copy.
    for one in (model, copy.deepcopy(model)):
        plain = export_plain(one)
        copy.deepcopy(plain)(x)
        hooks = [hook for m in plain.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
        assert len(hooks) == 1
    # The hook of the user came along.
    assert len(calls) == 2


def test_what_is_not_trained_stays_so():
    model = bayesianise(MLP([4, 3, 2]), 0.5, dense_first=False, generator=0)
    model[0].weight.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    plain = export_plain(model)
    assert [p.requires_grad for p in plain.parameters()] == [False, True, True, False]


def test_products_on_few_weights_agree_up_to_rounding():
    model = bayesianise(MLP([30, 40, 5]), 0.05, mu_std="fan_in", dense_first=False, generator=0).double()
    assert model[0].backend == "auto"
    x = torch.randn(7, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with sampling(model, "mean"), torch.no_grad():
        torch.testing.assert_close(export_plain(model)(x), model(x), rtol=0, atol=1e-13)


def test_a_layer_that_occurs_twice_is_exported_once():
    layer = nn.Linear(4, 4)
    model = bayesianise(nn.Sequential(layer, nn.ReLU(), layer), 0.5, dense_first=False, generator=0)
    plain = export_plain(model)
    assert plain[0] is plain[2]
    assert type(export_plain(bayesianise(nn.Sequential(nn.Linear(3, 3)), 1.0)[0])) is nn.Linear


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, lambda p, lr: torch.optim.SGD(p, lr, 0.9, weight_decay=0.1)])
def test_zeros_stay_while_the_rest_is_trained(optimizer):
    model = export_plain(bayesianise(MLP([6, 12, 3]), 0.3, mu_std=0.3, dense_first=False, generator=0))
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 0).long()
    masks, before = MaskSet.of(model), copy.deepcopy(model.state_dict())
    made = optimizer(model.parameters(), lr=0.05)
    with freeze_pruned(made, model):
        train(model, x, y, optimizer=made, n_steps=20)
    assert MaskSet.of(model) == masks
    moved = (model[0].weight != before["0.weight"])[masks["0.weight"]].float().mean()
    assert moved > 0.5
    assert class_loss(model(x), y) < class_loss(torch.func.functional_call(model, before, x), y)
    # Without the gate the optimiser goes on as it likes.
    train(model, x, y, optimizer=made, n_steps=3)
    assert MaskSet.of(model) != masks


def test_given_masks_are_applied_and_a_kept_zero_moves():
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.0, 1.0]]))
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    with freeze_pruned(adam, model, {"0.weight": torch.tensor([[True, False]])}):
        assert not model[0].weight.any()
        model(torch.ones(1, 2)).sum().backward()
        adam.step()
    assert (model[0].weight[0, 0] != 0, model[0].weight[0, 1] == 0) == (True, True)


def test_an_optimiser_is_as_before_if_the_zeros_cannot_be_set():
    class Raised(nn.Module):
        def forward(self, x):
            return x + 1

        def right_inverse(self, x):
            return x

    model = nn.Sequential(nn.Linear(3, 2))
    nn.utils.parametrize.register_parametrization(model[0], "weight", Raised())
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"0\.weight"):
        freeze_pruned(sgd, model, {"0.weight": torch.zeros(2, 3, dtype=torch.bool)})
    before = model[0].weight.clone()
    model(torch.ones(1, 3)).sum().backward()
    sgd.step()
    assert (model[0].weight != before).all()


def test_bad_input():
    model = _network()
    with pytest.raises(ValueError, match="model must have layers with normal weights"):
        export_plain(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="named as one of"):
        export_plain(model, {"1.weight": torch.ones(6, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"of shape \(3, 96\)"):
        export_plain(model, {"4.weight": torch.ones(3, 3, dtype=torch.bool)})
    with pytest.raises(TypeError, match="masks must hold tensors of bool"):
        export_plain(model, {"4.weight": torch.ones(3, 96)})
    plain = MLP([4, 3])
    state = copy.deepcopy(plain.state_dict())
    other = torch.optim.SGD(MLP([4, 3]).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="optimi"):
        freeze_pruned(other, plain, {"0.weight": torch.zeros(3, 4, dtype=torch.bool)})
    assert torch.equal(plain[0].weight, state["0.weight"])
