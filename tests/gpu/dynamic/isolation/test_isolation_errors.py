"""What goes wrong is said, by name, and leaves everything as it was."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.dynamic import TaskIsolation
from sparsetheory.gpu.dynamic.isolation.task_masks import require_room


def _isolation(model, **options):
    step = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return step, TaskIsolation(model, step, **({"density": 0.25, "every": 2, "head": "head", "generator": 0} | options))


def _state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _same(model, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"density": 0.0}, "density must be .*; got 0"),
        ({"density": 1.5}, "density must be .*; got 1.5"),
        ({"init": "dense"}, "init must be"),
        ({"grow": "everything"}, "name must be"),
        ({"grow": 3}, "grow must be a score or the name of one; got 3"),
        ({"drop": None}, "drop must be a score or the name of one; got None"),
        ({"fraction": 2.0}, "fraction must be"),
        ({"every": 0}, "every must be"),
        ({"share": "some"}, "share must be"),
        ({"fresh": "random"}, "fresh must be"),
        ({"generator": "x"}, "generator must be"),
        ({"layers": "none"}, "'none' matches none"),
        ({"head": "first.weight"}, "head must be .*first.weight, second.weight, head.weight"),
        ({"head": "head", "layers": "first"}, "head must be"),
    ],
)
def test_bad_arguments(make_mlp, options, words):
    model = make_mlp()
    before = _state(model)
    with pytest.raises(ValueError, match=words):
        _isolation(model, **options)
    assert _same(model, before)


def test_optimisers_that_do_not_fit(make_mlp):
    model = make_mlp()
    with pytest.raises(ValueError, match="LBFGS"):
        TaskIsolation(model, torch.optim.LBFGS(model.parameters()))
    with pytest.raises(ValueError, match=r"must train at least one of first\.weight"):
        TaskIsolation(model, torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1))
    with pytest.raises(ValueError, match="optimizer must be"):
        TaskIsolation(model, None)


@pytest.mark.parametrize(
    ("outputs", "words"), [([], "at least one"), ([0, 0], "each once"), ([6], "outputs must be"), ([-1], "outputs")]
)
def test_outputs_must_be_some_of_the_head(make_mlp, outputs, words):
    model = make_mlp()
    _, tasks = _isolation(model)
    before = _state(model)
    with pytest.raises(ValueError, match=words):
        tasks.begin_task(0, outputs)
    assert _same(model, before)
    tasks.begin_task(0, [0])


def test_outputs_need_a_head(make_mlp):
    _, tasks = _isolation(make_mlp(), head=None)
    with pytest.raises(ValueError, match="argument head"):
        tasks.begin_task(0, [0, 1])


def test_tasks_begin_and_end_in_turn(make_mlp, train_steps):
    model = make_mlp()
    step, tasks = _isolation(model)
    for call in (tasks.end_task, lambda: tasks.controller, lambda: tasks.prune(0.1)):
        with pytest.raises(RuntimeError, match="begin_task first"):
            call()
    tasks.begin_task(0)
    with pytest.raises(RuntimeError, match="task 0 must end before task 1 begins"):
        tasks.begin_task(1)
    train_steps(model, step, 0)
    tasks.end_task()
    with pytest.raises(ValueError, match="task_id must be new; got 0"):
        tasks.begin_task(0)


def test_an_unknown_task(make_mlp, train_steps):
    model = make_mlp()
    step, tasks = _isolation(model)
    with pytest.raises(ValueError, match="ended: none; got 5"), tasks.masked(5):
        pass
    tasks.begin_task("a")
    train_steps(model, step, 0)
    tasks.end_task()
    before = _state(model)
    for call in (tasks.masks, tasks.trajectory, lambda task: tasks.overlap_("a", task)):
        with pytest.raises(ValueError, match="ended: 'a'; got 5"):
            call(5)
    with pytest.raises(ValueError, match="got 5"), tasks.masked(5):
        pass
    assert _same(model, before)
    assert model.training


def test_no_free_weight_is_an_error_that_names_the_layer(make_mlp, train_steps):
    model = make_mlp()
    step, tasks = _isolation(model, density=1.0, fraction=0.0)
    tasks.begin_task(0, [0, 1])
    train_steps(model, step, 0)
    tasks.end_task()
    before, generator = _state(model), tasks._generator.get_state()
    with pytest.raises(RuntimeError, match=r"first\.weight has 0 free weights of 72"):
        tasks.begin_task(1, [2, 3])
    assert _same(model, before)
    assert torch.equal(tasks._generator.get_state(), generator)
    with tasks.masked(0):
        pass


def test_little_room_is_a_warning(make_mlp, train_steps):
    model = make_mlp()
    step, tasks = _isolation(model, density=1.0, fraction=0.0)
    tasks.begin_task(0, [0, 1])
    tasks.prune(0.96)
    train_steps(model, step, 0)
    tasks.end_task()
    with pytest.warns(RuntimeWarning, match="free weights") as caught:
        tasks.begin_task(1, [2, 3])
    assert [str(one.message) for one in caught] == [
        "first.weight has 3 free weights of 72 for a new task",
        "second.weight has 6 free weights of 144 for a new task",
    ]


def test_a_mask_that_never_changes_is_a_warning(make_mlp, train_steps, recwarn):
    model = make_mlp()
    step, tasks = _isolation(model, every=50)
    tasks.begin_task(0)
    train_steps(model, step, 0)
    with pytest.warns(RuntimeWarning, match="never changed in 6 steps; every is 50"):
        tasks.end_task()
    step, tasks = _isolation(make_mlp(), fraction=0.0)
    tasks.begin_task(0)
    train_steps(tasks.model, step, 0)
    recwarn.clear()
    tasks.end_task()
    assert not recwarn.list


@pytest.mark.parametrize("change", ["replace", "convert", "add", "drop"])
def test_parameters_that_are_not_those_of_construction(make_mlp, train_steps, change):
    model = make_mlp()
    step, tasks = _isolation(model)
    tasks.begin_task(0)
    train_steps(model, step, 0)
    tasks.end_task()
    names = {
        "replace": r"second\.weight",
        "convert": r"first\.weight",
        "add": r"extra\.weight",
        "drop": r"head\.weight",
    }
    if change == "replace":
        model.second.weight = nn.Parameter(model.second.weight.detach().clone())
    elif change == "convert":
        model.double()
    elif change == "add":
        model.add_module("extra", nn.Linear(2, 2))
        step.add_param_group({"params": list(model.extra.parameters())})
    else:
        group = step.param_groups[0]
        group["params"] = [p for p in group["params"] if p is not model.head.weight]
    for call in (lambda: tasks.begin_task(1), lambda: tasks.masked(0).__enter__()):
        with pytest.raises(RuntimeError, match=f"at construction.*{names[change]}"):
            call()


def test_another_optimiser_is_found_out(make_mlp, train_steps):
    model = make_mlp()
    step, tasks = _isolation(model)
    tasks.begin_task(0)
    train_steps(model, torch.optim.SGD(model.parameters(), lr=0.1), 0)
    with pytest.raises(RuntimeError, match=r"first\.weight must be zero off its mask.*0 have moved"):
        tasks.end_task()
    assert tasks.tasks == ()
    tasks.remove()
    tasks.begin_task(0)
    train_steps(model, step, 0)
    tasks.end_task()
    tasks.begin_task(1)
    held = tasks.masks(1)["first.weight"] & tasks.used["first.weight"]
    with torch.no_grad():
        model.first.weight[held] += 1.0
    train_steps(model, step, 1)
    with pytest.raises(RuntimeError, match=rf"and {int(held.sum())} have moved"):
        tasks.end_task()


def test_a_block_that_fails_gives_the_model_back(make_mlp, train_steps):
    model = make_mlp()
    step, tasks = _isolation(model)
    for task in range(2):
        tasks.begin_task(task, [2 * task, 2 * task + 1])
        train_steps(model, step, task)
        if task == 0:
            tasks.end_task()
    model.norm.eval()
    before = _state(model)

    def fail():
        with tasks.masked(0) as shown:
            assert not shown.training
            assert not _same(model, before)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert _same(model, before)
    assert model.training
    assert not model.norm.training
    # The task that has begun is shown as it is.
    with tasks.masked(1) as shown:
        assert _same(shown, before)
        assert not shown.training
    train_steps(model, step, 1)
    tasks.end_task()


def test_hooks_come_off_the_optimiser(make_mlp, train_steps):
    model = make_mlp()
    step, tasks = _isolation(model)

    def n_hooks():
        return len(step._optimizer_step_pre_hooks) + len(step._optimizer_step_post_hooks)

    for finish in (tasks.end_task, tasks.remove):
        tasks.begin_task(finish.__name__)
        assert n_hooks() == 2
        train_steps(model, step, 0)
        finish()
        assert n_hooks() == 0
    assert tasks.tasks == ("end_task",)


def test_a_state_of_another_network(make_mlp):
    _, tasks = _isolation(make_mlp())
    _, other = _isolation(make_mlp(norm=False))
    with pytest.raises(ValueError, match=r"norm\.weight"):
        other.load_state_dict(tasks.state_dict())
    _, wider = _isolation(make_mlp(widths=(6, 14, 12, 6)))
    with pytest.raises(ValueError, match=r"first\.weight"):
        wider.load_state_dict(tasks.state_dict())


@pytest.mark.parametrize(("n_free", "warns"), [(1, True), (2, False), (3, False)])
def test_room_is_little_below_one_twentieth(n_free, warns, recwarn):
    used = torch.arange(40) >= n_free
    require_room({"weight": torch.ones(40, dtype=torch.bool)}, {"weight": used})
    assert [str(one.message) for one in recwarn] == ["weight has 1 free weights of 40 for a new task"] * warns
