import inspect
import math
import pickle
import warnings
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core.densities import erk_densities
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.schedules import Cosine, Cubic
from sparsetheory.gpu.dynamic.scores import (
    MomentumScore,
    curvature_gain,
    find_score,
    gradient_magnitude,
    magnitude,
    random_order,
    unfired_first,
)

RIGL = {"drop": magnitude, "grow": gradient_magnitude}


def _model(seed=0, device="cpu"):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).to(device)


def _masks(model, density=0.4, seed=0):
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if p.ndim > 1}
    return random_masks(shapes, erk_densities(shapes, density), seed, min_fan_in=1)


def _controller(model, optimizer, masks=None, **options):
    masks = _masks(model) if masks is None else masks
    return TopologyController(optimizer, masks.by_parameter(model), **{**RIGL, "fraction": 0.3, "every": 3, **options})


def _train(model, optimizer, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    where = next(model.parameters()).device
    for _ in range(steps):
        optimizer.zero_grad()
        x = torch.randn(16, 6, generator=generator).to(where)
        y = torch.randint(3, (16,), generator=generator).to(where)
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def _vector(entries, active, optimizer="SGD", **options):
    """One parameter of a few entries, its optimiser, and a controller that moves one entry at every step."""
    weight = nn.Parameter(torch.tensor(entries))
    kind = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}[optimizer]
    made = kind([weight], lr=1e-3, **({"momentum": 0.9} if optimizer == "SGD" else {}))
    settings = {**RIGL, "fraction": 1.0, "every": 1, "rounding": lambda count: min(1, math.ceil(count)), **options}
    return weight, made, TopologyController(made, {weight: torch.tensor(active)}, **settings)


def _step(weight, optimizer, gradient):
    weight.grad = torch.tensor(gradient)
    optimizer.step()


def _off(tensor, mask):
    return tensor.detach()[~mask]


KINDS = ["ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_moments_are_zero_off_the_masks_and_counts_stay(kind, device):
    model = _model(device=device)
    known = inspect.signature(getattr(torch.optim, kind)).parameters
    extra = {"momentum": 0.9, "weight_decay": 0.01, "amsgrad": True}
    options = {key: value for key, value in extra.items() if key in known}
    optimizer = getattr(torch.optim, kind)(model.named_parameters(), lr=0.01, **options)
    controller = _controller(model, optimizer)
    counts = {name: int(mask.sum()) for name, mask in controller.masks.items()}
    first, fired = controller.masks.digest(), controller.fired
    for _ in range(16):
        _train(model, optimizer, 2)
        assert {name: int(mask.sum()) for name, mask in controller.masks.items()} == counts
        for name, mask in controller.masks.items():
            parameter = model.get_parameter(name)
            assert not bool(_off(parameter, mask).any())
            assert bool(parameter[mask].any())
            kept = [x for x in optimizer.state[parameter].values() if getattr(x, "shape", None) == parameter.shape]
            assert kept
            assert not any(bool(_off(one, mask).any()) for one in kept)
            assert bool((controller.fired[name] >= mask).all())
        assert fired.overlap(controller.fired) == 1
    assert controller.step == 32
    assert [event.step for event in controller.history] == list(range(3, 33, 3))
    assert controller.masks.digest() == controller.history[-1].digest != first
    assert controller.fired.density > controller.masks.density == controller.history[-1].density


def test_dense_updates_of_masked_gradients_are_masked():
    weight = nn.Parameter(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))
    mask = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.4
    optimizer = torch.optim.Muon([weight], lr=0.1)
    plain = nn.Parameter(torch.where(mask, weight.detach(), 0))
    unmasked = torch.optim.Muon([plain], lr=0.1)
    TopologyController(optimizer, {weight: mask}, **RIGL, fraction=0.3)
    for parameter, one in ((weight, optimizer), (plain, unmasked)):
        parameter.grad = torch.where(mask, 1.0, 0.0)
        one.step()
    assert bool(plain[~mask].any())
    assert not bool(weight[~mask].any())


def test_masks_given_are_changed_in_place():
    model = _model()
    masks = _masks(model)
    before = MaskSet({name: mask.clone() for name, mask in masks.items()})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    controller = _controller(model, optimizer, masks)
    assert list(controller.masks) == ["mask 0", "mask 1"]
    _train(model, optimizer, 3)
    assert all(torch.equal(a, b) for a, b in zip(masks.values(), controller.masks.values(), strict=True))
    assert masks != before


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("score", ["gradient", "momentum", "curvature"])
def test_the_entry_of_the_largest_dense_gradient_grows(optimizer, score):
    grow = curvature_gain([torch.ones(())]) if score == "curvature" else find_score(score)
    weight, made, controller = _vector(
        [1.0, 2.0, 0.0, 0.0, 0.0], [True, True, False, False, False], optimizer, grow=grow, every=4
    )
    for _ in range(4):
        _step(weight, made, [0.1, 0.1, 0.3, -5.0, 0.2])
    assert controller.masks["mask 0"].tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_moments_of_a_masked_optimiser_do_not_see_what_is_off_the_mask(optimizer):
    blind = MomentumScore(dense=False)
    weight, made, controller = _vector([1.0, 2.0, 0.0, 0.0], [True, True, False, False], optimizer, grow=blind, every=4)
    for _ in range(4):
        _step(weight, made, [0.0, 0.1, 0.3, -5.0])
    # All moments off the mask are zero, so growth falls back on the lowest index, that of the entry just dropped.
    assert controller.masks["mask 0"].tolist() == [True, True, False, False]
    assert controller.history[0].n_regrown == 1


def test_gradients_are_masked_also_where_they_are_infinite_and_then_nothing_is_rewired():
    for bad in (math.inf, math.nan):
        weight, made, controller = _vector([1.0, 2.0, 0.0], [True, True, False])
        _step(weight, made, [0.0, 0.0, bad])
        assert weight.tolist() == [1.0, 2.0, 0.0]
        assert controller.history == []
        assert controller.step == 1
        _step(weight, made, [0.0, 0.0, 1.0])
        assert controller.masks["mask 0"].tolist() == [False, True, True]


def test_a_requested_event_waits_for_finite_gradients():
    weight, made, controller = _vector([1.0, 2.0, 0.0], [True, True, False], every=None)
    _step(weight, made, [0.0, 0.0, 1.0])
    assert controller.history == []
    controller.request()
    _step(weight, made, [0.0, math.inf, 1.0])
    assert controller.history == []
    _step(weight, made, [0.0, 0.0, 1.0])
    assert [event.step for event in controller.history] == [3]
    _step(weight, made, [0.0, 0.0, 1.0])
    assert len(controller.history) == 1


def test_mask_gradients_before_clipping_clips_the_norm_of_what_moves():
    def clipped(mask_first):
        weight, made, controller = _vector([1.0, 0.5, 0.0, 0.0], [True, True, False, False], fraction=0.5)
        weight.grad = torch.tensor([3.0, 4.0, 10.0, 100.0])
        if mask_first:
            controller.mask_gradients()
        norm = float(nn.utils.clip_grad_norm_([weight], 5.0))
        made.step()
        return norm, weight.detach(), controller.masks["mask 0"].tolist()

    norm, weight, mask = clipped(True)
    assert norm == 5
    # Scores still see the dense gradient.
    assert mask == [True, False, False, True]
    dense_norm, dense_weight, dense_mask = clipped(False)
    assert dense_norm > 100
    assert dense_mask == mask
    assert abs(1 - dense_weight[0]) < 0.1 * abs(1 - weight[0])


def test_a_hook_that_is_registered_later_clips_masked_gradients():
    weight, made, controller = _vector([1.0, 0.5, 0.0, 0.0], [True, True, False, False], fraction=0.5)
    norms = []
    made.register_step_pre_hook(lambda *_: norms.append(float(nn.utils.clip_grad_norm_([weight], 5.0))))
    _step(weight, made, [3.0, 4.0, 10.0, 100.0])
    assert norms == [5]
    assert controller.masks["mask 0"].tolist() == [True, False, False, True]


class _Masked(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, weight):
        return weight * self.mask


def test_under_a_mask_parametrisation_growth_by_gradient_would_be_blind():
    layer = nn.Linear(4, 1, bias=False)
    mask = torch.tensor([[True, True, False, False]])
    parametrize.register_parametrization(layer, "weight", _Masked(mask.clone()))
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    with parametrize.cached():
        layer.weight.retain_grad()
        layer(x).sum().backward()
        # What the layer computes with has a dense gradient, its original has none off the mask.
        assert layer.weight.grad.tolist() == [[1, 2, 3, 4]]
    assert layer.parametrizations.weight.original.grad.tolist() == [[1, 2, 0, 0]]
    plain = nn.Linear(4, 1, bias=False)
    TopologyController(torch.optim.SGD(plain.parameters(), lr=0.1), {plain.weight: mask}, **RIGL, fraction=0.5)
    plain(x).sum().backward()
    assert plain.weight.grad.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("regrown", ["keep", "new"])
def test_regrown_entries_keep_their_bits_or_start_anew(optimizer, regrown):
    weight, made, controller = _vector(
        [0.5, 2.0, 0.0, 0.0], [True, True, False, False], optimizer, regrown=regrown, every=6
    )
    for _ in range(5):
        _step(weight, made, [1.0, 0.1, 0.0, 0.0])
    reference = nn.Parameter(weight.detach().clone())
    other = type(made)([reference], **made.defaults)
    other.load_state_dict(deepcopy(made.state_dict()))
    _step(reference, other, [1.0, 0.1, 0.0, 0.0])
    _step(weight, made, [1.0, 0.1, 0.0, 0.0])
    assert controller.history[0].n_regrown == 1
    assert controller.masks["mask 0"].tolist() == [True, True, False, False]
    if regrown == "keep":
        assert torch.equal(weight, reference)
    else:
        assert weight.tolist()[0] == 0
        assert weight[1] == reference[1]
    for key, kept in made.state[weight].items():
        if kept.shape == weight.shape:
            assert torch.equal(kept, other.state[reference][key]) == (regrown == "keep")
            assert (kept[0] == 0) == (regrown == "new")


def _first_moves(state):
    """Moves, in learning rates, of an entry that grows late into a constant gradient under Adam."""
    weight, made, controller = _vector([1.0, 2.0, 0.0], [True, True, False], "Adam", state=state, every=None)
    _step(weight, made, [1.0, 1.0, 1.0])
    # The state after very many such steps.
    made.state[weight]["step"].fill_(1e6)
    for key in ("exp_avg", "exp_avg_sq"):
        made.state[weight][key].copy_(torch.tensor([1.0, 1.0, 0.0]))
    controller.request()
    _step(weight, made, [0.0, 1.0, 1.0])
    assert controller.masks["mask 0"].tolist() == [False, True, True]
    moves = []
    for _ in range(40):
        before = float(weight.detach()[2])
        _step(weight, made, [1.0, 1.0, 1.0])
        moves.append(abs(float(weight.detach()[2]) - before) / 1e-3)
    return moves


def test_a_new_entry_makes_large_steps_under_adam_unless_it_starts_at_the_mean_of_squares():
    zero, mean = _first_moves("zero"), _first_moves("mean")
    assert zero[0] == pytest.approx(0.1 / math.sqrt(0.001), rel=1e-3)
    wanted = max((1 - 0.9**k) / math.sqrt(1 - 0.999**k) for k in range(1, 40))
    assert max(zero) == pytest.approx(wanted, rel=1e-3)
    assert 6.5 < wanted < 6.6
    assert max(mean) < 1.01


def test_new_weights_start_where_the_method_says():
    store = torch.arange(12.0) + 1

    def from_store(parameter, new, survivors, generator):
        assert not bool((new & survivors).any())
        return store[new]

    weight, made, controller = _vector(
        [0.1, 0.2, 3.0, *[0.0] * 9], [*[True] * 3, *[False] * 9], start=from_store, rounding=lambda count: 2
    )
    _step(weight, made, [0.0] * 10 + [1.0, 2.0])
    assert controller.masks["mask 0"].nonzero().flatten().tolist() == [2, 10, 11]
    assert weight.detach()[[10, 11]].tolist() == [11.0, 12.0]

    def normal(parameter, new, survivors, generator):
        return 0.1 * torch.randn(int(new.sum()), generator=generator)

    values = []
    for seed in (0, 0, 1):
        weight, made, _ = _vector([0.1, 2.0, 0.0], [True, True, False], start=normal, generator=seed)
        _step(weight, made, [0.0, 0.0, 1.0])
        values.append(weight.detach()[2].item())
    assert values[0] == values[1] != values[2]


def test_several_tensors_share_a_mask_each_with_its_own_start():
    mean, scale = (nn.Parameter(torch.tensor(x)) for x in ([1.0, 2.0, 0.0, 0.0], [0.3, 0.5, 0.0, 0.0]))
    optimizer = torch.optim.SGD([mean, scale], lr=0.0, momentum=0.9)
    mask = torch.tensor([True, True, False, False])

    def survivors_mean(parameter, new, survivors, generator):
        return parameter[survivors].mean()

    def zero(parameter, new, survivors, generator):
        return 0.0

    controller = TopologyController(
        optimizer, {(mean, scale): mask}, **RIGL, fraction=0.5, every=1, start=[zero, survivors_mean]
    )
    mean.grad, scale.grad = torch.tensor([0.0, 0.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 9.0, 1.0])
    optimizer.step()
    assert mask.tolist() == [False, True, False, True]
    assert mean.tolist() == [0.0, 2.0, 0.0, 0.0]
    assert scale.tolist() == [0.0, 0.5, 0.0, 0.5]
    assert optimizer.state[scale]["momentum_buffer"].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert controller.masks.size == 4


def test_an_event_may_replace_the_update():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    controller = _controller(model, optimizer, skip_update=True)
    _train(model, optimizer, 2)
    before = [p.detach().clone() for p in model.parameters()]
    buffers = [optimizer.state[p]["momentum_buffer"].clone() for p in model.parameters()]
    _train(model, optimizer, 1, seed=1)
    masks = dict(zip(("mask 0", "mask 1"), (p for p in model.parameters() if p.ndim > 1), strict=True))
    for old, now in zip(before, model.parameters(), strict=True):
        kept = next((controller.masks[name] for name, p in masks.items() if p is now), torch.ones_like(now) > 0)
        assert torch.equal(now.detach(), torch.where(kept, old, 0))
    now = [optimizer.state[p]["momentum_buffer"] for p in model.parameters()]
    assert all(not torch.equal(a, b) for a, b in zip(buffers, now, strict=True))
    assert len(controller.history) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_may_replace_the_update_of_parameters_and_moments_alike(kind):
    model = _model()
    known = inspect.signature(getattr(torch.optim, kind)).parameters
    extra = {"momentum": 0.9, "weight_decay": 0.01, "amsgrad": True}
    options = {key: value for key, value in extra.items() if key in known}
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.1, **options)
    controller = _controller(model, optimizer, skip_update="state")
    _train(model, optimizer, 2)
    before, states = deepcopy([p.detach() for p in model.parameters()]), deepcopy(optimizer.state_dict()["state"])
    _train(model, optimizer, 1, seed=1)
    assert len(controller.history) == 1
    assert all(p.grad is not None for p in model.parameters())
    # Only what the change of the masks itself does: zeros where an entry is new or has left.
    masks = iter(controller.masks.values())
    for index, (old, now) in enumerate(zip(before, model.parameters(), strict=True)):
        kept = next(masks) & (old != 0) if now.ndim > 1 else torch.ones_like(now) > 0
        assert torch.equal(now.detach(), torch.where(kept, old, 0))
        for key, value in optimizer.state[now].items():
            old_value = states[index][key]
            per_entry = isinstance(value, torch.Tensor) and value.shape == now.shape
            expected = torch.where(kept, old_value, 0) if per_entry else old_value
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(expected)), key
    _train(model, optimizer, 1, seed=2)
    assert not torch.equal(before[1], list(model.parameters())[1])


def test_frozen_entries_neither_move_nor_leave_and_forbidden_ones_do_not_grow():
    model = _model()
    masks = _masks(model)
    parameters = masks.by_parameter(model)
    generator = torch.Generator().manual_seed(5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    controller = _controller(model, optimizer, masks, fraction=1.0, rounding=math.ceil)
    _train(model, optimizer, 5)
    frozen = {p: mask & (torch.rand(p.shape, generator=generator) < 0.4) for p, mask in parameters.items()}
    forbid = {p: ~mask & (torch.rand(p.shape, generator=generator) < 0.4) for p, mask in parameters.items()}
    # Few places are left: as many leave as can be replaced.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        controller.set_frozen(frozen)
        controller.set_forbidden(forbid)
        before = {p: p.detach().clone() for p in parameters}
        _train(model, optimizer, 30)
    for (p, stopped), mask in zip(frozen.items(), controller.masks.values(), strict=True):
        assert torch.equal(p.detach().view(torch.int32)[stopped], before[p].view(torch.int32)[stopped])
        assert bool(mask[stopped].all())
        assert not bool(mask[forbid[p]].any())
        assert not torch.equal(p.detach(), before[p])


def test_unfired_growth_tries_everything_before_it_returns():
    weight, made, controller = _vector(
        [1.0, 2.0, *[0.0] * 8], [True, True, *[False] * 8], grow=unfired_first, allow_regrow=False, generator=0
    )
    for fired in range(3, 11):
        _step(weight, made, [0.0] * 10)
        assert controller.fired.n_nonzero == fired
    _step(weight, made, [0.0] * 10)
    assert controller.fired.density == 1


def test_random_growth_is_that_of_the_seed():
    runs = []
    for seed in (0, 0, 1):
        model = _model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        controller = _controller(model, optimizer, grow=random_order, generator=seed)
        _train(model, optimizer, 9)
        runs.append([event.digest for event in controller.history])
    assert runs[0] == runs[1] != runs[2]


def test_a_density_path_is_followed_to_half_an_entry():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    dense = MaskSet({name: torch.ones_like(p) > 0 for name, p in model.named_parameters() if p.ndim > 1})
    path = Cubic(1.0, 30, 0.2)
    controller = _controller(model, optimizer, dense, density=path, fraction=0.0)
    for step in range(3, 34, 3):
        _train(model, optimizer, 3)
        assert controller.step == step
        for mask in controller.masks.values():
            assert abs(int(mask.sum()) - path(step) * mask.numel()) <= 0.5
        assert controller.history[-1].n_grown == 0


def test_drop_and_grow_may_follow_two_numbers():
    weight, made, controller = _vector(
        [3.0, 2.0, 1.0, *[0.0] * 7],
        [True] * 3 + [False] * 7,
        density=lambda step: 0.5,
        rounding=round,
        fraction=1 / 3,
        allow_regrow=False,
    )
    _step(weight, made, [0.0, 0, 0, 4, 3, 2, 1, 0, 0, 0])
    assert controller.masks["mask 0"].nonzero().flatten().tolist() == [0, 1, 3, 4, 5]


@pytest.mark.parametrize(("bounds", "n_active"), [((0.2, 0.3), 3), ((0.3, 0.3), 3), ((0.4, 0.5), 5), ((0.0, 0.1), 1)])
def test_a_pair_of_densities_says_how_much_is_dropped_and_how_much_grows(bounds, n_active):
    entries = [4.0, 3.0, 2.0, *[0.0] * 7]
    active = [True] * 3 + [False] * 7
    weight, made, controller = _vector(entries, active, density=lambda step: bounds, fraction=0.0, allow_regrow=False)
    _step(weight, made, [0.0, 0, 0, 7, 6, 5, 4, 3, 2, 1])
    n_kept = min(3, round(10 * bounds[0]))
    chosen = [*range(n_kept), *range(3, 3 + n_active - n_kept)]
    assert controller.masks["mask 0"].nonzero().flatten().tolist() == chosen


def test_a_global_budget_moves_entries_between_masks():
    big, small = nn.Parameter(torch.full((4,), 5.0)), nn.Parameter(torch.full((4,), 0.1))
    optimizer = torch.optim.SGD([big, small], lr=0.0)
    half = torch.tensor([True, True, False, False])
    for budget, counts in (("tensor", [2, 2]), ("global", [4, 0])):
        with torch.no_grad():
            big.fill_(5.0)
            small.fill_(0.1)
        masks = {big: half.clone(), small: half.clone()}
        with TopologyController(
            optimizer, masks, **RIGL, fraction=0.5, every=1, budget=budget, allow_regrow=False
        ) as controller:
            big.grad, small.grad = torch.full((4,), 9.0), torch.full((4,), 1.0)
            optimizer.step()
        assert [int(mask.sum()) for mask in controller.masks.values()] == counts


def test_the_fraction_counts_steps_done_and_zero_is_no_event():
    seen = []
    cosine = Cosine(0.5, 12)

    def fraction(step):
        seen.append(step)
        return cosine(step)

    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    controller = _controller(model, optimizer, fraction=fraction)
    _train(model, optimizer, 18)
    assert sorted(set(seen)) == [3, 6, 9, 12, 15, 18]
    assert [event.step for event in controller.history] == [3, 6, 9]
    sizes = [int(mask.sum()) for mask in controller.masks.values()]
    for event in controller.history:
        wanted = sum(math.floor(cosine(event.step) * size) for size in sizes)
        assert event.n_dropped + event.n_regrown == event.n_grown + event.n_regrown == wanted


def test_a_saved_run_continues_as_if_it_had_not_stopped(tmp_path):
    def make(seed):
        model = _model(seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        score = MomentumScore(0.5, 0.9)
        return model, optimizer, _controller(model, optimizer, _masks(model, seed=seed), drop=random_order, grow=score)

    model, optimizer, controller = make(0)
    _train(model, optimizer, 7)
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "controller": controller.state_dict()}
    torch.save(saved, tmp_path / "run.pt")
    _train(model, optimizer, 9, seed=1)
    again, other, resumed = make(3)
    loaded = torch.load(tmp_path / "run.pt")
    again.load_state_dict(loaded["model"])
    other.load_state_dict(loaded["optimizer"])
    resumed.load_state_dict(loaded["controller"])
    _train(again, other, 9, seed=1)
    assert resumed.masks == controller.masks
    assert resumed.fired == controller.fired
    assert resumed.history == controller.history
    assert resumed.trajectory == controller.trajectory
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_removed_hooks_leave_training_as_it_is_without_them():
    model, other = _model(), _model()
    optimizer, theirs = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, other))
    controller = _controller(model, optimizer)
    other.load_state_dict(model.state_dict())
    controller.remove()
    for m, o in ((model, optimizer), (other, theirs)):
        _train(m, o, 4)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert controller.step == 0


def test_copies_of_an_optimiser_have_lost_their_hooks():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    _controller(model, optimizer)
    for copied in (deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert not copied._optimizer_step_pre_hooks


def test_fused_optimisers_under_a_scaler_step_alike_and_skip_alike():
    def run(scale, bad_step):
        model = _model()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
        controller = _controller(model, optimizer, grow=MomentumScore(0.5))
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale != 1.0)
        generator = torch.Generator().manual_seed(0)
        for step in range(9):
            optimizer.zero_grad()
            x = torch.randn(16, 6, generator=generator)
            if step == bad_step:
                if scale == 1.0:
                    continue
                x = x * math.inf
            scaler.scale(model(x).square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
        return controller, [p.detach() for p in model.parameters()]

    plain, weights = run(1.0, 5)
    scaled, same = run(1024.0, 5)
    assert (plain.step, [e.step for e in plain.history]) == (8, [3, 6])
    assert scaled.step == 8
    assert scaled.history == plain.history
    for a, b in zip(weights, same, strict=True):
        torch.testing.assert_close(a, b)


def test_clipped_numbers_and_fractions_that_move_nothing_are_said():
    weight, made, controller = _vector([1.0, 2.0, 3.0], [True] * 3, allow_regrow=False)
    with pytest.warns(RuntimeWarning, match="mask 0 dropped 0 entries and grew 0 at step 1; asked for were 1 and 1"):
        _step(weight, made, [1.0] * 3)
    weight, made, controller = _vector([1.0, 0.0, 0.0], [True, False, False], fraction=0.3, rounding=math.floor)
    with pytest.warns(RuntimeWarning, match=r"enough active entries for a fraction of 0\.3; nothing is rewired"):
        _step(weight, made, [1.0] * 3)
    assert controller.history == []


def test_a_score_that_needs_a_gradient_says_so_and_random_growth_needs_none():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    controller = _controller(model, optimizer, every=1)
    with pytest.raises(RuntimeError, match="a score needs the gradient under mask 0; it is None at step 1"):
        optimizer.step()
    controller.remove()
    controller = _controller(model, optimizer, every=1, grow=random_order)
    optimizer.step()
    assert len(controller.history) == 1


def _bad(change):
    weight, other = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    masks = {weight: torch.ones(2, 2) > 0}
    options = {**RIGL, "fraction": 0.3, "every": 1}
    if change == "other":
        masks = {other: masks[weight]}
    elif change == "group":
        masks = {(weight, other): masks[weight]}
    elif change == "twice":
        masks = {weight: masks[weight], (weight,): masks[weight].clone()}
    elif change == "none":
        masks = {}
    elif change == "sparse":
        controller = TopologyController(optimizer, masks, **options)
        weight.grad = torch.ones(2, 2).to_sparse()
        return controller.mask_gradients()
    elif change == "lbfgs":
        optimizer = torch.optim.LBFGS([weight])
    elif change == "state":
        controller = TopologyController(optimizer, masks, **options)
        state = controller.state_dict()
        return controller.load_state_dict({**state, "masks": {"7": torch.ones(2, 2) > 0}})
    else:
        options.update(change)
    return TopologyController(optimizer, masks, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("other", "masks must be given for parameters of the optimiser"),
        ("group", r"number 1, \(2, 2\), is none"),
        ("twice", "once each; number 1 is not so"),
        ("none", "at least one mask; got none"),
        ("sparse", r"gradients must be dense under masks; that of mask 0 is torch\.sparse_coo"),
        ("lbfgs", "got LBFGS"),
        ("state", r"missing are \['mask 0'\], unknown are \['7'\]"),
        ({"fraction": 1.5}, r"fraction must be a number in \[0, 1\]"),
        ({"every": 0}, "every must be None or an integer from 1"),
        ({"state": "one"}, "state must be one of 'zero', 'mean'"),
        ({"regrown": "old"}, "regrown must be one of"),
        ({"budget": "all"}, "budget must be one of"),
        ({"generator": "seed"}, "generator must be None"),
        ({"frozen": {nn.Parameter(torch.ones(2, 2)): torch.ones(2, 2) > 0}}, "frozen must be given for parameters"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        _bad(change)


def test_a_step_that_is_broken_off_leaves_no_gradients_to_the_next_one():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    controller = _controller(model, optimizer, every=2)

    def broken(*args):
        raise KeyboardInterrupt

    handle = optimizer.register_step_pre_hook(broken)
    with pytest.raises(KeyboardInterrupt):
        _train(model, optimizer, 1)
    handle.remove()
    seen = []

    def look(*args):
        # What the optimiser is given is masked, as in any step.
        seen.append(
            [bool(model[index].weight.grad[~controller.masks[f"mask {i}"]].any()) for i, index in ((0, 0), (1, 2))]
        )

    optimizer.register_step_pre_hook(look)
    _train(model, optimizer, 2)
    assert seen == [[False, False]] * 2
    assert [event.step for event in controller.history] == [2]
