import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core import MaskSet, accuracy, count_flops, sparsity_report, train
from sparsetheory.gpu.core.datasets import load_digits
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.weights import finalize, live_masks, widen


def _convolutions():
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))
    second = nn.Sequential(nn.Conv2d(6, 10, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
    return nn.Sequential(first, second, nn.Linear(40, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 5))


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sparsity", [0.3, 0.75, 0.9])
def test_every_layer_keeps_as_many_weights_as_it_had(sparsity, device):
    model = MLP([20, 12, 9, 7]).to(device, torch.float64)
    found = widen(model, sparsity, generator=0)
    assert isinstance(found.model, MLP)
    factor = (1 - sparsity) ** -0.5
    widths = [found.model[0].in_features, *(found.model[index].out_features for index in (0, 2, 4))]
    assert widths == [20, round(12 * factor), round(9 * factor), 7]
    for index in (0, 2, 4):
        weight = found.model[index].weight
        assert int(weight.count_nonzero()) == model[index].weight.numel()
        assert (weight.device, weight.dtype) == (model[index].weight.device, torch.float64)
        assert not found.model[index].bias.any()
    assert found.ratio == 1.0
    assert found.masks == live_masks(found.model) == MaskSet.of(found.model)
    assert model[0].weight.shape == (12, 20)


def test_one_side_takes_the_root_of_the_density():
    found = widen(MLP([64, 16, 16, 10]), 0.9375, generator=0)
    assert found.masks.densities == {"0.weight": 0.25, "2.weight": 0.0625, "4.weight": 0.25}


@pytest.mark.parametrize(("sparsity", "multiplies"), [(0.0, 1440), (0.75, 2624), (0.9375, 4992)])
def test_dense_ends_cost_more_and_the_ratio_says_so(sparsity, multiplies):
    model = MLP([64, 16, 16, 10])
    found = widen(model, sparsity, dense_ends=True, generator=0)
    assert found.ratio == multiplies / 1440
    assert count_flops(found.model, torch.ones(1, 64)).sparse_flops == 2 * multiplies
    assert list(found.masks) == (["2.weight"] if sparsity else [])


def test_convolutions_normalisations_and_flattened_maps_grow_together():
    model = _convolutions()
    found = widen(model, 0.75, generator=0)
    wide = found.model
    assert [wide[0][0].weight.shape, wide[1][0].weight.shape] == [(12, 3, 3, 3), (20, 12, 3, 3)]
    assert (wide[0][1].num_features, wide[2].in_features, wide[3].num_features, wide[5].out_features) == (12, 80, 24, 5)
    assert wide[1][0].stride == (2, 2)
    assert wide(IMAGES).shape == (2, 5)
    counts = count_flops(wide, IMAGES)
    assert counts.sparse_flops == count_flops(model, IMAGES).flops
    assert found.ratio == 1.0
    report = sparsity_report(wide, found.masks)
    assert [one.name for one in report.layers] == ["0.0.weight", "1.0.weight", "2.weight", "5.weight"]


def test_convolutions_with_dense_ends_need_a_batch_to_be_counted():
    with pytest.raises(ValueError, match="batch must be given to count multiplications"):
        widen(_convolutions(), 0.75, dense_ends=True)
    found = widen(_convolutions(), 0.75, dense_ends=True, batch=IMAGES, generator=0)
    # The stem has 64 places, the second convolution 4; stem and head are twice as dear as before.
    stem, head, others = 162 * 64, 60, 540 * 4 + 480
    assert found.ratio == pytest.approx((2 * (stem + head) + others) / (stem + head + others))


def test_weights_start_as_published_or_rescaled_to_their_masks():
    model = MLP([300, 200, 200, 10])
    plain, rescaled = (widen(model, 0.75, rescale=rescale, generator=0) for rescale in (False, True))
    assert plain.masks == rescaled.masks
    mask = plain.masks["2.weight"]
    weight = plain.model[2].weight.detach()[mask]
    assert float(weight.var() * 400) == pytest.approx(2.0, rel=0.05)
    torch.testing.assert_close(rescaled.model[2].weight.detach()[mask], 2.0 * weight)


def test_the_seed_decides_and_global_random_numbers_are_not_drawn():
    model = MLP([8, 8, 8])
    state = torch.random.get_rng_state()
    first, again, other = (widen(model, 0.5, generator=seed) for seed in (0, 0, 1))
    assert first.masks == again.masks
    assert torch.equal(first.model(torch.ones(1, 8)), again.model(torch.ones(1, 8)))
    assert first.masks != other.masks
    assert torch.equal(torch.random.get_rng_state(), state)


def test_wide_networks_learn_digits_under_masks_that_stay():
    digits = load_digits()
    x, y = torch.from_numpy(digits.images).flatten(1), torch.from_numpy(digits.labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    found = widen(MLP([64, 16, 16, 10]), 0.75, generator=0)
    optimizer = torch.optim.SGD(found.model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    train(found.model, x[:1200], y[:1200], optimizer=optimizer, n_steps=200, batch_size=100)
    with torch.no_grad():
        assert accuracy(found.model(x[1200:]), y[1200:]) > 0.85
    assert MaskSet.of(found.model) == found.masks


def test_released_masks_leave_a_plain_network():
    found = widen(MLP([8, 8, 8]), 0.5, generator=0)
    before = found.model(torch.ones(1, 8))
    assert finalize(found.model) == found.masks
    assert torch.equal(found.model(torch.ones(1, 8)), before)
    assert set(found.model.state_dict()) == set(MLP([8, 8, 8]).state_dict())


def test_what_cannot_be_widened_is_named():
    linear = nn.Linear(4, 4)
    tied = nn.Sequential(linear, nn.ReLU(), linear)
    with pytest.raises(ValueError, match="model must have plain layers, each once; 2 is parametrised or occurs twice"):
        widen(tied, 0.5)
    pruned = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    parametrize.register_parametrization(pruned[1], "weight", nn.Identity())
    with pytest.raises(ValueError, match="1 is parametrised or occurs twice"):
        widen(pruned, 0.5)
    with pytest.raises(ValueError, match="model must hold layers that can be widened; 1 is LayerNorm"):
        widen(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4)), 0.5)
    with pytest.raises(ValueError, match="0 is Conv2d"):
        widen(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)), 0.5)
    with pytest.raises(ValueError, match="model must have at least two layers; got 1"):
        widen(nn.Sequential(nn.Linear(4, 4)), 0.5)
    with pytest.raises(ValueError, match=r"model must be a torch.nn.Sequential"):
        widen(linear, 0.5)
    with pytest.raises(ValueError, match="sparsity must be"):
        widen(MLP([4, 4, 4]), 1.0)
