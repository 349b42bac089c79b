from itertools import pairwise

import numpy as np
import pytest
import torch
from kernels.layerwise_cases import energy, problem, refit, start

from sparsetheory.gpu.core import NM, BlockNM, PerRow
from sparsetheory.gpu.weights import best_swap_gain, swap_search
from sparsetheory.gpu.weights.layerwise.search.blockwise import columns_of_blocks

PATTERNS = [NM(2, 4), PerRow(density=0.5), BlockNM(2, 2, 4)]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_blocks_lower_the_refit_of_the_start_and_end_with_a_refit(pattern):
    W, H = problem(4, 48, seed=1)
    first = start(W, H, pattern)
    found = swap_search(W, H, first, pattern, block_size=16)
    before = sum(refit(w, H, mask)[1] for w, mask in zip(W, first, strict=True))
    assert int(found.n_swaps.max()) > 0
    assert float(found.objective.sum()) < before
    for row in range(4):
        s, objective = refit(W[row], H, found.mask[row])
        np.testing.assert_allclose(found.weight[row], s, atol=1e-8)
        assert abs(float(found.objective[row]) - objective) < 1e-10 * energy(W, H)


def test_no_swap_inside_a_block_improves_while_all_else_is_held():
    W, H = problem(3, 48, seed=2)
    found = swap_search(W, H, start(W, H, PerRow(24)), PerRow(24), block_size=16)
    for row in range(3):
        for columns in columns_of_blocks(48, 48, 16):
            # What the block is to explain, as the weights of a problem of its own.
            block, left = H[columns, columns], (W - found.weight)[row] @ H[:, columns]
            target = found.weight[row, columns] + torch.linalg.solve(block, left)
            gain = best_swap_gain(target, block, found.mask[row, columns], PerRow(8))
            assert gain < 1e-9 * energy(W, H)


def test_each_further_swap_lowers_the_objective():
    W, H = problem(2, 48, seed=3)
    first = start(W, H, NM(2, 4))
    objectives = [
        float(swap_search(W, H, first, NM(2, 4), block_size=12, max_swaps=n).objective.sum()) for n in range(6)
    ]
    assert all(b < a for a, b in pairwise(objectives))


def test_blocks_are_whole_groups_of_nearly_equal_size():
    assert columns_of_blocks(384, 4, None) == [slice(0, 384)]
    parts = columns_of_blocks(11008, 4, None)
    sizes = [part.stop - part.start for part in parts]
    assert sum(sizes) == 11008
    assert max(sizes) <= 1024
    assert min(sizes) >= 512
    assert all(part.start % 4 == 0 for part in parts)
    assert columns_of_blocks(12, 6, 4) == [slice(0, 6), slice(6, 12)]
    assert columns_of_blocks(10, 10, 4) == [slice(0, 3), slice(3, 6), slice(6, 10)]
