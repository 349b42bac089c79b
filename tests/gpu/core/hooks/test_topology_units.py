import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import BlockNM, TopologyController, mask_units, random_masks


def magnitude(snapshot):
    return snapshot.weight.abs()


def gradient(snapshot):
    return snapshot.gradient.abs()


def controlled(units, shapes=((8, 12), (16, 8)), density=0.5, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    weights = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    optimizer = torch.optim.SGD(weights, lr=0.05, momentum=0.9)
    names = [f"w{index}" for index in range(len(shapes))]
    masks = random_masks(
        dict(zip(names, shapes, strict=True)),
        dict.fromkeys(names, density),
        generator,
        units=options.pop("start", units),
    )
    given = {weight: masks[name] for weight, name in zip(weights, names, strict=True)}
    options = {"drop": magnitude, "grow": gradient, "fraction": 0.4, "every": 2, "units": units} | options
    return TopologyController(optimizer, given, generator=1, **options), weights, generator


def run(controller, weights, generator, n_steps=10):
    targets = [torch.randn(weight.shape, generator=generator) for weight in weights]
    for _ in range(n_steps):
        controller.optimizer.zero_grad()
        sum(((weight - target) ** 2).sum() for weight, target in zip(weights, targets, strict=True)).backward()
        controller.optimizer.step()
        yield [controller.masks[name] for name in controller.masks]


@pytest.mark.parametrize("units", ["rows", "columns", (2, 4), "2:4", "1:2", BlockNM(4, 1, 4)])
def test_masks_are_whole_units_at_every_step(units):
    density = {"1:2": 0.5, "2:4": 0.5}.get(units, 0.25) if isinstance(units, str) else 0.25
    controller, weights, generator = controlled(units, density=density, shapes=((8, 16), (16, 8)))
    counts, seen = [int(mask.sum()) for mask in controller.masks.values()], set()
    for masks in run(controller, weights, generator):
        for mask, weight, count in zip(masks, weights, counts, strict=True):
            mask_units(units, mask.shape).check_mask(mask, "mask")
            assert int(mask.sum()) == count
            assert not bool(weight[~mask].any())
            assert not bool(controller.optimizer.state[weight]["momentum_buffer"][~mask].any())
        seen.add(controller.masks.digest())
    assert len(seen) > 1


def test_rows_of_the_smallest_sums_leave_and_those_of_the_largest_enter():
    weight = nn.Parameter(torch.tensor([[1.0, 1.0], [5.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    mask = torch.tensor([True, True, False, False]).unsqueeze(1).repeat(1, 2)
    TopologyController(optimizer, {weight: mask}, drop=magnitude, grow=gradient, fraction=0.5, every=1, units="rows")
    # The largest entry of a gradient is in row 2, the largest sum in row 3.
    (weight * torch.tensor([[0.0, 0.0], [0.0, 0.0], [4.0, 0.0], [3.0, 3.0]])).sum().backward()
    optimizer.step()
    assert mask.all(1).tolist() == [False, True, False, True]


def test_single_entries_as_units_change_nothing():
    paths = []
    for units in (None, (1, 1)):
        controller, weights, generator = controlled(units, start=None)
        list(run(controller, weights, generator))
        paths.append((controller.masks.digest(), [weight.detach().clone() for weight in weights], controller.history))
    assert paths[0][0] == paths[1][0]
    assert all(torch.equal(a, b) for a, b in zip(paths[0][1], paths[1][1], strict=True))
    assert paths[0][2] == paths[1][2]


def test_units_differ_by_mask_and_history_counts_entries():
    weights = [nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(4, 6))]
    masks = [random_masks({"w": (4, 6)}, {"w": 0.5}, 0, units=units)["w"] for units in ("rows", None)]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    controller = TopologyController(
        optimizer,
        dict(zip(weights, masks, strict=True)),
        drop=magnitude,
        grow=gradient,
        fraction=0.5,
        every=1,
        units={weights[0]: "rows"},
        allow_regrow=False,
    )
    sum((weight - 1).square().sum() for weight in weights).backward()
    optimizer.step()
    # One row of six entries, and six entries.
    assert controller.history[0].n_dropped == controller.history[0].n_grown == 12
    mask_units("rows", (4, 6)).check_mask(masks[0], "mask")
    with pytest.raises(ValueError, match="1 are not among them"):
        TopologyController(
            optimizer, {weights[0]: masks[0]}, drop=magnitude, grow=gradient, fraction=0.5, units={weights[1]: "rows"}
        )


@pytest.mark.parametrize("units", [None, "rows"])
def test_a_global_budget_moves_between_masks_and_min_active_holds_the_last(units):
    totals = {}
    for least in (0, 2):
        controller, weights, generator = controlled(
            units,
            shapes=((8, 12), (8, 12)),
            budget="global",
            min_active=least,
            fraction=0.5,
            # All of the first mask is worth less than anything of the second one.
            drop=lambda snapshot: magnitude(snapshot) + 1e6 * snapshot.index,
            grow=lambda snapshot: gradient(snapshot) + 1e6 * snapshot.index,
        )
        states = run(controller, weights, generator)
        counts = [[int(mask.sum()) for mask in state] for state in states]
        assert {sum(pair) for pair in counts} == {96}
        totals[least] = min(pair[0] for pair in counts) // (12 if units else 1)
    assert totals[0] == 0
    assert totals[2] == 2


def test_frozen_and_forbidden_entries_hold_their_units():
    controller, weights, generator = controlled("rows", shapes=((6, 4),), density=0.5, fraction=1.0)
    start = controller.masks["mask 0"].all(1).clone()
    frozen, forbid = torch.zeros(6, 4, dtype=torch.bool), torch.zeros(6, 4, dtype=torch.bool)
    first, out = int(start.nonzero()[0]), int((~start).nonzero()[0])
    frozen[first, 2] = forbid[out, 1] = True
    controller.set_frozen({weights[0]: frozen})
    controller.set_forbidden({weights[0]: forbid})
    for (mask,) in run(controller, weights, generator):
        assert bool(mask[first].all())
        assert not bool(mask[out].any())


def test_bad_arguments():
    weight = nn.Parameter(torch.ones(4, 4))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    options = {"drop": magnitude, "grow": gradient, "fraction": 0.5}
    split = torch.eye(4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"mask 0 must keep or leave out whole units of shape \(1, 4\)"):
        TopologyController(optimizer, {weight: split}, units="rows", **options)
    with pytest.raises(ValueError, match="mask 0 must keep exactly 2 of every 4"):
        TopologyController(optimizer, {weight: split}, units="2:4", **options)
    with pytest.raises(ValueError, match="budget must be 'tensor'"):
        TopologyController(optimizer, {weight: split}, units="1:4", budget="global", **options)
    with pytest.raises(ValueError, match="min_active"):
        TopologyController(optimizer, {weight: split}, min_active=-1, **options)
    controller = TopologyController(optimizer, {weight: split.clone()}, units="1:4", **options)
    state = controller.state_dict()
    state["masks"] = {"mask 0": torch.ones(4, 4, dtype=torch.bool)}
    with pytest.raises(ValueError, match="state of mask 0 must keep exactly 1"):
        controller.load_state_dict(state)


@pytest.mark.parametrize("units", [None, "rows"])
def test_the_least_number_of_a_mask_are_those_of_the_largest_scores(units):
    weights = [
        nn.Parameter(torch.tensor([[0.1], [0.2], [0.3], [0.0]])),
        nn.Parameter(torch.tensor([[9.0], [8.0], [0.0]])),
    ]
    masks = [weight != 0 for weight in weights]
    optimizer = torch.optim.SGD(weights, lr=0.0)
    TopologyController(
        optimizer,
        dict(zip(weights, masks, strict=True)),
        drop=magnitude,
        grow=lambda snapshot: gradient(snapshot) + 100 * snapshot.index,
        fraction=0.6,
        every=1,
        budget="global",
        units=units,
        min_active=1,
    )
    sum(weight.sum() for weight in weights).backward()
    optimizer.step()
    # The three smallest scores are all of the first mask. Its largest stays; 8.0 goes instead, and returns.
    assert masks[0].flatten().tolist() == [True, False, True, False]
    assert bool(masks[1].all())


def test_a_unit_with_a_forbidden_entry_does_not_enter():
    weight = nn.Parameter(torch.tensor([[1.0, 1.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]))
    mask = weight.detach() != 0
    forbid = torch.zeros(4, 2, dtype=torch.bool)
    forbid[2, 1] = True
    optimizer = torch.optim.SGD([weight], lr=0.0)
    TopologyController(
        optimizer,
        {weight: mask},
        drop=magnitude,
        grow=gradient,
        fraction=0.5,
        every=1,
        units="rows",
        forbid={weight: forbid},
    )
    (weight * torch.tensor([[0.0], [0.0], [9.0], [1.0]])).sum().backward()
    optimizer.step()
    assert mask.all(1).tolist() == [False, True, False, True]


@pytest.mark.parametrize("units", [None, "rows"])
def test_frozen_units_stay_beside_the_last_ones_of_a_mask(units):
    weight = nn.Parameter(torch.tensor([[0.1], [0.2], [0.3], [0.0], [0.0]]))
    mask = weight.detach() != 0
    optimizer = torch.optim.SGD([weight], lr=0.0)
    TopologyController(
        optimizer,
        {weight: mask},
        drop=magnitude,
        grow=gradient,
        fraction=1.0,
        every=1,
        frozen={weight: torch.tensor([[True], [False], [False], [False], [False]])},
        units=units,
        min_active=1,
    )
    (weight * torch.tensor([[0.0], [0.0], [0.0], [1.0], [2.0]])).sum().backward()
    with pytest.warns(RuntimeWarning, match="dropped 1"):
        optimizer.step()
    # 0.1 is frozen, and 0.3 the largest.
    assert mask.flatten().tolist() == [True, False, True, False, True]
