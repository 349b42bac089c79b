"""Orders of rows for blocks, and what masks retain."""

import itertools

import pytest
import torch

from sparsetheory.gpu.core import RowBlock
from sparsetheory.gpu.kernels import rearrange, retained_energy
from sparsetheory.gpu.kernels.row_order import block_energy

METHODS = ("sort", "greedy", "swaps")


def _normal(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _hidden_groups(rows, columns, size, seed=0):
    """Rows that are large at the places of their group, in a random order."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(rows // size, columns, generator=generator) < 0.3
    weight = _normal((rows, columns), seed) * torch.where(places.repeat_interleave(size, 0), 1.0, 0.01)
    return weight[torch.randperm(rows, generator=generator)]


def _retained(weight, size, density):
    return retained_energy(weight, RowBlock(size, density).mask(weight.square()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_energy_is_one_minus_the_squared_distance(device, dtype):
    weight = _normal((6, 5, 3, 3), dtype=torch.float32).to(device, dtype)
    mask = RowBlock(2, 0.4).mask(weight.abs())
    kept = torch.where(mask, weight, 0.0).double()
    lost = float((weight.double() - kept).square().sum() / weight.double().square().sum())
    assert retained_energy(weight, mask) == pytest.approx(1 - lost, rel=1e-12)
    assert retained_energy(weight, mask.int()) == retained_energy(weight, mask)
    assert retained_energy(weight, torch.ones_like(mask)) == 1.0
    assert retained_energy(weight, torch.zeros_like(mask)) == 0.0


def test_half_precision_does_not_overflow_and_zero_loses_nothing():
    weight = torch.full((4, 4), 60_000.0, dtype=torch.float16)
    assert retained_energy(weight, torch.eye(4)) == 0.25
    assert retained_energy(torch.zeros(2, 2), torch.zeros(2, 2)) == 1.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("shape", "size"), [((12, 7), 4), ((8, 3, 3, 3), 2), ((6, 5), 1), ((6, 5), 6)])
def test_an_order_holds_every_row_once_and_is_the_same_every_time(device, method, shape, size):
    weight = _normal(shape, dtype=torch.float32).to(device)
    found = rearrange(weight, size, method)
    assert found.device == weight.device
    assert found.dtype == torch.int64
    assert found.sort().values.tolist() == list(range(shape[0]))
    assert torch.equal(found, rearrange(weight, size, method))
    assert torch.equal(found.cpu(), rearrange(weight.cpu().double(), size, method))


@pytest.mark.parametrize("method", ["greedy", "swaps"])
def test_hidden_groups_are_found(method):
    weight = _hidden_groups(32, 60, 4)
    assert _retained(weight, 4, 0.3) < 0.9
    # What is small everywhere in a group has one ten-thousandth of the energy.
    assert _retained(weight[rearrange(weight, 4, method, 0.3)], 4, 0.4) > 0.999


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_swaps_never_retain_less_than_the_given_order_or_greedy(seed, density):
    weight = _normal((24, 17), seed) * torch.rand(24, 1, generator=torch.Generator().manual_seed(seed)).double()
    swaps, greedy = (_retained(weight[rearrange(weight, 4, m, density)], 4, density) for m in ("swaps", "greedy"))
    assert swaps >= max(greedy, _retained(weight, 4, density)) - 1e-12


def test_no_exchange_of_two_rows_improves_what_swaps_return():
    weight = _normal((8, 9), 3)
    best = weight[rearrange(weight, 2, "swaps", 0.4)]
    energy = best.square()
    sums = energy.reshape(4, 2, 9).sum(1)
    cut = sums.flatten().sort(descending=True).values[_kept(sums.numel(), 0.4) - 1]
    # At the cut of the result, what all blocks have above it; no exchange may raise that.
    above = float((sums - cut).clamp(min=0).sum())
    for a, b in itertools.combinations(range(8), 2):
        order = list(range(8))
        order[a], order[b] = b, a
        exchanged = energy[order].reshape(4, 2, 9).sum(1)
        assert float((exchanged - cut).clamp(min=0).sum()) <= above * (1 + 1e-9)


def _kept(n, density):
    return n - round((1 - density) * n)


def test_swaps_reach_the_best_order_of_a_small_weight_from_most_starts():
    reached = 0
    for seed in range(10):
        weight = _normal((6, 5), seed)
        orders = (torch.tensor(order) for order in itertools.permutations(range(6)))
        best = max(_retained(weight[order], 2, 0.4) for order in orders)
        reached += _retained(weight[rearrange(weight, 2, "swaps", 0.4)], 2, 0.4) >= best - 1e-9
    assert reached >= 5


@pytest.mark.parametrize("method", METHODS)
def test_ties_go_to_the_lowest_row(method):
    assert rearrange(torch.ones(6, 4), 2, method).tolist() == list(range(6))
    assert rearrange(torch.zeros(6, 4), 2, method).tolist() == list(range(6))


def test_sorting_is_that_of_the_sums_of_magnitudes():
    weight = torch.tensor([[1.0, -1.0], [-5.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    assert rearrange(weight, 2, "sort").tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("method", METHODS)
def test_columns_do_not_matter(method):
    weight = _hidden_groups(16, 20, 4)
    columns = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    same = _retained(weight[rearrange(weight[:, columns], 4, method)], 4, 0.5)
    assert same == pytest.approx(_retained(weight[rearrange(weight, 4, method)], 4, 0.5), rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_short_last_block_is_for_those_who_ask(method):
    weight = _normal((7, 5))
    with pytest.raises(ValueError, match="weight must have a multiple of 2 rows, or pad must be set; got 7"):
        rearrange(weight, 2, method)
    found = rearrange(weight, 2, method, pad=True)
    assert found.sort().values.tolist() == list(range(7))
    padded = RowBlock(2, 0.5, pad=True).mask(weight.square())
    assert block_energy(weight, 2, 0.5) == pytest.approx(retained_energy(weight, padded), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"size": 0}, ValueError, "size must be"),
        ({"method": "best"}, ValueError, "method must be one of 'sort', 'greedy', 'swaps'"),
        ({"density": 1.5}, ValueError, "density must be a number in"),
        ({"pad": 1}, ValueError, "pad must be"),
        ({"weight": torch.full((4, 2), float("nan"))}, ValueError, "weight must be finite"),
        ({"weight": torch.full((4, 2), float("inf"))}, ValueError, "weight must be finite"),
        ({"weight": torch.ones(4)}, ValueError, "weight must have rows and columns"),
        ({"weight": torch.ones(4, 0)}, ValueError, "weight must have rows and columns"),
        ({"weight": torch.ones(4, 2, dtype=torch.int64)}, TypeError, "weight must be a tensor of real"),
    ],
)
def test_bad_arguments_of_an_order(change, error, message):
    with pytest.raises(error, match=message):
        rearrange(**({"weight": torch.ones(4, 2), "size": 2} | change))


@pytest.mark.parametrize(
    ("weight", "mask", "error", "message"),
    [
        (torch.ones(2, 2), torch.ones(2, 3), ValueError, r"mask must have shape \(2, 2\)"),
        (torch.ones(2, 2), None, ValueError, "mask must have shape"),
        (torch.full((2, 2), float("inf")), torch.ones(2, 2), ValueError, "weight must be finite"),
        ([1.0], torch.ones(1), TypeError, "weight must be a tensor of real"),
    ],
)
def test_bad_arguments_of_retained_energy(weight, mask, error, message):
    with pytest.raises(error, match=message):
        retained_energy(weight, mask)
