"""Random masks of nodes and weights: exact counts, what they compute, and what is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsetheory.gpu import core
from sparsetheory.gpu.search import NodeSampler, SparseLinear, WeightSampler, node_indicators, remove_nodes


def _mlp(*widths, seed=0, dtype=torch.float64, activation="relu"):
    model = core.models.MLP(widths, generator=seed, activation=activation).to(dtype)
    with torch.no_grad():
        for name, bias in model.named_parameters():
            if name.endswith("bias"):
                bias.copy_(torch.randn(bias.shape, generator=torch.Generator().manual_seed(seed)))
    return model


@given(st.integers(1, 20), st.integers(1, 20), st.floats(0.01, 1.0), st.integers(1, 4), st.integers(0, 99))
def test_node_counts_are_exact_and_masks_are_products(first, second, density, least, seed):
    model = core.models.MLP([5, first, second, 3])
    masks = list(NodeSampler(density, min_nodes=least)(model, seed).values())
    kept = [min(width, max(least, round(density * width))) for width in (first, second)]
    assert [int(mask.sum()) for mask in masks] == [5 * kept[0], kept[0] * kept[1], kept[1] * 3]
    # The rows of a layer that stay are the columns that stay of the next one.
    assert torch.equal(masks[0].any(1), masks[1].any(0))
    assert torch.equal(masks[1].any(1), masks[2].any(0))
    assert bool(masks[0].any(0).all() and masks[2].any(1).all())


def test_two_nodes_stay_by_default():
    masks = NodeSampler(0.01)(_mlp(3, 7, 1, 4), 0)
    assert [int(mask.any(1).sum()) for mask in masks.values()] == [2, 1, 4]


def test_every_set_of_nodes_is_equally_likely():
    model = core.models.MLP([2, 4, 2])
    sampler, source = NodeSampler(0.5), torch.Generator().manual_seed(0)
    drawn = [tuple(sampler(model, source)["0.weight"].any(1).tolist()) for _ in range(1200)]
    counts = [drawn.count(one) for one in set(drawn)]
    # Six sets of two; 200 each, with a standard deviation of 13.
    assert len(counts) == 6
    assert all(140 < count < 260 for count in counts)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_a_masked_network_is_the_smaller_one(activation, device):
    model = _mlp(7, 12, 9, 4, activation=activation).to(device)
    x = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(device)
    masks = NodeSampler(0.4)(model, 3)
    smaller = remove_nodes(model, masks)
    assert [layer.weight.shape for layer in core.find_layers(smaller).values()] == [(5, 7), (4, 5), (4, 4)]
    (masked,) = core.run_masked(model, masks, [x])
    torch.testing.assert_close(masked, smaller(x), rtol=1e-12, atol=1e-12)
    assert core.count_flops(model, x, masks).sparse_flops == core.count_flops(smaller, x).flops
    # The model itself has all its nodes.
    assert model[0].weight.shape == (12, 7)


def test_smaller_networks_keep_dtype_mode_and_take_gradients():
    model = core.models.MLP([4, 6, 2]).to(torch.bfloat16).eval()
    smaller = remove_nodes(model, NodeSampler(0.5)(model, 0))
    assert all(parameter.dtype == torch.bfloat16 and parameter.requires_grad for parameter in smaller.parameters())
    assert not any(module.training for module in smaller.modules())
    assert (smaller[0].out_features, smaller[2].in_features) == (3, 3)


def test_weight_masks_have_exact_counts_for_one_density_and_for_many():
    model = core.models.MLP([8, 16, 4])
    assert WeightSampler(0.3)(model, 0).n_nonzero == round(0.3 * (128 + 64))
    shapes = {name: weight.shape for name, weight in model.named_parameters() if weight.ndim > 1}
    densities = core.erk_densities(shapes, 0.3)
    masks = WeightSampler(densities)(model, 0)
    assert masks == core.random_masks(shapes, densities, 0)
    # Names of layers do as well as those of weights.
    assert WeightSampler({"0": 0.25})(model, 0).densities == {"0.weight": 0.25}


def test_masks_depend_on_the_generator_alone():
    model = core.models.MLP([8, 16, 4])
    for sampler in (NodeSampler(0.5), WeightSampler(0.5)):
        assert sampler(model, 5) == sampler(model, torch.Generator().manual_seed(5))
        assert sampler(model, 5) != sampler(model, 6)


def test_indicators_name_the_hidden_nodes_that_stay():
    model = core.models.MLP([3, 5, 4, 2])
    drawn = [NodeSampler(0.5)(model, seed) for seed in range(4)]
    rows = node_indicators(drawn)
    assert rows.shape == (4, 9)
    assert rows.dtype == torch.float64
    for row, masks in zip(rows, drawn, strict=True):
        # Columns of the next layer say the same as rows of the one before.
        expected = torch.cat([masks["2.weight"].any(0), masks["4.weight"].any(0)])
        assert torch.equal(row.bool(), expected)


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1, float("nan"), None])
def test_densities_out_of_range_are_refused(density):
    with pytest.raises(ValueError, match="density must be"):
        NodeSampler(density)
    with pytest.raises(ValueError, match="densities"):
        WeightSampler({"0.weight": density})


def test_samplers_refuse_what_they_cannot_mask():
    with pytest.raises(ValueError, match="min_nodes must be an integer from 1"):
        NodeSampler(0.5, min_nodes=0)
    with pytest.raises(ValueError, match=r"keep at least 1 weight of each layer; got none of 2\.weight"):
        WeightSampler({"0.weight": 0.5, "2.weight": 0.001})(core.models.MLP([8, 16, 4]), 0)
    with pytest.raises(ValueError, match="must name weights of the model"):
        WeightSampler({"stem": 0.5})(core.models.MLP([8, 16, 4]), 0)
    with pytest.raises(ValueError, match="linear layers alone, at least 2; got 0"):
        NodeSampler(0.5)(nn.Sequential(nn.Linear(3, 2)), 0)
    with pytest.raises(ValueError, match="linear layers alone"):
        NodeSampler(0.5)(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 2)), 0)
    for wide in (nn.BatchNorm1d(4), nn.LayerNorm(4), nn.LayerNorm(4, elementwise_affine=False), nn.PReLU(4)):
        with pytest.raises(ValueError, match="linear layers alone, at least 2; got 0, 2, and besides 1"):
            NodeSampler(0.5)(nn.Sequential(nn.Linear(3, 4), wide, nn.Linear(4, 2)), 0)
    assert NodeSampler(0.5)(nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 2)), 0).n_nonzero == 10
    with pytest.raises(ValueError, match="each once; got '0'"):
        WeightSampler({"0.weight": 0.5, "0": 0.25})(core.models.MLP([8, 16, 4]), 0)
    with pytest.raises(ValueError, match=r"0\.weight must be a parameter"):
        WeightSampler(0.5)(nn.Sequential(SparseLinear(8, 4, 0.5), nn.Linear(4, 2)), 0)
    with pytest.raises(ValueError, match="follow each other; got 4 outputs of 0 before 5 inputs of 1"):
        NodeSampler(0.5)(nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)), 0)


def test_only_masks_of_nodes_make_smaller_networks():
    model = core.models.MLP([3, 4, 2])
    masks = dict(NodeSampler(0.5)(model, 0))
    rows = {name: mask.any(1, keepdim=True).expand_as(mask) for name, mask in masks.items()}
    with pytest.raises(ValueError, match="between the nodes that stay; got others at 2"):
        remove_nodes(model, rows)
    with pytest.raises(ValueError, match="between the nodes that stay; got others at 0"):
        remove_nodes(model, {name: torch.zeros_like(mask) for name, mask in masks.items()})
    last = masks["2.weight"].clone()
    last[0] = False
    with pytest.raises(ValueError, match="between the nodes that stay; got others at 2"):
        remove_nodes(model, masks | {"2.weight": last})
    with pytest.raises(ValueError, match=r"bool of shape \(4, 3\) for 0.weight; got none"):
        remove_nodes(model, {"2.weight": masks["2.weight"]})
    with pytest.raises(ValueError, match="masks must be candidates"):
        node_indicators([])
    for other in (dict(NodeSampler(0.5)(core.models.MLP([3, 5, 2]), 0)), {"0.weight": masks["0.weight"]}):
        with pytest.raises(ValueError, match="the same names and shapes"):
            node_indicators([masks, other])
    with pytest.raises(ValueError, match="at least two layers"):
        node_indicators([{}])


def test_a_weight_that_two_layers_share_is_drawn_once():
    model = core.models.MLP([8, 8, 8])
    model[2].weight = model[0].weight
    masks = WeightSampler(0.25)(model, 0)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"0.weight": 16}
