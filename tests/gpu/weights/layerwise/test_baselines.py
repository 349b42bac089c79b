"""Scores against enumeration of all masks."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from sparsetheory.gpu.core import NM, Gram, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.weights import admm_refit, alps, magnitude, refit, sparse_swaps, sparsegpt, wanda


def _masks(features, n, m):
    """All masks of a row that keep n of every m entries."""
    groups = [list(itertools.combinations(range(start, start + m), n)) for start in range(0, features, m)]
    for chosen in itertools.product(*groups):
        mask = torch.zeros(features, dtype=torch.bool)
        mask[torch.tensor(sum(chosen, ()))] = True
        yield mask


def _errors(W, S, gram):
    return ((W - S) @ gram * (W - S)).sum(1)


@pytest.mark.parametrize(("pattern", "m"), [(NM(2, 4), 4), (NM(1, 2), 2), (PerRow(4), 8)], ids=str)
def test_wanda_is_the_best_of_all_masks_and_values_for_uncorrelated_inputs(pattern, m):
    generator = torch.Generator().manual_seed(3)
    W = torch.randn(20, 8, generator=generator, dtype=torch.float64)
    gram = torch.diag(torch.rand(8, generator=generator, dtype=torch.float64) + 0.1)
    found = wanda(W, gram, pattern)
    # On a diagonal Gram matrix the best values on a mask are the weights themselves, which refit confirms below.
    every = torch.stack([_errors(W, W * mask, gram) for mask in _masks(8, m // 2, m)])
    torch.testing.assert_close(_errors(W, found.weight, gram), every.min(0).values)
    torch.testing.assert_close(refit(W, gram, found.mask), found.weight)


@pytest.mark.parametrize("pattern", [NM(2, 4), NM(2, 3), PerRow(5)], ids=str)
def test_without_correlations_and_damping_sparsegpt_is_wanda(pattern, device):
    generator = torch.Generator().manual_seed(4)
    W = torch.randn(30, 12, generator=generator, dtype=torch.float64).to(device)
    gram = torch.diag(torch.rand(12, generator=generator, dtype=torch.float64) + 0.1).to(device)
    expected, found = wanda(W, gram, pattern), sparsegpt(W, gram, pattern, damp=0.0)
    assert torch.equal(found.mask, expected.mask)
    torch.testing.assert_close(found.weight, expected.weight)
    # One scale for all inputs: magnitude too.
    equal = 3.0 * torch.eye(12, dtype=torch.float64, device=device)
    expected = magnitude(W, pattern).mask
    assert torch.equal(wanda(W, equal, pattern).mask, expected)
    assert torch.equal(sparsegpt(W, equal, pattern, damp=0.0).mask, expected)


def test_masks_of_magnitude_are_those_of_torch():
    layer = torch.nn.Linear(37, 11)
    dense = layer.weight.detach().clone()
    prune.l1_unstructured(layer, "weight", 0.3)
    assert torch.equal(magnitude(dense, PerTensor(0.7)).weight, layer.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_kept_values_are_bit_equal_and_counts_exact_under_ties(dtype, make_problem):
    W, gram = make_problem(6, 12)
    W = W.to(dtype)
    W[0], W[1], W[2, :6] = 0.0, 1.0, -1.0
    start = wanda(W, gram, NM(2, 4))
    for found, count in (
        (magnitude(W, NM(1, 3)), 4),
        (start, 6),
        (wanda(W, gram, PerRow((0, 3, 12, 5, 1, 2))), torch.tensor((0, 3, 12, 5, 1, 2))),
        (sparse_swaps(W, gram, start.mask, NM(2, 4)), 6),
    ):
        assert found.weight.dtype == dtype
        assert torch.equal(found.weight, torch.where(found.mask, W, torch.zeros_like(W)))
        assert bool((found.mask.sum(1).cpu() == count).all())
    assert magnitude(W, NM(1, 3)).mask[:2].nonzero()[:, 1].tolist() == [0, 3, 6, 9] * 2


def test_any_pattern_and_a_collected_gram_will_do(make_problem):
    W, gram = make_problem(4, 8)
    X = torch.linalg.cholesky(gram).T.cpu()
    collected = Gram.of(X, n_shards=2)
    assert torch.equal(wanda(W, collected, RowBlock(2, 0.5)).mask, wanda(W, gram / 8, RowBlock(2, 0.5)).mask)


def test_bad_arguments_are_named():
    W, gram = torch.ones(2, 6), torch.eye(6)
    with pytest.raises(ValueError, match=r"W must have a multiple of 4 entries along axis -1"):
        magnitude(W, NM(2, 4))
    with pytest.raises(ValueError, match="pattern must be a pattern such as"):
        magnitude(W, "2:4")
    with pytest.raises(ValueError, match="gram must have 6 rows"):
        wanda(W, torch.eye(5), PerRow(2))
    with pytest.raises(ValueError, match="gram must be symmetric"):
        wanda(W, torch.triu(torch.ones(6, 6)), PerRow(2))
    with pytest.raises(ValueError, match="W must be finite"):
        wanda(W / 0, gram, PerRow(2))
    with pytest.raises(TypeError, match="W must be a tensor"):
        magnitude(np.ones((2, 2)), PerRow(1))
    with pytest.raises(ValueError, match="one row per output"):
        magnitude(torch.ones(2, 2, 2), PerRow(1))
    with pytest.raises(ValueError, match="pattern must be NM or PerRow or PerTensor for this method"):
        sparsegpt(W, gram, RowBlock(2, 0.5))
    with pytest.raises(ValueError, match="groups along the last axis; got axis 0"):
        sparsegpt(W, gram, NM(1, 2, axis=0))


def test_parameters_are_left_alone_and_results_carry_no_graph(make_problem):
    W, gram = make_problem(4, 8)
    parameter, before = torch.nn.Parameter(W.clone()), W.clone()
    pattern = NM(2, 4)
    mask = magnitude(parameter, pattern).mask
    for found in (
        magnitude(parameter, pattern).weight,
        wanda(parameter, gram, pattern).weight,
        sparsegpt(parameter, gram, pattern).weight,
        alps(parameter, gram, pattern).weight,
        admm_refit(parameter, gram, pattern).weight,
        sparse_swaps(parameter, gram, mask, pattern).weight,
        refit(parameter, gram, mask),
    ):
        assert not found.requires_grad
        assert found.data_ptr() != parameter.data_ptr()
    assert torch.equal(parameter.detach(), before)
