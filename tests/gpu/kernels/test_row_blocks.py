"""Exact properties of masks whose blocks of rows share their zeros."""

import itertools

import pytest
import torch
from torch.nn.utils import prune

from sparsetheory.gpu.core import RowBlock
from sparsetheory.gpu.kernels import retained_energy
from sparsetheory.gpu.weights import layerwise_prune

SIZES, DENSITIES = (1, 2, 4, 8), (0.0, 0.07, 0.1, 0.3, 0.5, 0.77, 1.0)


def _weight(shape=(16, 9), seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("shape", [(16, 9), (8, 3, 3, 1)])
def test_counts_are_those_of_the_rule_for_positions_times_rows(size, density, shape):
    weight = _weight(shape)
    positions = weight.numel() // size
    expected = (positions - round((1 - density) * positions)) * size
    mask = RowBlock(size, density).mask(weight.abs())
    assert int(mask.sum()) == RowBlock(size, density).count(shape) == expected
    blocks = mask.reshape(shape[0] // size, size, -1)
    assert torch.equal(blocks, blocks[:, :1].expand_as(blocks))


@pytest.mark.parametrize("density", DENSITIES)
def test_blocks_of_one_row_are_unstructured_magnitude_pruning(density):
    layer = torch.nn.Linear(9, 16).double()
    mask = RowBlock(1, density).mask(layer.weight.abs())
    prune.l1_unstructured(layer, "weight", amount=1 - density)
    assert torch.equal(mask, layer.weight_mask != 0)


@pytest.mark.parametrize("size", SIZES)
def test_zero_blocks_stay_zero_when_pruned_again(size):
    pattern, weight = RowBlock(size, 0.3), _weight()
    pruned = pattern.project(weight)
    assert torch.equal(pattern.project(pruned), pruned)
    gram = torch.cov(_weight((9, 50), 1))
    result = layerwise_prune(pruned, gram, pattern, "magnitude")
    assert not result.weight[pruned == 0].any()


@pytest.mark.parametrize("seed", range(30))
def test_larger_nested_blocks_retain_less_energy_at_nested_counts(seed):
    weight = _weight(seed=seed)
    kept = 16 * int(torch.randint(0, 10, (), generator=torch.Generator().manual_seed(seed)))
    energies = [retained_energy(weight, RowBlock(size, kept / weight.numel()).mask(weight.square())) for size in SIZES]
    assert all(large <= small + 1e-12 for small, large in itertools.pairwise(energies))


def test_at_equal_density_rounding_or_the_score_of_magnitudes_can_turn_the_order():
    """Three of five blocks of four rows are more entries than five of ten blocks of two; magnitudes see no energy."""
    weight = torch.ones(4, 5, dtype=torch.float64)
    by_size = {size: RowBlock(size, 0.5).count(weight.shape) for size in (2, 4)}
    assert by_size[4] > by_size[2]
    large, small = (retained_energy(weight, RowBlock(size, 0.5).mask(weight.square())) for size in (4, 2))
    assert large > small
    # Sums 4 and 3.9 by magnitude, energies 4 and 15.2.
    uneven = torch.tensor([[1.0, 3.9], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    by_magnitude = retained_energy(uneven, RowBlock(4, 0.5).mask(uneven.abs()))
    assert by_magnitude < retained_energy(uneven, RowBlock(4, 0.5).mask(uneven.square()))
