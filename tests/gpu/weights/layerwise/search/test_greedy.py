import numpy as np
import pytest
import torch
from kernels.layerwise_cases import energy, problem, refit

from sparsetheory.gpu.core import NM, BlockNM, PerRow, PerTensor, RowBlock, allocate
from sparsetheory.gpu.weights import backward_elimination, forward_selection

PATTERNS = [NM(2, 4), NM(1, 4), PerRow(5), PerRow((3, 0, 12, 7)), RowBlock(2, 0.5), BlockNM(4, 2, 4)]
PASSES = [backward_elimination, forward_selection]


@pytest.mark.parametrize("run", PASSES)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_weights_are_the_refit_on_a_mask_of_the_pattern(run, pattern):
    W, H = problem(4, 12, seed=1)
    found = run(W, H, pattern)
    for row in range(4):
        s, objective = refit(W[row], H, found.mask[row])
        np.testing.assert_allclose(found.weight[row], s, atol=1e-8)
        assert abs(float(found.objective[row]) - objective) < 1e-10 * energy(W, H)
    assert torch.equal(found.mask, pattern.mask(found.mask.double()))
    assert int(found.mask.sum()) == pattern.count((4, 12))


def _greedy(W, H, m, n, *, forward):
    """One refit for each candidate in each step; rows share the mask and every group of m keeps n."""
    p = W.shape[1]
    mask, order = np.full(p, not forward), []
    while any(mask[i : i + m].sum() != n for i in range(0, p, m)):
        best = (np.inf, -1)
        for j in range(p):
            if mask[j] != forward and mask[j // m * m : j // m * m + m].sum() != n:
                other = mask.copy()
                other[j] = forward
                best = min(best, (sum(refit(w, H, other)[1] for w in W), j))
        mask[best[1]] = forward
        order.append(best[1])
    return order


@pytest.mark.parametrize("run", PASSES)
@pytest.mark.parametrize(("pattern", "m", "n"), [(NM(2, 4), 4, 2), (PerRow(5), 12, 5), (BlockNM(2, 2, 4), 4, 2)])
def test_every_step_takes_the_best_move(run, pattern, m, n):
    W, H = problem(2, 12, seed=2)
    found = run(W, H, pattern)
    blocks = [slice(0, 2)] if isinstance(pattern, BlockNM) else [slice(0, 1), slice(1, 2)]
    for block, rows in enumerate(blocks):
        assert found.order[block].tolist() == _greedy(W[rows], H, m, n, forward=run is forward_selection)


def test_whole_traces_add_up_to_the_whole_energy():
    W, H = problem(3, 12, seed=3)
    energies = ((W @ H) * W).sum(1)
    removed, entered = backward_elimination(W, H, PerRow(0)), forward_selection(W, H, PerRow(12))
    np.testing.assert_allclose(removed.increments.sum(1), energies, rtol=1e-9)
    np.testing.assert_allclose(entered.decrements.sum(1), energies, rtol=1e-9)
    np.testing.assert_allclose(entered.weight, W, atol=1e-8)
    assert float(removed.weight.abs().max()) == 0.0
    assert sorted(removed.order[0].tolist()) == list(range(12))


def test_traces_say_the_objective_after_every_removal():
    W, H = problem(1, 12, seed=4)
    found = backward_elimination(W, H, PerRow(0))
    mask = np.ones(12, dtype=bool)
    for j, total in zip(found.order[0].tolist(), found.increments[0].cumsum(0).tolist(), strict=True):
        mask[j] = False
        assert abs(refit(W[0], H, mask)[1] - total) < 1e-10 * energy(W, H)


def test_rows_of_different_counts_have_traces_of_different_length():
    W, H = problem(4, 12)
    found = backward_elimination(W, H, PerRow((3, 0, 12, 7)))
    lengths = [9, 12, 0, 5]
    assert found.order.ge(0).sum(1).tolist() == lengths
    assert found.increments.isfinite().sum(1).tolist() == lengths


def test_blocks_of_rows_share_the_count_by_their_hulls():
    W, H = problem(4, 12, seed=5)
    W[:2] *= 3
    found = backward_elimination(W, H, RowBlock(2, 0.5))
    traces = backward_elimination(W, H, BlockNM(2, 1, 12))
    assert traces.increments.shape == (2, 11)
    kept = found.mask[::2].sum(1).tolist()
    assert kept[0] > kept[1]
    # The trace of a block to its end is that to one entry plus what the last entry is worth.
    rest = [float(traces.objective[rows].sum()) for rows in (slice(0, 2), slice(2, 4))]
    last = [energy(W[rows], H) - left for rows, left in zip((slice(0, 2), slice(2, 4)), rest, strict=True)]
    whole = [[*trace.tolist(), end] for trace, end in zip(traces.increments, last, strict=True)]
    assert kept == list(allocate(whole, 12))


@pytest.mark.parametrize("run", PASSES)
def test_dead_inputs_go_first_and_enter_last(run):
    W, H = problem(2, 8)
    H[3], H[:, 3] = 0.0, 0.0
    found = run(W, H, PerRow(4))
    assert not found.mask[:, 3].any()
    filled = run(W, H, NM(4, 4))
    assert filled.mask.all()
    assert float(filled.weight[:, 3].abs().max()) == 0.0


def test_columns_that_others_determine_fill_the_mask_with_zeros():
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.standard_normal((3, 8)))
    W = torch.from_numpy(rng.standard_normal((2, 8)))
    found = forward_selection(W, X.T @ X, PerRow(6))
    assert found.mask.sum(1).tolist() == [6, 6]
    assert float(found.objective.max()) < 1e-9 * energy(W, X.T @ X)


@pytest.mark.parametrize("run", PASSES)
def test_results_do_not_depend_on_the_number_of_jobs(run):
    W, H = problem(40, 16, seed=6)
    one, two = (run(W, H, NM(2, 4), n_jobs=n) for n in (1, 2))
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(one.order, two.order)


def test_bad_arguments_are_named():
    W, H = problem(2, 8)
    for run in PASSES:
        with pytest.raises(ValueError, match="pattern must be NM or BlockNM along the last axis, PerRow or RowBlock"):
            run(W, H, PerTensor(0.5))
    with pytest.raises(RuntimeError, match="H must be positive semidefinite"):
        backward_elimination(W, torch.ones(8, 8, dtype=torch.float64) * 2 - H.diagonal().diag(), PerRow(4))
