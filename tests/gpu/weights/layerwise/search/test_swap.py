import itertools

import numpy as np
import pytest
import torch
from kernels.layerwise_cases import best_gain, energy, problem, refit, start

from sparsetheory.gpu.core import NM, BlockNM, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.weights import best_swap_gain, swap_search

PATTERNS = [
    NM(2, 4),
    NM(1, 4),
    NM(2, 8),
    PerRow(density=0.5),
    PerRow((2, 5, 0, 16)),
    RowBlock(2, 0.5),
    BlockNM(4, 2, 4),
]
ROWS = {RowBlock: 2, BlockNM: 4}


def _blocks(pattern, rows):
    size = ROWS.get(type(pattern), 1)
    return [slice(i, i + size) for i in range(0, rows, size)]


def _random_mask(pattern, shape, seed):
    return pattern.mask(torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_no_single_swap_improves_what_the_search_returns(pattern):
    W, H = problem(4, 16, seed=2)
    found = swap_search(W, H, start(W, H, pattern), pattern)
    m = getattr(pattern, "m", 16)
    assert int(found.n_swaps.max()) > 0
    for rows in _blocks(pattern, 4):
        mask, scale = found.mask[rows.start], energy(W[rows], H)
        if 0 < int(mask.sum()) < 16:
            assert best_gain(W[rows], H, mask, m) < 1e-10 * scale
            assert best_swap_gain(W[rows], H, found.mask[rows], pattern) < 1e-10 * scale


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_weights_are_the_refit_on_their_mask_and_never_worse_than_that_on_the_first(pattern, seed):
    W, H = problem(4, 16, seed=seed)
    for first in (start(W, H, pattern), _random_mask(pattern, (4, 16), seed)):
        found = swap_search(W, H, first, pattern)
        for row in range(4):
            s, objective = refit(W[row], H, found.mask[row])
            np.testing.assert_allclose(found.weight[row], s, atol=1e-8)
            assert abs(float(found.objective[row]) - objective) < 1e-10 * energy(W, H)
        for rows in _blocks(pattern, 4):
            before = sum(refit(w, H, mask)[1] for w, mask in zip(W[rows], first[rows], strict=True))
            assert float(found.objective[rows].sum()) <= before + 1e-10 * energy(W, H)
        if not isinstance(pattern, RowBlock):
            assert torch.equal(found.mask, pattern.mask(found.mask.double()))
        assert torch.equal(found.mask.sum(1), first.sum(1))


def test_every_step_takes_the_swap_of_the_largest_gain():
    W, H = problem(1, 16, seed=5)
    for pattern, m in ((NM(2, 4), 4), (PerRow(6), 16)):
        mask = start(W, H, pattern)
        for _ in range(3):
            step = swap_search(W, H, mask, pattern, max_swaps=1)
            gain = refit(W[0], H, mask[0])[1] - refit(W[0], H, step.mask[0])[1]
            assert abs(gain - max(best_gain(W, H, mask[0], m), 0.0)) < 1e-10 * energy(W, H)
            mask = step.mask


def test_swaps_come_near_the_best_of_all_masks():
    exact = 0
    masks = [sum(pair, ()) for pair in itertools.product(itertools.combinations(range(4), 2), repeat=2)]
    for seed in range(25):
        W, H = problem(1, 8, seed=seed, condition=1e4)
        found = swap_search(W, H, start(W, H, NM(2, 4)), NM(2, 4))
        best = min(refit(W[0], H, np.isin(np.arange(8), (a, b, 4 + c, 4 + d)))[1] for a, b, c, d in masks)
        assert float(found.objective[0]) >= best - 1e-10 * energy(W, H)
        exact += float(found.objective[0]) <= best * (1 + 1e-8)
    assert len(masks) == 36
    assert exact >= 15


def test_objectives_lie_between_the_extreme_eigenvalues_times_the_distance():
    W, H = problem(20, 16, seed=3)
    distance = (W - NM(2, 4).project(W)).square().sum(1)
    least, most = np.linalg.eigvalsh(H.numpy())[[0, -1]]
    found = swap_search(W, H, NM(2, 4).mask(W.abs()), NM(2, 4)).objective
    assert bool((found >= least * distance).all())
    assert bool((found <= most * distance).all())


def test_dead_inputs_get_weight_zero_and_make_room_for_others():
    W, H = problem(3, 8, seed=4)
    H[2], H[:, 2] = 0.0, 0.0
    mask = torch.zeros(3, 8, dtype=torch.bool)
    mask[:, [1, 2, 4, 5]] = True
    found = swap_search(W, H, mask, NM(2, 4))
    assert not found.mask[:, 2].any()
    live = [0, 1, 3, 4, 5, 6, 7]
    alone = W[:, live], H[live][:, live]
    for row in range(3):
        expected = refit(alone[0][row], alone[1], found.mask[row, live])
        np.testing.assert_allclose(found.weight[row, live], expected[0], atol=1e-9)
        assert float(found.objective[row]) == pytest.approx(expected[1], rel=1e-8)


def test_a_dead_input_stays_where_nothing_else_can_take_its_place():
    W, H = problem(1, 4)
    H[2:], H[:, 2:] = 0.0, 0.0
    found = swap_search(W, H, torch.tensor([[True, False, True, True]]), NM(3, 4))
    assert found.mask.sum() == 3
    assert found.mask[0, :2].all()
    np.testing.assert_allclose(found.weight, [[W[0, 0], W[0, 1], 0.0, 0.0]], atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_singular_matrices_are_searched_without_damping(seed):
    rng = np.random.default_rng(seed)
    X = torch.from_numpy(rng.standard_normal((6 + 4 * seed, 16)))
    X[:, 1], X[:, 15] = X[:, 0], X[:, 2] + 1e-7 * X[:, 3]
    X *= torch.from_numpy(10.0 ** rng.uniform(-4, 4, 16))
    H = X.T @ X
    W = torch.from_numpy(rng.standard_normal((4, 16))) / H.diagonal().sqrt()
    energies = ((W @ H) * W).sum(1)
    for pattern in (NM(2, 4), PerRow(8)):
        first = _random_mask(pattern, (4, 16), seed)
        refitted = swap_search(W, H, first, pattern, max_swaps=0)
        found = swap_search(W, H, first, pattern)
        assert bool((found.objective <= refitted.objective + 1e-9 * energies).all())
        for row in range(4):
            # Columns of length one; what lies below 1e-6 of the largest singular value is no direction of its own.
            kept, y = (X / X.norm(dim=0))[:, first[row]].numpy(), (X @ W[row]).numpy()
            left = y - kept @ np.linalg.lstsq(kept, y, rcond=1e-6)[0]
            assert abs(float(refitted.objective[row]) - left @ left) < 1e-6 * float(energies[row])
            assert best_swap_gain(W[row], H, found.mask[row], pattern) < 1e-8 * float(energies[row])


@pytest.mark.parametrize("pattern", [NM(2, 4), PerRow(density=0.5)], ids=str)
def test_ill_conditioned_matrices_give_exact_refits(pattern):
    W, H = problem(3, 64, seed=6, condition=1e9)
    found = swap_search(W, H, start(W, H, pattern), pattern)
    for row in range(3):
        objective = refit(W[row], H, found.mask[row])[1]
        assert abs(float(found.objective[row]) - objective) < 1e-9 * energy(W[row : row + 1], H)
        assert best_swap_gain(W[row], H, found.mask[row], pattern) < 1e-9 * energy(W[row : row + 1], H)


def test_ties_go_to_the_lowest_columns():
    W, H = torch.ones(1, 8, dtype=torch.float64), torch.diag(torch.tensor([1.0, 2, 2, 1, 1, 2, 2, 1]).double())
    first = torch.tensor([[True, False, False, True] * 2])
    step = swap_search(W, H, first, NM(2, 4), max_swaps=1)
    assert step.mask.nonzero()[:, 1].tolist() == [1, 3, 4, 7]
    step = swap_search(W, H, first, PerRow(4), max_swaps=1)
    assert step.mask.nonzero()[:, 1].tolist() == [1, 3, 4, 7]


@pytest.mark.parametrize("pattern", [NM(2, 4), PerRow(density=0.5), RowBlock(4, 0.5)], ids=str)
@pytest.mark.parametrize("block_size", [None, 16])
def test_results_do_not_depend_on_the_number_of_jobs(pattern, block_size):
    W, H = problem(72, 48, seed=7)
    first = start(W, H, pattern)
    one, two = (swap_search(W, H, first, pattern, block_size=block_size, n_jobs=n) for n in (1, 2))
    for field in ("weight", "mask", "objective", "n_swaps"):
        assert torch.equal(getattr(one, field), getattr(two, field))


def test_long_searches_outlive_their_list_of_sweeps():
    # 24 columns hold 24 sweeps, that is 12 swaps, before all rows are brought up to date.
    W, H = problem(6, 24, seed=8)
    most_wrong = PerRow(12).mask(-W.abs() * H.diagonal().sqrt())
    found = swap_search(W, H, most_wrong, PerRow(12))
    assert int(found.n_swaps.max()) >= 10
    grouped = swap_search(W, H, NM(6, 12).mask(-W.abs()), NM(6, 12))
    for row in range(6):
        assert best_swap_gain(W[row], H, found.mask[row], PerRow(12)) < 1e-10 * energy(W, H)
        assert best_swap_gain(W[row], H, grouped.mask[row], NM(6, 12)) < 1e-10 * energy(W, H)


def test_rows_that_need_no_weight_elsewhere_return_at_once():
    W, H = problem(2, 8)
    W = NM(2, 4).project(W)
    found = swap_search(W, H, W != 0, NM(2, 4))
    assert torch.equal(found.weight, W)
    assert found.n_swaps.tolist() == [0, 0]
    assert float(found.objective.max()) == 0.0


def test_a_diagonal_matrix_leaves_the_mask_of_the_scaled_magnitudes():
    W, _ = problem(5, 16)
    H = torch.diag(torch.linspace(0.1, 3.0, 16, dtype=torch.float64))
    first = start(W, H, NM(2, 4))
    found = swap_search(W, H, first, NM(2, 4))
    assert torch.equal(found.mask, first)
    worst = swap_search(W, H, NM(2, 4).mask(-W.abs()), NM(2, 4))
    assert torch.equal(worst.mask, first)


def test_limits_on_swaps_hold_and_zero_swaps_are_a_refit():
    W, H = problem(3, 16, seed=9)
    first = PerRow(8).mask(-W.abs())
    none = swap_search(W, H, first, PerRow(8), max_swaps=0)
    assert torch.equal(none.mask, first)
    for row in range(3):
        np.testing.assert_allclose(none.weight[row], refit(W[row], H, first[row])[0], atol=1e-9)
    assert swap_search(W, H, first, PerRow(8), max_swaps=2).n_swaps.tolist() == [2, 2, 2]


def test_the_last_block_of_rows_may_be_short():
    W, H = problem(5, 12, seed=10)
    pattern = RowBlock(2, 0.5, pad=True)
    found = swap_search(W, H, start(W, H, pattern), pattern)
    assert best_swap_gain(W[4], H, found.mask[4], pattern) < 1e-10 * energy(W, H)
    assert torch.equal(found.mask[0], found.mask[1])


def test_bad_arguments_are_named():
    W, H = problem(4, 8)
    mask = start(W, H, NM(2, 4))
    with pytest.raises(ValueError, match="pattern must be NM or BlockNM along the last axis, PerRow or RowBlock"):
        swap_search(W, H, mask, PerTensor(0.5))
    with pytest.raises(ValueError, match="pattern must be NM or BlockNM along the last axis"):
        swap_search(W, H, mask, NM(2, 4, axis=0))
    with pytest.raises(ValueError, match="must have a multiple of 3 entries"):
        swap_search(W, H, mask, NM(2, 3))
    with pytest.raises(ValueError, match="mask must keep at most what 1:4 allows"):
        swap_search(W, H, mask, NM(1, 4))
    with pytest.raises(ValueError, match="mask must be the same in all rows of a block"):
        swap_search(W, H, mask, BlockNM(2, 2, 4))
    with pytest.raises(ValueError, match="mask must be a boolean tensor"):
        swap_search(W, H, mask.double(), NM(2, 4))
    with pytest.raises(TypeError, match="W must be a float64 tensor on the CPU"):
        swap_search(W.float(), H, mask, NM(2, 4))
    with pytest.raises(ValueError, match=r"H must have shape \(8, 8\)"):
        swap_search(W, H[:4, :4], mask, NM(2, 4))
    with pytest.raises(ValueError, match="H must be a finite matrix"):
        swap_search(W, H * torch.nan, mask, NM(2, 4))
    with pytest.raises(RuntimeError, match="H must be positive semidefinite"):
        swap_search(W, torch.ones(8, 8, dtype=torch.float64) * 2 - H.diagonal().diag(), mask, PerRow(4))
