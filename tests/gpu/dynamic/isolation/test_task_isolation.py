"""No task changes an earlier one, to the bit, whatever the optimiser; and what a new task starts from."""

import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import Cosine
from sparsetheory.gpu.dynamic import MomentumScore, TaskIsolation, gradient_magnitude

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, foreach=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=1e-2, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, weight_decay=1e-2),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


def _isolation(model, optimizer="adam", **options):
    made = OPTIMIZERS[optimizer](model.parameters())
    options = {"density": 0.25, "every": 2, "head": "head", "generator": 0} | options
    return made, TaskIsolation(model, made, **options)


def _bits(tensor):
    return tensor.detach().cpu().view(torch.int32)


def _total(model):
    """Return a loss in which every parameter has the gradient 1."""
    return sum(parameter.sum() for parameter in model.parameters())


def _learn(tasks, optimizer, train_steps, n_tasks, **options):
    for task in range(n_tasks):
        tasks.begin_task(task, range(2 * task, 2 * task + 2))
        train_steps(tasks.model, optimizer, task, **options)
        tasks.end_task()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_old_tasks_answer_with_the_same_bits(make_mlp, train_steps, device, optimizer):
    model = make_mlp().to(device)
    step, tasks = _isolation(model, optimizer)
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(5)).to(device)
    answers = {}
    for task in range(3):
        tasks.begin_task(task, range(2 * task, 2 * task + 2))
        train_steps(model, step, task)
        tasks.end_task(probe=x)
        with torch.no_grad():
            answers[task] = model.eval()(x)
        for earlier, answer in answers.items():
            with tasks.masked(earlier) as shown, torch.no_grad():
                assert torch.equal(_bits(shown(x)), _bits(answer))
    assert tasks.forgetting_ == {0: 0.0, 1: 0.0, 2: 0.0}
    # The model has moved on: it is the stored task that answers, not what the model holds.
    assert not torch.equal(answers[0], answers[2])
    assert bool((tasks.masks(2)["first.weight"] & tasks.masks(0)["first.weight"]).any())


def test_weights_that_are_used_do_not_move_while_a_later_task_trains(make_mlp, train_steps):
    # A gradient of zero would not do: momentum and decay of the optimiser go on.
    model = make_mlp()
    step, tasks = _isolation(model, "sgd", share="score", grow="random")
    tasks.begin_task(0)
    train_steps(model, step, 0)
    tasks.end_task()
    used, left = tasks.used, {name: p.detach().clone() for name, p in model.named_parameters()}
    tasks.begin_task(1)
    for _ in range(5):
        train_steps(model, step, 1, n_steps=2)
        for name, mask in tasks.masks(1).items():
            held = mask & used[name]
            assert torch.equal(_bits(model.get_parameter(name))[held], _bits(left[name])[held])
            assert int(held.sum()) > 0
    assert not torch.equal(model.get_parameter("first.weight"), left["first.weight"])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("grow", ["gradient", "momentum"])
def test_the_largest_dense_gradient_off_the_mask_grows(make_mlp, optimizer, grow):
    model = make_mlp(norm=False, bias=False)
    step, tasks = _isolation(model, optimizer, grow=grow, fraction=0.01, init="uniform")
    tasks.begin_task(0)
    weight = model.get_parameter("second.weight")
    for _ in range(2):
        before = tasks.masks(0)["second.weight"].clone()
        step.zero_grad()
        slope = torch.zeros_like(weight)
        place = (~before).nonzero()[7]
        slope[tuple(place)] = -100.0
        (_total(model) + (slope * weight).sum()).backward()
        step.step()
    after = tasks.masks(0)["second.weight"]
    assert after[tuple(place)]
    assert int((after & ~before).sum()) == 1


def test_a_new_task_starts_from_the_weights_at_construction(make_mlp, train_steps):
    model = make_mlp()
    first = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    step, tasks = _isolation(model, "sgd")
    _learn(tasks, step, train_steps, 1)
    left, used = {name: p.detach().clone() for name, p in model.named_parameters()}, tasks.used
    tasks.begin_task(1, [2, 3])
    masks = tasks.masks(1)
    for name, now in model.state_dict().items():
        if name in masks:
            assert int((masks[name] & ~used[name]).sum()) > 0
            expected = torch.where(used[name], left[name], first[name]).masked_fill(~masks[name], 0)
        else:
            expected = first[name]
        assert torch.equal(now, expected), name


def test_a_new_task_can_start_from_zeros(make_mlp, train_steps):
    model = make_mlp()
    start = model.get_parameter("first.weight").detach().clone()
    step, tasks = _isolation(model, fresh="zero")
    tasks.begin_task(0, [0, 1])
    mask = tasks.masks(0)["first.weight"]
    assert torch.equal(model.get_parameter("first.weight"), start.masked_fill(~mask, 0))
    train_steps(model, step, 0)
    tasks.end_task()
    tasks.begin_task(1, [2, 3])
    new = tasks.masks(1)["first.weight"] & ~tasks.used["first.weight"]
    assert int(new.sum()) > 0
    assert not model.get_parameter("first.weight")[new].any()


def test_rows_of_later_classes_are_never_in_a_mask(make_mlp, train_steps):
    model = make_mlp()
    step, tasks = _isolation(model, share="score", grow="random", density=0.5)
    _learn(tasks, step, train_steps, 3)
    for task in range(3):
        rows = tasks.masks(task)["head.weight"].any(1)
        assert rows.tolist() == [index // 2 == task for index in range(6)]
    # Without outputs a mask covers all of them, and they are used up.
    step, tasks = _isolation(make_mlp(), density=0.5)
    tasks.begin_task(0)
    assert tasks.masks(0)["head.weight"].any(1).all()


def test_budgets_are_exact_and_kept(make_mlp, train_steps):
    model = make_mlp(widths=(6, 10, 10, 6))
    step, tasks = _isolation(model, init="uniform", density=0.25)
    tasks.begin_task("a")
    counts = {name: int(mask.sum()) for name, mask in tasks.masks("a").items()}
    assert counts == {"first.weight": 15, "second.weight": 25, "head.weight": 15}
    train_steps(model, step, 0, n_steps=8)
    assert {name: int(mask.sum()) for name, mask in tasks.masks("a").items()} == counts
    assert len(tasks.controller.history) == 4
    # Of a head with two outputs of six a task has as many weights, as long as its rows hold them.
    tasks.end_task()
    tasks.begin_task("b", [2, 3])
    assert int(tasks.masks("b")["head.weight"].sum()) == 15
    tasks.remove()
    _, dense = _isolation(make_mlp(widths=(6, 10, 10, 6)), init="uniform", density=0.5)
    dense.begin_task("b", [2, 3])
    assert int(dense.masks("b")["head.weight"].sum()) == 20


def test_what_is_used_only_grows(make_mlp, train_steps):
    step, tasks = _isolation(make_mlp())
    before = tasks.used
    for task in range(3):
        tasks.begin_task(task, [2 * task, 2 * task + 1])
        train_steps(tasks.model, step, task)
        tasks.end_task()
        assert tasks.used == before | tasks.masks(task)
        assert tasks.capacity_ == tasks.used.densities
        before = tasks.used
    shared = int((tasks.masks(0)["first.weight"] & tasks.masks(1)["first.weight"]).sum())
    assert shared > 0
    assert tasks.overlap_(0, 1) == pytest.approx(tasks.masks(0).overlap(tasks.masks(1)))


def test_a_task_starts_with_an_optimiser_that_remembers_nothing(make_mlp, train_steps):
    model = make_mlp()
    extra = nn.Parameter(torch.ones(3))
    step = torch.optim.Adam([*model.parameters(), extra], lr=0.01)
    tasks = TaskIsolation(model, step, 0.3, every=2, generator=0)
    extra.grad = torch.ones(3)
    step.step()
    tasks.begin_task(0)
    train_steps(model, step, 0)
    tasks.end_task()
    assert len(step.state) == len([*model.parameters()]) + 1
    tasks.begin_task(1)
    assert list(step.state) == [extra]


@pytest.mark.parametrize("share", ["forbid", "allow", "score"])
def test_used_weights_join_a_later_mask_as_share_says(make_mlp, train_steps, share):
    model = make_mlp(norm=False, bias=False)
    step, tasks = _isolation(model, "sgd", share=share, init="uniform", fraction=0.2)
    tasks.begin_task(0)
    train_steps(model, step, 0)
    tasks.end_task()
    tasks.begin_task(1)
    weight, used = model.get_parameter("second.weight"), tasks.used["second.weight"]
    left = tasks._store.values["second.weight"].clone()
    before = tasks.masks(1)["second.weight"].clone()
    wanted = used & ~before
    for _ in range(2):
        step.zero_grad()
        (_total(model) + (torch.where(wanted, 50.0, 0.0) * weight).sum()).backward()
        step.step()
    after = tasks.masks(1)["second.weight"]
    grown = after & ~before
    assert int(grown.sum()) > 0
    if share == "score":
        assert bool(wanted[grown].all())
        # It is read as the earlier task left it, not from zero, and stays so.
        assert torch.equal(_bits(weight)[grown], _bits(left)[grown])
        assert bool(left[grown].any())
    else:
        assert not bool(used[grown].any())


def test_random_growth_chooses_used_weights_where_they_are_allowed(make_mlp, train_steps):
    found = {}
    for share in ("forbid", "allow"):
        step, tasks = _isolation(make_mlp(), share=share, grow="random", density=0.4)
        tasks.begin_task(0)
        train_steps(tasks.model, step, 0)
        tasks.end_task()
        tasks.begin_task(1)
        before = tasks.masks(1)["second.weight"].clone()
        train_steps(tasks.model, step, 1, n_steps=4)
        grown = tasks.masks(1)["second.weight"] & ~before
        found[share] = int((grown & tasks.used["second.weight"]).sum())
    assert found["forbid"] == 0
    assert found["allow"] > 0


def test_a_stateful_score_is_fresh_in_each_task_and_blind_where_told(make_mlp, train_steps):
    score = MomentumScore()
    step, tasks = _isolation(make_mlp(), grow=score, share="allow")
    for task in range(2):
        tasks.begin_task(task)
        before = tasks.masks(task)["second.weight"].clone()
        train_steps(tasks.model, step, task, n_steps=2)
        if task:
            grown = tasks.masks(task)["second.weight"] & ~before
            assert not bool((grown & tasks.used["second.weight"]).any())
        tasks.end_task()
    assert score.state_dict() == {"first": {}, "second": {}}


def test_convolutions_normalisation_and_bias_belong_to_tasks(train_steps, device):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU()
    )
    model.extend([nn.Flatten(), nn.Linear(24, 4)])
    model.to(device)
    step = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    tasks = TaskIsolation(model, step, 0.3, every=2, head="6", generator=0)
    x = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(1)).to(device)
    for task in range(2):
        tasks.begin_task(task, [2 * task, 2 * task + 1])
        train_steps(model, step, task, shape=(2, 4, 4))
        tasks.end_task(probe=x)
    # Grouped convolutions have no mask; each task has its own.
    assert list(tasks.used) == ["0.weight", "6.weight"]
    assert tasks.forgetting_ == {0: 0.0, 1: 0.0}
    with tasks.masked(0):
        mean = model[1].running_mean.clone()
    assert not torch.equal(mean, model[1].running_mean)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(make_mlp, train_steps, dtype):
    model = make_mlp().to(dtype)
    step, tasks = _isolation(model, "sgd")
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
    for task in range(2):
        tasks.begin_task(task, [2 * task, 2 * task + 1])
        train_steps(model, step, task, dtype=dtype)
        tasks.end_task(probe=x)
    assert tasks.forgetting_ == {0: 0.0, 1: 0.0}
    assert model.get_parameter("first.weight").dtype == dtype


def test_a_shared_weight_has_one_mask(train_steps):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 4))
    model[2].weight = model[0].weight
    step = torch.optim.SGD(model.parameters(), lr=0.1)
    tasks = TaskIsolation(model, step, 0.3, every=2, generator=0)
    tasks.begin_task(0)
    train_steps(model, step, 0)
    tasks.end_task(probe=torch.ones(2, 6))
    tasks.begin_task(1)
    train_steps(model, step, 1)
    tasks.end_task()
    assert list(tasks.used) == ["0.weight", "3.weight"]
    assert tasks.forgetting_ == {0: 0.0}


def test_a_head_that_is_stored_with_inputs_first():
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    model = nn.Sequential(pytorch_utils.Conv1D(4, 6))
    step = torch.optim.SGD(model.parameters(), lr=0.1)
    tasks = TaskIsolation(model, step, 0.5, head="0", generator=0)
    tasks.begin_task(0, [1])
    assert tasks.masks(0)["0.weight"].any(0).tolist() == [False, True, False, False]


def test_only_what_the_optimiser_trains_gets_masks(make_mlp, train_steps):
    model = make_mlp()
    step = torch.optim.SGD([*model.second.parameters(), *model.head.parameters()], lr=0.1)
    frozen = model.first.weight.detach().clone()
    tasks = TaskIsolation(model, step, 0.3, every=2, generator=0)
    tasks.begin_task(0)
    train_steps(model, step, 0)
    tasks.end_task()
    assert list(tasks.used) == ["second.weight", "head.weight"]
    assert torch.equal(model.first.weight, frozen)


def test_packnet_prunes_after_dense_training(make_mlp, train_steps):
    model = make_mlp(widths=(6, 10, 10, 6))
    step, tasks = _isolation(model, "adam", density=1.0, fraction=0)
    for task in range(2):
        tasks.begin_task(task, [2 * task, 2 * task + 1])
        assert bool(tasks.masks(task)["second.weight"].all())
        train_steps(model, step, task)
        own = ~tasks.used["second.weight"]
        sizes = model.second.weight.detach().abs()
        tasks.prune(0.2)
        mask = tasks.masks(task)["second.weight"]
        assert int((mask & own).sum()) == 20
        # What stays is the largest of its own, and all that earlier tasks use; the rest is zero at once.
        assert float(sizes[mask & own].min()) >= float(sizes[own & ~mask].max())
        assert bool(mask[~own].all())
        assert not bool(model.second.weight[~mask].any())
        train_steps(model, step, task)
        tasks.end_task(probe=torch.ones(3, 6))
    assert int(tasks.used["second.weight"].sum()) == 40
    assert tasks.forgetting_ == {0: 0.0, 1: 0.0}


def test_a_run_can_be_resumed_in_the_middle_of_a_task(make_mlp, train_steps, tmp_path):
    def made():
        model = make_mlp()
        return model, *_isolation(model, "adam", grow="momentum", share="allow", fraction=Cosine(0.4, 20))

    def first_half(model, step, tasks):
        _learn(tasks, step, train_steps, 1)
        tasks.begin_task(1, [2, 3])
        train_steps(model, step, 1, n_steps=5)

    def second_half(model, step, tasks):
        train_steps(model, step, 1, n_steps=5, seed=1)
        tasks.end_task(probe=torch.ones(2, 6))
        tasks.begin_task(2, [4, 5])
        train_steps(model, step, 2, n_steps=4)

    model, step, tasks = made()
    first_half(model, step, tasks)
    path = tmp_path / "state.pt"
    torch.save({"model": model.state_dict(), "step": step.state_dict(), "tasks": tasks.state_dict()}, path)
    second_half(model, step, tasks)

    other, other_step, other_tasks = made()
    other.apply(lambda module: module.reset_parameters() if hasattr(module, "reset_parameters") else None)
    state = torch.load(path, weights_only=True)
    other.load_state_dict(state["model"])
    other_step.load_state_dict(state["step"])
    other_tasks.load_state_dict(state["tasks"])
    assert other_tasks.tasks == (0,)
    second_half(other, other_step, other_tasks)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert other_tasks.masks(2) == tasks.masks(2)
    assert other_tasks.trajectory(1) == tasks.trajectory(1)
    assert other_tasks.used == tasks.used
    with other_tasks.masked(0), tasks.masked(0):
        assert torch.equal(other(torch.ones(2, 6)), model(torch.ones(2, 6)))


def test_a_run_can_be_resumed_between_tasks(make_mlp, train_steps):
    step, tasks = _isolation(make_mlp())
    _learn(tasks, step, train_steps, 1)
    saved = copy.deepcopy((tasks.model.state_dict(), tasks.state_dict()))
    tasks.begin_task(1)
    _, other = _isolation(make_mlp(seed=1), generator=7)
    other.model.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    other.begin_task(1)
    assert other.masks(1) == tasks.masks(1)
    for a, b in zip(other.model.parameters(), tasks.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_goes_on_without_touching_a_saved_state(make_mlp, train_steps):
    model = make_mlp()
    step, tasks = _isolation(model)
    _learn(tasks, step, train_steps, 1)
    saved = tasks.state_dict()
    kept = copy.deepcopy(saved)
    tasks.begin_task(1, [2, 3])
    train_steps(model, step, 1)
    tasks.end_task()
    for part in ("values", "used", "initial"):
        for name, tensor in kept["store"][part].items():
            assert torch.equal(tensor, saved["store"][part][name])
    assert len(saved["store"]["records"]) == 1


def test_scores_of_ones_own(make_mlp, train_steps):
    model = make_mlp()
    taylor = lambda snapshot: (snapshot.weight * snapshot.gradient).square()  # noqa: E731
    step, tasks = _isolation(model, drop=taylor, grow=gradient_magnitude)
    _learn(tasks, step, train_steps, 2)
    assert bool(model.get_parameter("first.weight").isfinite().all())
    assert len(tasks.trajectory(1)) > 2


@pytest.mark.parametrize("share", ["forbid", "allow", "score"])
def test_masks_of_the_head_keep_clear_of_other_outputs_as_they_grow(make_mlp, train_steps, share):
    step, tasks = _isolation(make_mlp(), grow="random", share=share, fraction=0.9)
    for task in range(3):
        tasks.begin_task(task, [2 * task, 2 * task + 1])
        train_steps(tasks.model, step, task)
        tasks.end_task()
        assert sum(event[0] > 0 for event in tasks.trajectory(task)) > 1
        rows = tasks.masks(task)["head.weight"].any(1).tolist()
        assert [row for row, has in enumerate(rows) if has] == [2 * task, 2 * task + 1]


@pytest.mark.parametrize("shift", [-2.0, 3.0])
def test_forgetting_is_the_largest_change_of_either_sign(make_mlp, train_steps, shift):
    model = make_mlp()
    step, tasks = _isolation(model)
    tasks.begin_task(0)
    train_steps(model, step, 0)
    tasks.end_task(probe=torch.ones(2, 6))
    with model.register_forward_hook(lambda module, args, output: output + shift):
        assert tasks.forgetting_[0] == pytest.approx(abs(shift), rel=1e-5)
    assert tasks.forgetting_ == {0: 0.0}


def test_buffers_that_are_not_saved_with_a_model_belong_to_no_task(make_mlp, train_steps):
    model = make_mlp()
    model.register_buffer("cache", torch.zeros(2), persistent=False)
    step, tasks = _isolation(model)
    tasks.begin_task(0)
    train_steps(model, step, 0)
    tasks.end_task()
    model.cache += 1.0
    with tasks.masked(0) as shown:
        assert shown.cache.tolist() == [1.0, 1.0]
    assert "norm.running_mean" in tasks.state_dict()["store"]["initial"]
    assert "cache" not in tasks.state_dict()["store"]["initial"]
