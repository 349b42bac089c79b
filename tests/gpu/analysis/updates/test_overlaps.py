"""Overlaps of sets of entries: against enumeration of all draws."""

from itertools import combinations

import pytest
import torch

from sparsetheory.gpu import analysis
from sparsetheory.gpu.core import MaskSet


def mask_of(indices, n):
    return torch.tensor([i in indices for i in range(n)])


@pytest.mark.parametrize(
    ("n", "first", "second"), [(7, {0, 1, 2}, {2, 3}), (8, {0, 5, 6, 7}, {0, 5, 6}), (6, {1}, {2, 3})]
)
def test_pvalue_counts_all_draws(n, first, second):
    found = analysis.overlap(mask_of(first, n), mask_of(second, n))
    draws = list(combinations(range(n), len(second)))
    as_many = sum(len(first & set(draw)) >= len(first & second) for draw in draws)
    assert found.pvalue == pytest.approx(as_many / len(draws))
    mean = sum(len(first & set(draw)) for draw in draws) / len(draws)
    assert found.chance1 == pytest.approx(mean / len(first))
    assert found.chance2 == pytest.approx(mean / len(second))
    assert (found.o1, found.o2) == (len(first & second) / len(first), len(first & second) / len(second))


def test_masks_of_a_model_count_all_their_entries():
    first = {"a": torch.tensor([True, False]), "b": torch.tensor([[True, True]])}
    second = {"a": torch.tensor([True, True]), "b": torch.tensor([[False, True]])}
    joined = [torch.cat([masks["a"], masks["b"][0]]) for masks in (first, second)]
    assert analysis.overlap(MaskSet(first), second) == analysis.overlap(*joined)


def test_millions_of_entries():
    mask = torch.rand(2_000_000, generator=torch.Generator().manual_seed(0)) < 0.3
    other = torch.rand(2_000_000, generator=torch.Generator().manual_seed(1)) < 0.3
    assert 1e-4 < analysis.overlap(mask, other).pvalue < 1 - 1e-4
    assert analysis.overlap(mask, mask | other).pvalue < 1e-100


def test_an_empty_set_has_no_shares():
    found = analysis.overlap(torch.zeros(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool))
    assert found.o1 != found.o1
    assert (found.o2, found.chance1, found.chance2, found.pvalue) == (0.0, 1.0, 0.0, 1.0)


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least one entry"):
        analysis.overlap(torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.bool))
    with pytest.raises(ValueError, match="shapes"):
        analysis.overlap(torch.ones(2, dtype=torch.bool), torch.ones(3, dtype=torch.bool))
    with pytest.raises(TypeError, match="bool"):
        analysis.overlap(torch.ones(2), torch.ones(2))
    with pytest.raises(TypeError, match="m2 must be a tensor of bool or a mapping of names to such; got ndarray"):
        analysis.overlap(torch.ones(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool).numpy())
