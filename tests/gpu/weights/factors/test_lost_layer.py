import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import count_flops, train
from sparsetheory.gpu.core.datasets import load_digits
from sparsetheory.gpu.weights import LOSTLinear, low_rank_plus_columns


def _inputs(device="cpu", dtype=torch.float64):
    return torch.randn(7, 20, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(device, dtype)


def test_the_output_is_the_weighted_sum_of_both_parts(device):
    layer = LOSTLinear(20, 14, 4, 3, gamma=0.6, generator=0).to(device, torch.float64)
    with torch.no_grad():
        layer.bias.normal_()
    x = _inputs(device)
    low = nn.functional.silu(x @ layer.inner.weight.T) @ layer.outer.weight.T
    columns = x[:, layer.channels] @ layer.columns.weight.T
    torch.testing.assert_close(layer(x), 0.6 * low + 0.4 * columns + layer.bias)
    assert layer(x.reshape(1, 7, 20)).shape == (1, 7, 14)


def test_it_starts_from_the_split_of_a_given_weight(device):
    dense = nn.Linear(20, 14).to(device, torch.float64)
    for method in ("lost", "alternating"):
        layer = LOSTLinear.from_linear(dense, 4, 3, method=method)
        found = low_rank_plus_columns(dense.weight, 4, 3, method)
        assert layer.channels.tolist() == found.indices.tolist()
        assert layer.inner.weight.dtype == torch.float64
        torch.testing.assert_close(layer.outer.weight @ layer.inner.weight, found.outer @ found.inner)
        # The weights themselves, not what the low rank leaves of them.
        assert torch.equal(layer.columns.weight, dense.weight[:, layer.channels])
        assert torch.equal(layer.bias, dense.bias)
    assert LOSTLinear.from_linear(nn.Linear(6, 5, bias=False), 2, 1).bias is None


def test_weights_and_multiplications_are_few():
    layer = LOSTLinear(20, 14, 4, 3, bias=False, generator=0)
    expected = 4 * (20 + 14) + 14 * 3
    assert sum(parameter.numel() for parameter in layer.parameters()) == expected
    assert count_flops(layer, torch.ones(1, 20)).flops == 2 * expected


def test_linear_layers_merge_and_others_do_not():
    layer = LOSTLinear(20, 14, 4, 3, activation="identity", generator=0).double()
    with torch.no_grad():
        layer.bias.normal_()
    torch.testing.assert_close(layer.merged()(_inputs()), layer(_inputs()))
    with pytest.raises(ValueError, match="activation must be 'identity' for factors to merge"):
        LOSTLinear(20, 14, 4, 3).merged()


def test_a_share_of_one_ignores_the_columns_and_of_zero_the_factors():
    for gamma, unused in ((1.0, "columns"), (0.0, "inner")):
        layer = LOSTLinear(20, 14, 4, 3, gamma=gamma, generator=0).double()
        before = layer(_inputs())
        with torch.no_grad():
            layer.get_submodule(unused).weight.fill_(torch.nan)
        assert torch.equal(layer(_inputs()), before)


@pytest.mark.parametrize("init", ["svd", "random"])
def test_seeds_dtypes_and_state_dicts(init):
    state = torch.random.get_rng_state()
    layer, again = (LOSTLinear(20, 14, 4, 3, init=init, generator=0) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    x = _inputs(dtype=torch.float32)
    assert torch.equal(layer(x), again(x))
    other = LOSTLinear(20, 14, 4, 3, init=init, generator=1)
    assert other.channels.tolist() != layer.channels.tolist()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), other(x))
    assert layer.to(torch.bfloat16)(x.to(torch.bfloat16)).dtype == torch.bfloat16
    assert layer.channels.dtype == torch.int64


def test_it_learns_digits():
    digits = load_digits()
    x, y = torch.from_numpy(digits.images).flatten(1), torch.from_numpy(digits.labels)
    model = nn.Sequential(LOSTLinear(64, 32, 8, 3, generator=0), nn.ReLU(), LOSTLinear(32, 10, 8, 2, generator=1))
    channels = model[0].channels.clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    run = train(model, x, y, optimizer=optimizer, n_steps=150, batch_size=100)
    assert run.losses[-1] < 0.3 * run.losses[0]
    assert torch.equal(model[0].channels, channels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 14}, "rank must be an integer from 1 to 13; got 14"),
        ({"n_channels": 21}, "n_channels must be an integer from 1 to 20; got 21"),
        ({"gamma": 1.1}, r"gamma must be a number in \[0, 1\]; got 1.1"),
        ({"init": "zeros"}, "init must be one of 'svd', 'random'; got 'zeros'"),
        ({"activation": "step"}, "activation must be one of"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LOSTLinear(**{"in_features": 20, "out_features": 14, "rank": 4, "n_channels": 3, **arguments})


def test_a_zero_weight_is_refused():
    dense = nn.Linear(6, 5)
    nn.init.zeros_(dense.weight)
    with pytest.raises(ValueError, match="weight must not be zero: factors that are both zero have zero gradients"):
        LOSTLinear.from_linear(dense, 2, 1)
