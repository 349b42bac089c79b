"""SparseGPT against a reference that inverts the Gram matrix of what is left in every column, without blocks."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import NM, PerRow, PerTensor
from sparsetheory.gpu.weights import sparsegpt


def _reference(W, gram, choose, width, damp=0.01):
    """Remove entries one column after the other; `choose` says what is kept, from the costs of the next columns."""
    w, H = W.cpu().numpy().copy(), 2.0 * gram.cpu().numpy()
    features = len(H)
    dead = H.diagonal() == 0
    H[dead, dead] = 1.0
    w[:, dead] = 0.0
    H += damp * H.diagonal().mean() * np.eye(features)
    # What one entry costs if only later ones may change: w_j^2 / (inv(H[j:, j:]))_00.
    inverses = [np.linalg.inv(H[j:, j:]) for j in range(features)]
    price = np.array([1.0 / inverse[0, 0] for inverse in inverses])
    kept = np.zeros(w.shape, bool)
    for j in range(features):
        if j % width == 0:
            columns = slice(j, min(j + width, features))
            kept[:, columns] = choose(w[:, columns] ** 2 * price[columns], columns)
        gone = np.where(kept[:, j], 0.0, w[:, j]) * price[j]
        w[:, j:] -= gone[:, None] * inverses[j][0]
    return np.where(kept, w, 0.0), kept


def _agrees(found, expected):
    weight, kept = expected
    assert np.array_equal(found.mask.cpu().numpy(), kept)
    np.testing.assert_allclose(found.weight.cpu().numpy(), weight, rtol=1e-7, atol=1e-9)


def _smallest(count):
    """Return a choice that keeps all but the `count` smallest of each row."""

    def choose(costs, _):
        order = np.argsort(np.argsort(costs, axis=1), axis=1)
        return order >= count

    return choose


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (2, 3), (3, 6), (5, 12), (1, 24)])
@pytest.mark.parametrize("block_size", [128, 16, 5])
def test_groups(n, m, block_size, make_problem):
    W, gram = make_problem(9, 48, seed=m)
    found = sparsegpt(W, gram, NM(n, m), block_size=block_size)
    _agrees(found, _reference(W, gram, _smallest(m - n), m))
    assert bool((found.mask.reshape(9, -1, m).sum(2) == n).all())


@pytest.mark.parametrize("density", [1.0, 0.9, 0.5, 0.3, 0.0])
@pytest.mark.parametrize("damp", [0.01, 0.3])
def test_whole_blocks_prune_one_entry_more_than_the_share(density, damp, make_problem):
    W, gram = make_problem(10, 48, seed=1)

    def choose(costs, _):
        # 320 and 160 entries times the sparsity are whole numbers in exact arithmetic.
        before = round(costs.size * (1 - density))
        return costs > np.sort(costs, axis=None)[min(before, costs.size - 1)]

    expected = _reference(W, gram, choose, 32, damp)
    _agrees(sparsegpt(W, gram, PerTensor(density), damp=damp, block_size=32), expected)
    _agrees(sparsegpt(W, gram, PerTensor(n_nonzero=round(480 * density)), damp=damp, block_size=32), expected)
    assert (~expected[1]).sum() == min(round(480 * (1 - density)) + 2, 480)


def test_rows_keep_their_counts_spread_over_the_blocks(make_problem):
    counts = (0, 48, 24, 11, 47)
    W, gram = make_problem(5, 48, seed=2)

    def choose(costs, columns):
        quota = [round(k * columns.stop / 48) - round(k * columns.start / 48) for k in counts]
        return np.argsort(np.argsort(-costs, axis=1), axis=1) < np.array(quota)[:, None]

    found = sparsegpt(W, gram, PerRow(counts), block_size=20)
    _agrees(found, _reference(W, gram, choose, 20))
    assert found.mask.sum(1).tolist() == list(counts)


@pytest.mark.parametrize("pattern", [NM(2, 4), PerRow(8), PerTensor(0.5)], ids=str)
def test_inputs_that_are_always_zero_get_no_weight(pattern, make_problem):
    W, gram = make_problem(7, 16, seed=5, dead=(2, 9))
    found = sparsegpt(W, gram, pattern)
    assert not found.weight[:, [2, 9]].any()
    if isinstance(pattern, NM):
        _agrees(found, _reference(W, gram, _smallest(2), 4))


def test_a_block_of_zeros_stays_a_block_of_zeros(make_problem):
    W, gram = make_problem(4, 16)
    W[1], W[2, :8] = 0.0, 0.0
    found = sparsegpt(W, gram, PerRow(8))
    assert found.mask.sum(1).tolist() == [8] * 4
    assert not found.weight[1].any()
    assert sparsegpt(W, gram, PerRow(0)).weight.count_nonzero() == 0
    for pattern in (NM(2, 4), PerRow(3), PerTensor(0.5)):
        assert sparsegpt(W[:0], gram, pattern).weight.shape == (0, 16)


def test_only_undamped_singular_matrices_are_refused(make_problem):
    W, _ = make_problem(2, 4)
    gram = torch.ones(4, 4)
    assert sparsegpt(W, gram, NM(1, 2)).mask.sum() == 4
    with pytest.raises(ValueError, match="gram must be positive definite after damping; got damp=0"):
        sparsegpt(W, gram, NM(1, 2), damp=0.0)
    with pytest.raises(ValueError, match="damp must be"):
        sparsegpt(W, gram, NM(1, 2), damp=-1.0)


def test_the_scale_of_the_gram_matrix_does_not_matter(make_problem):
    W, gram = make_problem(5, 16)
    first, second = sparsegpt(W, gram, NM(2, 4)), sparsegpt(W, 1024.0 * gram, NM(2, 4))
    assert torch.equal(first.mask, second.mask)
    torch.testing.assert_close(first.weight, second.weight)
