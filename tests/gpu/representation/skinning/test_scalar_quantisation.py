"""Finite scalar quantisation: codes and indices, its traps, and an independent table."""

import copy
from itertools import product

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import FSQ, code_perplexity

LEVELS = [[8, 5, 5, 5], [2], [2, 3], [7, 6, 4], [1000, 3]]


def _table(levels):
    """Return all integers, the first coordinate fastest."""
    ranges = [range(-(count // 2), (count - 1) // 2 + 1) for count in levels]
    return np.array([row[::-1] for row in product(*ranges[::-1])])


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_codes_are_those_of_a_table(device, levels):
    fsq = FSQ(levels, eps=1e-4).to(device)
    book = fsq.codebook()
    expected = _table(levels) / (np.array(levels) // 2)
    np.testing.assert_allclose(book.cpu(), expected, atol=1e-6)
    assert torch.equal(fsq.codes_to_indices(book).cpu(), torch.arange(np.prod(levels)))


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_the_inverse_of_the_bound_leads_back_and_codes_do_not(device, levels):
    fsq = FSQ(levels, eps=1e-4).to(device)
    integers = torch.from_numpy(_table(levels)).double().to(device)
    codes = integers / fsq.half_levels
    torch.testing.assert_close(fsq.quantize(fsq.inverse_bound(integers)), codes, rtol=0, atol=1e-9)
    if levels == [8, 5, 5, 5]:
        same = (fsq.quantize(integers) == codes).all(-1).double().mean()
        assert 0.05 < same < 0.12  # of integers taken for vectors


@pytest.mark.parametrize("level", range(2, 12))
def test_every_level_is_reached_and_nothing_else(level):
    z = torch.cat([torch.linspace(-15, 15, 30_001), torch.tensor([-torch.inf, torch.inf])]).unsqueeze(1)
    fsq = FSQ([level])
    found = set((fsq.quantize(z) * fsq.half_levels).round().flatten().int().tolist())
    assert found == set(range(-(level // 2), (level - 1) // 2 + 1))


def test_zero_stays_zero_up_to_rounding():
    fsq = FSQ([2, 3, 4, 5, 6, 8])
    assert fsq.bound(torch.zeros(6)).abs().max() < 1e-6
    assert fsq.bound(torch.zeros(6, dtype=torch.float64)).abs().max() < 1e-14


def test_16_bits_have_the_codes_of_their_values_in_single_precision():
    z = (2 * torch.randn(3000, 4, generator=torch.Generator().manual_seed(0))).to(torch.bfloat16)
    z[0], z[1] = torch.inf, -torch.inf
    for levels in ([8, 5, 5, 5], [2, 2, 3, 16]):
        fsq = FSQ(levels)
        codes = fsq.quantize(z)
        assert codes.dtype == torch.bfloat16
        expected = fsq.codes_to_indices(fsq.quantize(z.float()))
        assert torch.equal(fsq.codes_to_indices(codes), expected)
        # A model cast to 16 bits keeps its grid.
        assert torch.equal(copy.deepcopy(fsq).to(torch.bfloat16).codes_to_indices(codes), expected)
        # In 16 bits themselves many codes would be others.
        half = ((torch.tensor(levels) - 1) * (1 + 1e-3) / 2).bfloat16()
        offset = ((torch.tensor(levels) % 2 == 0) / 2).bfloat16()
        slips = torch.tanh(z + torch.atanh(offset / half)) * half - offset
        assert not torch.equal(slips.float().round(), fsq.bound(z).round())


def test_gradients_are_those_of_the_bound():
    fsq, z = FSQ([8, 5, 2]), torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    passed, bounded = z.clone().requires_grad_(), z.clone().requires_grad_()
    (fsq.quantize(passed) * fsq.half_levels).sum().backward()
    fsq.bound(bounded).sum().backward()
    torch.testing.assert_close(passed.grad, bounded.grad, rtol=0, atol=1e-13)
    assert bounded.grad.abs().max() > 0.1
    far = torch.tensor([[torch.inf, -torch.inf, 0.0]]).requires_grad_()
    fsq.quantize(far).sum().backward()
    assert far.grad.isfinite().all()


@pytest.mark.parametrize("index", [-1, 1000, 2**40])
def test_an_index_outside_raises_and_does_not_wrap(index):
    with pytest.raises(ValueError, match=f"indices must be from 0 to 999; got {index}"):
        FSQ([8, 5, 5, 5]).indices_to_codes(torch.tensor([3, index]))


def test_the_grid_is_no_state():
    """So models may be saved with other levels than they are loaded with, if all else fits."""
    assert FSQ([8, 5]).state_dict() == {}


def test_products_beyond_32_bits_have_indices():
    fsq = FSQ([256] * 5)
    assert fsq.n_codes == 2**40
    codes = fsq.quantize(torch.full((5,), torch.inf))
    index = fsq.codes_to_indices(codes)
    assert int(index) == 2**40 - 1
    assert torch.equal(fsq.indices_to_codes(index), codes)


def test_the_published_sign_of_eps_gives_the_published_bound():
    # half = (L - 1)(1 - eps) / 2
    z = torch.linspace(-3, 3, 101, dtype=torch.float64).unsqueeze(1)
    half = 5 * (1 - 1e-3) / 2
    expected = torch.tanh(z + np.arctanh(0.5 / half)) * half - 0.5
    torch.testing.assert_close(FSQ([6], eps=-1e-3).bound(z), expected)


def test_off_the_grid_is_no_code():
    fsq = FSQ([5, 5])
    for wrong in ([0.25, 0.0], [torch.nan, 0.0], [1.5, 0.0]):
        with pytest.raises(ValueError, match="codes must be on the grid"):
            fsq.codes_to_indices(torch.tensor(wrong))
    # An even number of levels has no code +1.
    with pytest.raises(ValueError, match="codes must be on the grid"):
        FSQ([4]).codes_to_indices(torch.tensor([1.0]))


@pytest.mark.parametrize(
    ("levels", "eps", "match"),
    [
        ([1, 5], 1e-3, "levels must be a sequence of integers of at least 2"),
        ([2.5], 1e-3, "levels must be a sequence of integers of at least 2"),
        ([], 1e-3, "levels must be a sequence of integers of at least 2"),
        ([2, 5], -1e-3, "eps must be positive where a coordinate has 2 levels"),
        ([2, 5], 0.0, "eps must be positive where a coordinate has 2 levels"),
        ([1001], 1e-3, "eps must be below"),
        ([64] * 11, 1e-3, "levels must have a product of at most"),
    ],
)
def test_bad_levels_are_named(levels, eps, match):
    with pytest.raises(ValueError, match=match):
        FSQ(levels, eps)


def test_a_thousand_and_one_levels_would_get_two_more():
    # Why eps is limited: the range of 1001 levels ends at 500.5 or more, which rounds to a level that there is not.
    half = 1000 * (1 + 1.1e-3) / 2
    assert round(half * np.tanh(30.0)) == 501


def test_bad_tensors_are_named():
    fsq = FSQ([5, 5])
    with pytest.raises(ValueError, match="z must have 2 entries in its last axis"):
        fsq.quantize(torch.zeros(3))
    with pytest.raises(ValueError, match="z must be a tensor of real floating"):
        fsq.quantize(torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="indices must be a tensor of integers"):
        fsq.indices_to_codes(torch.tensor([1.0]))


def test_perplexity_counts_codes():
    assert code_perplexity(torch.arange(10).repeat(3), 10) == pytest.approx(10)
    assert code_perplexity(torch.tensor([7]), 10) == pytest.approx(1)
    with pytest.raises(ValueError, match="indices must be from 0 to 9"):
        code_perplexity(torch.tensor([10]), 10)
    with pytest.raises(ValueError, match="indices must be a tensor of integers"):
        code_perplexity(torch.tensor([0.5, 1.5]), 10)
