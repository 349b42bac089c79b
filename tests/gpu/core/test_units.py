import math

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import NM, BlockNM, mask_units, random_masks
from sparsetheory.gpu.core.rewiring import rewire

CASES = {
    "rows": ("rows", (4, 6), lambda i: (i[0],)),
    "columns": ("columns", (4, 6), lambda i: (i[1],)),
    "filters": ("rows", (4, 2, 3, 3), lambda i: (i[0],)),
    "kernels": ("kernels", (4, 2, 3, 3), lambda i: i[:2]),
    "boxes": ((2, 3), (4, 6), lambda i: (i[0] // 2, i[1] // 3)),
    "entries": ("1:2", (4, 6), lambda i: i),
    "blocks of rows": (BlockNM(2, 1, 3), (4, 6), lambda i: (i[0] // 2, i[1])),
}


def indices(shape):
    return list(torch.cartesian_prod(*(torch.arange(n) for n in shape)).tolist())


@pytest.mark.parametrize("case", CASES)
def test_totals_are_the_sums_over_units(case, device):
    units, shape, unit_of = CASES[case]
    score = torch.randn(shape, dtype=torch.float64).to(device)
    found = mask_units(units, shape)
    sums = {}
    for index in indices(shape):
        key = tuple(unit_of(tuple(index)))
        sums[key] = sums.get(key, 0.0) + float(score[tuple(index)])
    assert math.prod(found.grid_shape) == len(sums)
    assert found.size * len(sums) == math.prod(shape)
    expected = torch.tensor([sums[key] for key in sorted(sums)], dtype=torch.float64, device=device)
    torch.testing.assert_close(found.totals(score).flatten(), expected)


@pytest.mark.parametrize("case", CASES)
def test_spread_undoes_totals(case, device):
    units, shape, unit_of = CASES[case]
    found = mask_units(units, shape)
    grid = (torch.rand(found.grid_shape) < 0.5).to(device)
    mask = found.spread(grid)
    assert mask.shape == shape
    assert torch.equal(found.all(mask), grid)
    assert torch.equal(found.any(mask), grid)
    assert torch.equal(found.totals(mask.double()) > 0, grid)
    values = {}
    for index in indices(shape):
        values.setdefault(tuple(unit_of(tuple(index))), set()).add(bool(mask[tuple(index)]))
    assert all(len(seen) == 1 for seen in values.values())


def test_groups_along_another_axis_are_consecutive_in_the_grid():
    found = mask_units(NM(1, 2, axis=0), (4, 3))
    mask = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    found.check_mask(mask, "mask")
    assert bool((found.all(mask).reshape(-1, 2).sum(1) == 1).all())
    assert torch.equal(found.spread(found.all(mask)), mask)
    mask[0, 0] = False
    with pytest.raises(ValueError, match="fc must keep exactly 1 of every 2 units along axis 0"):
        found.check_mask(mask, "fc")


def test_scores_of_units_are_taken_as_they_are():
    found = mask_units("rows", (3, 2))
    given = torch.tensor([[1.0], [2.0], [3.0]])
    assert torch.equal(found.totals(given), given)
    with pytest.raises(ValueError, match=r"shape of its mask, \(3, 2\), or of its units, \(3, 1\); got \(2, 3\)"):
        found.totals(torch.zeros(2, 3))


def test_sums_of_half_precision_do_not_overflow():
    assert float(mask_units("rows", (1, 4)).totals(torch.full((1, 4), 6e4, dtype=torch.float16))) == 240_000


def test_errors():
    with pytest.raises(ValueError, match="it splits some"):
        mask_units("rows", (2, 2)).check_mask(torch.tensor([[True, False], [True, True]]), "mask")
    with pytest.raises(ValueError, match="fc must have a multiple of 4 entries along axis 1"):
        mask_units((4, 4), (8, 6), name="fc")
    with pytest.raises(ValueError, match="at least 2 axes"):
        mask_units("columns", (8,))
    with pytest.raises(TypeError, match="units must be"):
        mask_units((0, 2), (4, 4))
    with pytest.raises(TypeError, match="units must be"):
        mask_units(4, (4, 4))
    with pytest.raises(ValueError, match="units must be"):
        mask_units("neurons", (4, 4))
    with pytest.raises(TypeError, match="units must be"):
        mask_units("50%", (4, 4))


@pytest.mark.parametrize("units", ["rows", "columns", (2, 2), "kernels"])
def test_random_masks_of_units_are_exact(units):
    shapes = {"a": (8, 12), "b": (20, 8)}
    masks = random_masks(shapes, {"a": 0.5, "b": 0.25}, 0, units=units)
    for name, density in (("a", 0.5), ("b", 0.25)):
        found = mask_units(units, shapes[name])
        found.check_mask(masks[name], name)
        assert int(masks[name].sum()) == density * masks[name].numel()


@pytest.mark.parametrize("units", ["2:4", NM(1, 2, axis=0), BlockNM(4, 1, 4)])
def test_random_masks_of_groups_keep_n_of_m(units):
    found = mask_units(units, (8, 8))
    mask = random_masks({"a": (8, 8)}, {"a": found.n / found.m}, 1, units=units)["a"]
    found.check_mask(mask, "a")
    with pytest.raises(ValueError, match="densities must be"):
        random_masks({"a": (8, 8)}, {"a": 0.3}, 1, units=units)


def test_groups_leave_no_choice_of_inputs_and_flags_are_checked():
    with pytest.raises(ValueError, match="min_fan_in must be 0 where n of every m units are active; got 3"):
        random_masks({"fc": (4, 4)}, {"fc": 0.5}, 0, units="2:4", min_fan_in=3)
    with pytest.raises(ValueError, match="exact must be"):
        random_masks({"fc": (4, 4)}, {"fc": 0.5}, 0, units="rows", exact="yes")


def test_names_that_are_none_are_said_and_numbers_of_numpy_are_numbers():
    with pytest.raises(ValueError, match=r"units must be 'rows', .* got 'row'"):
        mask_units("row", (4, 6))
    units = mask_units((np.int64(2), 3), (4, 6))
    assert units == mask_units((2, 3), (4, 6))
    assert type(units.edges[0]) is int


def test_all_sets_of_a_group_are_drawn_alike():
    mask = random_masks({"a": (1000, 4)}, {"a": 0.5}, 3, units="2:4")["a"]
    codes = (mask.long() * torch.tensor([8, 4, 2, 1])).sum(1)
    _, counts = codes.unique(return_counts=True)
    assert len(counts) == 6
    # Six equal shares of 1000; the standard deviation of a count is 11.8.
    assert int((counts - 1000 / 6).abs().max()) < 60


def brute_within(mask, drop, grow, n_drop, frozen, forbid, regrow, m):
    order = sorted((i for i in range(len(mask)) if mask[i] and not frozen[i]), key=lambda i: (drop[i], i))[:n_drop]
    after = {i for i in range(len(mask)) if mask[i]}
    for start in range(0, len(mask), m):
        group = range(start, start + m)
        leaving = [i for i in order if i in group]
        for k in range(len(leaving), -1, -1):
            kept = {i for i in group if mask[i]} - set(leaving[:k])
            places = [i for i in group if i not in kept and not forbid[i] and (regrow or not mask[i])]
            if len(places) >= k:
                break
        places.sort(key=lambda i: (-grow[i], i))
        after = (after - set(group)) | kept | set(places[:k])
    return after


def test_exchange_within_groups_equals_brute_force(device):
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([-math.inf, -1.0, 0.0, -0.0, 0.5, math.inf])
    for trial in range(600):
        m = int(torch.randint(1, 5, (1,), generator=generator))
        size = m * int(torch.randint(0, 5, (1,), generator=generator))

        def scores(size=size):
            return levels[torch.randint(0, 6, (size,), generator=generator)]

        chances = torch.rand(3, generator=generator) * 1.2 - 0.1
        mask, frozen, forbid = (torch.rand(size, generator=generator) < chance for chance in chances)
        drop, grow, n_drop = scores(), scores(), int(torch.randint(0, 8, (1,), generator=generator))
        regrow = bool(trial % 2)
        there = [tensor.to(device) for tensor in (mask, drop, grow, frozen, forbid)]
        found = rewire(*there[:3], n_drop, frozen=there[3], forbid=there[4], allow_regrow=regrow, within=m)
        plain = [tensor.tolist() for tensor in (mask, drop, grow, frozen, forbid)]
        expected = brute_within(*plain[:3], n_drop, *plain[3:], regrow, m)
        assert set(found.mask.nonzero().flatten().tolist()) == expected
        assert torch.equal(found.mask.cpu().reshape(-1, m).sum(1), mask.reshape(-1, m).sum(1))
        assert found.n_drop == found.n_grow


def test_whole_numbers_without_a_sign_are_ordered_within_groups():
    mask = torch.tensor([True, False, False, False])
    scores = torch.tensor([0, 0, 7, 3], dtype=torch.uint8)
    assert rewire(mask, scores, scores, 1, within=4).mask.tolist() == [False, False, True, False]


def test_bad_groups():
    mask = torch.ones(6, dtype=torch.bool)
    with pytest.raises(ValueError, match="within must divide the 6 entries"):
        rewire(mask, torch.ones(6), torch.ones(6), 1, within=4)
    with pytest.raises(ValueError, match="n_grow must not be given"):
        rewire(mask, torch.ones(6), torch.ones(6), 1, 2, within=3)
