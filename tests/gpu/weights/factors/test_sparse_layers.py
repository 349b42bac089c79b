import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import TopologyController, count_flops, sparsity_report
from sparsetheory.gpu.weights import (
    SparseDopedLinear,
    SparseFactorizedLinear,
    SparseParallelLinear,
    finalize,
    iso_flop_width,
    live_masks,
)

FAMILIES = {"doped": SparseDopedLinear, "factorized": SparseFactorizedLinear, "parallel": SparseParallelLinear}
OPTIMISERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.05),
}


def _inputs(n_in, dtype=torch.float32, device="cpu"):
    return torch.randn(32, n_in, generator=torch.Generator().manual_seed(3)).to(device, dtype)


def _steps(layer, optimizer, n_steps=5):
    x = _inputs(24)
    for _ in range(n_steps):
        optimizer.zero_grad()
        (layer(x) - 1.0).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_cost_what_the_sizes_say_and_start_as_published(family, device):
    layer = FAMILIES[family](24, 40, 0.75, generator=0).to(device)
    sizes = iso_flop_width(24, 40, 0.75, family)
    kept = {name: int(layer.get_submodule(name).weight.count_nonzero()) for name in sizes.shapes}
    assert kept == sizes.n_nonzero
    assert layer(_inputs(24, device=device)).shape == (32, 40)
    large = FAMILIES[family](400, 400, 0.75, generator=0)
    name = next(iter(sizes.shapes))
    weight = large.get_submodule(name).weight.detach()
    assert float(weight[weight != 0].var() * weight.shape[0]) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_flops_and_reports_see_the_masks(family):
    layer = FAMILIES[family](24, 40, 0.75, generator=0)
    sizes, masks = iso_flop_width(24, 40, 0.75, family), live_masks(layer)
    assert count_flops(layer, _inputs(24)[:1]).sparse_flops == 2 * sizes.multiplies
    assert count_flops(layer, _inputs(24)[:1], masks).sparse_flops == 2 * sizes.multiplies
    report = sparsity_report(layer, masks)
    assert {one.name.removesuffix(".weight"): one.n_nonzero for one in report.layers} == {
        name: count for name, count in sizes.n_nonzero.items() if f"{name}.weight" in masks
    }


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_masks_survive_training_and_state_dicts(family, optimiser):
    layer = FAMILIES[family](24, 40, 0.75, generator=0)
    before = live_masks(layer)
    weights = {name: layer.get_submodule(name.removesuffix(".weight")).weight.clone() for name in before}
    _steps(layer, OPTIMISERS[optimiser](layer.parameters()))
    for name, mask in before.items():
        weight = layer.get_submodule(name.removesuffix(".weight")).weight
        assert not weight[~mask].any()
        assert not torch.equal(weight, weights[name])
    assert live_masks(layer) == before
    other = FAMILIES[family](24, 40, 0.75, generator=1)
    assert live_masks(other) != before
    other.load_state_dict(layer.state_dict())
    assert live_masks(other) == before
    layer.eval(), other.eval()
    assert torch.equal(layer(_inputs(24)), other(_inputs(24)))


@pytest.mark.parametrize("family", FAMILIES)
def test_released_masks_can_be_rewired(family):
    layer = FAMILIES[family](24, 40, 0.75, generator=0)
    masks = finalize(layer)
    start = {name: int(mask.sum()) for name, mask in masks.items()}
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
    controller = TopologyController(
        optimizer,
        masks.by_parameter(layer),
        drop=lambda snapshot: snapshot.weight.abs(),
        grow=lambda snapshot: snapshot.gradient.abs(),
        fraction=0.3,
        every=2,
    )
    _steps(layer, optimizer)
    assert all(event.n_grown > 0 for event in controller.history)
    for (name, count), mask in zip(start.items(), controller.masks.values(), strict=True):
        weight = layer.get_parameter(name)
        assert int(mask.sum()) == count
        assert not weight[~mask].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_dtypes_and_seeds_are_kept(family, dtype):
    layer = FAMILIES[family](24, 40, 0.75, generator=0).to(dtype)
    assert layer(_inputs(24, dtype)).dtype == dtype
    again = FAMILIES[family](24, 40, 0.75, generator=0).to(dtype)
    for one, other in zip(layer.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_doped_layer_merges_exactly(device):
    layer = SparseDopedLinear(24, 40, 0.5, generator=0).to(device, torch.float64)
    with torch.no_grad():
        layer.sparse.bias.normal_()
    x = _inputs(24, torch.float64, device)
    torch.testing.assert_close(layer.merged()(x), layer(x), rtol=1e-12, atol=1e-12)
    rest = layer.merged().weight - layer.sparse.weight
    assert int(torch.linalg.matrix_rank(rest)) == layer.rank == iso_flop_width(24, 40, 0.5, "doped").width


def test_linear_factors_merge_and_others_do_not(device):
    options = {"activation": "identity", "normalisation": "none", "generator": 0}
    layer = SparseFactorizedLinear(24, 40, 0.5, **options).to(device, torch.float64)
    x = _inputs(24, torch.float64, device)
    torch.testing.assert_close(layer.merged()(x), layer(x), rtol=1e-12, atol=1e-12)
    for other in ({"activation": "relu"}, {"normalisation": "batch"}):
        with pytest.raises(ValueError, match="activation must be 'identity' and normalisation 'none'"):
            SparseFactorizedLinear(24, 40, 0.5, **{**options, **other}).merged()


def test_branches_are_normalised_before_the_sum_and_merge_in_evaluation():
    layer = SparseParallelLinear(24, 40, 0.75, generator=0).double()
    x = 3.0 * _inputs(24, torch.float64) + 1.0
    parts = [branch(x) for branch in layer.branches]
    normal = [(part - part.mean(0)) / (part.var(0, correction=0) + 1e-5).sqrt() for part in parts]
    torch.testing.assert_close(layer(x), sum(normal).relu(), rtol=1e-9, atol=1e-9)
    layer.eval()
    torch.testing.assert_close(layer.merged()(x), layer(x), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="normalisation must be one of 'batch', 'layer'; got 'none'"):
        SparseParallelLinear(24, 40, 0.75, normalisation="none")
    with pytest.raises(ValueError, match="normalisation must be 'batch' for branches to merge"):
        SparseParallelLinear(24, 40, 0.75, normalisation="layer").merged()


@pytest.mark.parametrize("family", ["factorized", "parallel"])
def test_batches_of_sequences_are_normalised_over_all_rows(family):
    layer = FAMILIES[family](24, 40, 0.75, generator=0)
    x = _inputs(24)
    torch.testing.assert_close(layer(x.reshape(4, 8, 24)).reshape(32, 40), layer(x))


def test_a_product_without_room_is_an_error():
    with pytest.raises(ValueError, match=r"sparsity must be 0, or at least 0.25 for a product of rank 1; got 0.2"):
        SparseDopedLinear(8, 8, 0.2)
    dense = SparseDopedLinear(8, 8, 0.0, generator=0)
    assert dense.rank == 0
    assert not live_masks(dense)
    assert torch.equal(dense.merged().weight, dense.sparse.weight)


def test_global_random_numbers_are_not_drawn():
    state = torch.random.get_rng_state()
    for family in FAMILIES.values():
        family(24, 40, 0.5, generator=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert isinstance(SparseParallelLinear(4, 4, 0.5).branches, nn.ModuleList)
