"""Swaps without refit against the change of the error, recomputed for every pair."""

import itertools

import pytest
import torch

from sparsetheory.gpu.core import NM, PerRow, PerTensor
from sparsetheory.gpu.weights import magnitude, sparse_swaps, wanda


def _error(w, kept, gram):
    pruned = w * ~kept
    return float(pruned @ gram @ pruned)


def _best_swap(w, kept, gram, width):
    """The error after the best swap and its mask, by trying all."""
    best = (float("inf"), kept)
    for u in kept.nonzero()[:, 0].tolist():
        for q in (~kept).nonzero()[:, 0].tolist():
            if u // width == q // width:
                swapped = kept.clone()
                swapped[u], swapped[q] = False, True
                best = min(best, (_error(w, swapped, gram), swapped), key=lambda pair: pair[0])
    return best


@pytest.mark.parametrize(("pattern", "width"), [(NM(2, 4), 4), (NM(1, 6), 6), (PerRow(5), 12)], ids=str)
def test_every_swap_is_the_best_one_and_the_end_has_none(pattern, width, make_problem):
    W, gram = make_problem(12, 12, seed=21)
    start = magnitude(W, pattern).mask
    paths = [sparse_swaps(W, gram, start, pattern, max_swaps=count).mask.cpu() for count in range(20)]
    assert torch.equal(paths[0], start.cpu())
    assert torch.equal(paths[-1], sparse_swaps(W, gram, start, pattern).mask.cpu())
    W, gram = W.cpu(), gram.cpu()
    swaps = 0
    for before, after in itertools.pairwise(paths):
        for w, old, new in zip(W, before, after, strict=True):
            error, best = _best_swap(w, old, gram, width)
            if error < _error(w, old, gram) * (1 - 1e-9):
                assert torch.equal(new, best)
                swaps += 1
            else:
                assert torch.equal(new, old)
    assert swaps > 6


def test_kept_values_are_bit_equal_and_counts_stay(make_problem):
    W, gram = make_problem(8, 16, seed=22)
    start = wanda(W, gram, PerRow((0, 16, 1, 2, 3, 4, 5, 6))).mask
    kept = start.clone()
    found = sparse_swaps(W, gram, start, PerRow((0, 16, 1, 2, 3, 4, 5, 6)))
    assert torch.equal(start, kept)
    assert torch.equal(found.weight, W * found.mask)
    assert torch.equal(found.mask.sum(1), start.sum(1))
    one = wanda(W, gram, NM(1, 4)).mask
    fewer = sparse_swaps(W, gram, one, NM(2, 4)).mask
    assert bool((fewer.reshape(8, 4, 4).sum(2) == 1).all())


def test_zero_rows_equal_weights_and_inputs_that_are_always_zero_end(make_problem):
    W, gram = make_problem(4, 16, dead=(3,))
    W[0], W[1] = 0.0, 1.0
    found = sparse_swaps(W, gram, magnitude(W, NM(2, 4)).mask, NM(2, 4))
    assert bool((found.mask.reshape(4, 4, 4).sum(2) == 2).all())
    assert torch.equal(found.mask[0], magnitude(W, NM(2, 4)).mask[0])
    # An entry that nothing depends on is the first to go.
    assert not found.mask[1:, 3].any()
    assert sparse_swaps(W, torch.zeros(16, 16), found.mask, NM(2, 4)).mask.equal(found.mask)


def test_bad_arguments_are_named(make_problem):
    W, gram = make_problem(2, 8)
    mask = magnitude(W, NM(2, 4)).mask
    with pytest.raises(ValueError, match="pattern must be NM or PerRow for this method"):
        sparse_swaps(W, gram, mask, PerTensor(0.5))
    with pytest.raises(ValueError, match="mask must keep no more than 1:4 allows; got 2 entries"):
        sparse_swaps(W, gram, mask, NM(1, 4))
    with pytest.raises(ValueError, match="mask must keep no more than 3 per row allows; got 4 entries"):
        sparse_swaps(W, gram, mask, PerRow(3))
    with pytest.raises(ValueError, match="max_swaps must be"):
        sparse_swaps(W, gram, mask, NM(2, 4), max_swaps=-1)
