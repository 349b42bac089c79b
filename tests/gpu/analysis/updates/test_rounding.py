"""Distances to rounding boundaries: every finite number of 16 bits, and the numbers next to each boundary."""

import math

import pytest
import torch

from sparsetheory.gpu import analysis


def finite(dtype):
    """All finite numbers of a half precision, in ascending order; both zeros are one."""
    values = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    return torch.unique(values[torch.isfinite(values)].double())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_boundaries_lie_halfway_between_all_neighbours(dtype, device):
    numbers = finite(dtype)
    found = analysis.visible_threshold(numbers.to(dtype).to(device), dtype)
    gaps = numbers.diff()
    assert torch.equal(found.up[:-1].cpu(), gaps / 2)
    assert torch.equal(found.down[1:].cpu(), gaps / 2)
    # The largest number reaches as far up as down, and then becomes infinite.
    assert float(found.up[-1]) == float(found.down[-1]) == float(gaps[-1]) / 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_torch_rounds_as_the_boundaries_say(dtype, device):
    """Arrive at each boundary, and at the float32 numbers right before and behind it."""
    numbers = finite(dtype)[1:-1].to(device)
    found = analysis.visible_threshold(numbers.to(dtype), dtype)
    for sign, distance in ((1.0, found.up), (-1.0, found.down)):
        boundary = (numbers + sign * distance).float()
        target = torch.full_like(boundary, sign * math.inf)
        for master in (
            boundary,
            torch.nextafter(boundary, target),
            torch.nextafter(boundary, numbers.float()),
        ):
            changed = master.to(dtype).double() != numbers
            assert torch.equal(found.visible(master.double() - numbers), changed)


def test_half_spacing_and_ties_of_bfloat16():
    odd, even = 1 + 2.0**-7, 1 + 2.0**-6
    found = analysis.visible_threshold(torch.tensor([odd, even, 1.0, -1.0]))
    assert found.up.tolist() == [2.0**-8, 2.0**-8, 2.0**-8, 2.0**-9]
    assert found.down.tolist() == [2.0**-8, 2.0**-8, 2.0**-9, 2.0**-8]
    assert found.inclusive.tolist() == [True, False, False, False]
    assert found.visible(2.0**-8).tolist() == [True, False, False, True]
    assert found.visible(-(2.0**-8)).tolist() == [True, False, True, False]
    assert found.visible_either_way(2.0**-8).tolist() == [True, False, True, True]
    assert torch.equal(found.smallest, torch.minimum(found.up, found.down))


def test_a_pure_bfloat16_parameter_stays_where_its_master_moves():
    """Two hundred steps of 1e-6: only weights below 2^-11 leave, but nearly all masters cross a boundary."""
    weight = 0.02 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    pure, master = weight.bfloat16(), weight.bfloat16().float()
    start = pure.clone()
    for _ in range(200):
        pure.add_(torch.tensor(1e-6))
        master.add_(1e-6)
    movable = analysis.visible_threshold(start).visible(float(torch.tensor(1e-6)))
    # Weights that leave their first place are those that the first step moves.
    assert torch.equal(pure != start, movable)
    # Towards zero half of it suffices at a power of two: both ways are below the bound in size.
    assert bool((start[movable].abs() <= 2.0**-11).all())
    assert 0.015 < float(movable.double().mean()) < 0.025
    assert float((master.bfloat16() != start).double().mean()) > 0.95


def test_master_weights_between_two_numbers():
    # 1 + 2^-9 rounds to 1, half of the way to the boundary at 1 + 2^-8.
    found = analysis.visible_threshold(torch.tensor([1 + 2.0**-9]))
    assert (float(found.up), float(found.down)) == (2.0**-9, 2.0**-8)


def test_float64_masters_of_float32_copies():
    weight = torch.tensor([1.0, 1 + 2.0**-30, 3.0], dtype=torch.float64)
    found = analysis.visible_threshold(weight, torch.float32)
    assert found.up.tolist() == [2.0**-24, 2.0**-24 - 2.0**-30, 2.0**-23]
    for step in (2.0**-24, 2.0**-23, -(2.0**-25)):
        assert torch.equal(found.visible(step), (weight + step).float() != weight.float())


def test_what_has_overflowed_comes_back_at_its_boundary():
    found = analysis.visible_threshold(torch.tensor([65520.0, -70000.0]), torch.float16)
    assert found.up.tolist() == [math.inf, 70000.0 - 65520.0]
    assert found.down.tolist() == [0.0, math.inf]
    assert not bool(found.inclusive.any())
    assert found.visible(-0.25).tolist() == [True, False]


def test_both_zeros_are_one_number():
    found = analysis.visible_threshold(torch.tensor([0.0, -0.0]))
    assert found.up.tolist() == found.down.tolist() == [2.0**-134, 2.0**-134]
    assert not bool(found.inclusive.any())


def test_float32_without_double_copies_of_the_largest():
    largest = torch.finfo(torch.float32).max
    found = analysis.visible_threshold(torch.tensor([largest]), torch.float32)
    assert float(found.up) == float(found.down) == 2.0**103


@pytest.mark.parametrize(
    ("weight", "dtype", "message"),
    [
        (torch.ones(1), torch.float64, "dtype must be one of"),
        (torch.ones(1).double(), torch.bfloat16, "weight must be one of"),
        (torch.ones(1).bfloat16(), torch.float32, "weight must be one of"),
        (torch.ones(1).long(), torch.bfloat16, "weight must be one of"),
        (torch.tensor([math.nan]), torch.bfloat16, "weight must be finite"),
    ],
)
def test_bad_arguments(weight, dtype, message):
    with pytest.raises(ValueError, match=message):
        analysis.visible_threshold(weight, dtype)
