"""Claims about isolated tasks: old answers keep their bits, and what tasks use only grows, within a bound."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.dynamic_sparsity.isolation.split_pictures import DIGITS, outputs_of, pairs
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.verdicts import Always

__all__ = ["capacity", "zero_forgetting"]

_WIDTH, _BATCH = 12, 16
_OPTIMIZERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.02, "weight_decay": 1e-2}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.1, "amsgrad": True}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "weight_decay": 1e-2}),
    ("Adagrad", {"lr": 0.1}),
)


def _network(seed: int, n_tasks: int) -> Any:
    from torch import nn

    model = core.models.MLP((64, _WIDTH, _WIDTH, outputs_of(n_tasks - 1).stop), generator=seed)
    model.insert(1, nn.BatchNorm1d(_WIDTH))
    return model


def _fit(model: Any, optimizer: Any, task: int, n_steps: int, seed: int) -> None:
    x, y = pairs(DIGITS, 0)[task][:2]
    own = outputs_of(task)

    def loss(output: Any, targets: Any) -> Any:
        return core.class_loss(output[:, own.start : own.stop], targets)

    with one_thread():
        core.train(model, x, y, optimizer=optimizer, n_steps=n_steps, batch_size=_BATCH, loss=loss, generator=seed)


@dataclass(frozen=True)
class Lessons:
    """Some pairs of digits, and how they are learned.

    Parameters
    ----------
    seed : int
    optimizer : tuple of str and dict
        Name in ``torch.optim``, and options.
    n_tasks, n_steps : int
        Pairs, and steps on each.
    options : dict
        Of :class:`TaskIsolation`.
    """

    seed: int
    optimizer: tuple[str, dict[str, Any]]
    n_tasks: int
    n_steps: int
    options: dict[str, Any] = field(default_factory=dict)

    def learn(self, after: Callable[[Any, int], None]) -> None:
        """Learn the pairs, and call a function with the isolation after each."""
        import torch

        model, (name, settings) = _network(self.seed, self.n_tasks), self.optimizer
        optimizer = getattr(torch.optim, name)(model.parameters(), **settings)
        tasks = dynamic.TaskIsolation(model, optimizer, head="5", every=1, generator=self.seed, **self.options)
        for task in range(self.n_tasks):
            tasks.begin_task(task, outputs_of(task))
            _fit(model, optimizer, task, self.n_steps, self.seed + task)
            tasks.end_task()
            after(tasks, task)


@st.composite
def _lessons(draw: st.DrawFn) -> Lessons:
    options = {
        "density": draw(st.sampled_from([0.1, 0.3])),
        "init": draw(st.sampled_from(["erk", "uniform"])),
        "grow": draw(st.sampled_from(["gradient", "random", "momentum"])),
        "share": draw(st.sampled_from(["forbid", "allow", "score"])),
        "fresh": draw(st.sampled_from(["init", "zero"])),
    }
    optimizer = draw(st.sampled_from(_OPTIMIZERS))
    return Lessons(draw(seeds) % 2**31, optimizer, draw(st.integers(2, 3)), draw(st.integers(1, 3)), options)


def _changed_bits(lessons: Lessons, answer: Callable[[Any, int], Any]) -> int:
    """Count the numbers in answers of earlier pairs whose bits a later pair has changed."""
    answers: dict[int, Any] = {}
    changed = 0

    def after(tasks: Any, task: int) -> None:
        nonlocal changed
        for earlier, bits in answers.items():
            changed += int((answer(tasks, earlier) != bits).sum())
        answers[task] = answer(tasks, task)

    lessons.learn(after)
    return changed


def _answer(tasks: Any, task: int) -> Any:
    """Return the bits of what a pair answers to its test pictures."""
    with tasks.masked(task) as model:
        return _bits(model, task)


def _bits(model: Any, task: int) -> Any:
    import torch

    with torch.no_grad(), one_thread():
        return array(model(pairs(DIGITS, 0)[task][2])).view(np.int32)


def _answer_of_final_network(tasks: Any, task: int) -> Any:
    """Return the bits of the answer with the pair's masked weights, and all else as the last pair left it."""
    with tasks.masked(tasks.tasks[-1]) as model:
        last = {name: tensor.clone() for name, tensor in model.state_dict().items() if name not in tasks.used}
    with tasks.masked(task) as model:
        model.load_state_dict(last, strict=False)
        return _bits(model, task)


def _forgotten(lessons: Lessons) -> Measurement:
    """Count changed bits.

    Of an old task three things are read: its mask, the weights under it, and its own biases and normalisation. Later
    tasks have other ones of the first and the third. Weights under a mask of an earlier task are written back after
    each update, so that neither momentum nor decay moves them, and are read again by later tasks as they were.
    """
    return Measurement(float(_changed_bits(lessons, _answer)), 0.0, scale=1.0)


def _by_the_final_network(lessons: Lessons) -> Measurement:
    """Isolate masked weights alone: biases and statistics of normalisation go on with every task."""
    return Measurement(float(_changed_bits(lessons, _answer_of_final_network)), 0.0, scale=1.0)


zero_forgetting = Claim(
    name="dynamic_sparsity.zero_forgetting",
    summary="What an isolated task answers keeps its bits, whatever is learned later, by any optimiser.",
    statement=r"f_t(x)\big|_{\text{after task } i} = f_t(x)\big|_{\text{after task } t}"
    r" \text{ bit by bit, for all } i \ge t",
    source=Source.ours("weights, masks and all that has no mask are stored by task, and updates are gated"),
    verdict=Always(rtol=0.0),
    instances=_lessons,
    evaluate=_forgotten,
    near_miss=_by_the_final_network,
)


@dataclass(frozen=True)
class Union:
    """Entries used after some pairs, and how many a bound allows.

    Parameters
    ----------
    used : int
        After the last pair.
    size : int
        Entries of all weights.
    bound : int
        Entries of one mask times pairs, at most all.
    broken : int
        How often a mask had another number of entries than at first, or what is used was not the union of masks.
    """

    used: int
    size: int
    bound: int
    broken: int


def _union(lessons: Lessons) -> Union:
    found: list[Any] = []
    n_active, broken = 0, 0

    def after(tasks: Any, task: int) -> None:
        nonlocal n_active, broken
        masks, used = tasks.masks(task), tasks.used
        n_active = n_active or masks.n_nonzero
        densities = {entry[2] for entry in tasks.trajectory(task)}
        broken += (masks.n_nonzero != n_active) + len(densities) - 1
        broken += used != (found[-1] | masks if found else masks)
        found.append(used)

    lessons.learn(after)
    size = found[-1].size
    return Union(found[-1].n_nonzero, size, min(size, lessons.n_tasks * n_active), broken)


def _capacity(lessons: Lessons) -> Measurement:
    """Compare the share of weights that are used with the sum of the masks.

    Each task adds at most the entries of its mask, whose number no change of the mask alters.
    """
    union = _union(lessons)
    share = union.used / union.size + union.broken
    static = 1.0 - (1.0 - lessons.options["density"]) ** lessons.n_tasks
    return Measurement(share, union.bound / union.size, 1.0, {"mean of random static masks": static})


def _as_static(lessons: Lessons) -> Measurement:
    """Take the mean of independent random masks for a bound."""
    union = _union(lessons)
    return Measurement(union.used / union.size, 1.0 - (1.0 - lessons.options["density"]) ** lessons.n_tasks, 1.0)


def _draw(rng: np.random.Generator, n_tasks: float) -> Lessons:
    options = {"density": 0.15, "init": "uniform", "grow": str(rng.choice(["gradient", "random"])), "fraction": 0.5}
    return Lessons(int(rng.integers(2**31)), _OPTIMIZERS[int(rng.integers(6))], int(n_tasks), 3, options)


capacity = Claim(
    name="dynamic_sparsity.capacity",
    summary="What tasks use is the union of their masks: it only grows, by at most one budget a task.",
    statement=r"U_{t+1} = U_t \cup M_t, \quad |U_{t+1}| \le \min\{n, (t + 1)\, |M|\}",
    source=Source.ours("counts of masks do not change, and what is used is their union"),
    verdict=Always(rtol=1e-12),
    evaluate=_capacity,
    near_miss=_as_static,
    sweep=Sweep(
        axis="tasks",
        values=(1, 2, 3, 4, 5),
        draw=_draw,
        trials=10,
        quick_trials=4,
        measured_label="share of weights used",
        bound_label="sum of masks",
    ),
)
