"""Tasks one after the other in one network: each has a mask, and never changes the weights of those before it."""

import copy
import math
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from sparsetheory.constraints import COUNT, Choice, Instance, Real
from sparsetheory.gpu.core.hooks.snapshots import Score
from sparsetheory.gpu.core.hooks.steps import parameters_of
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.core.recording import run_batches
from sparsetheory.gpu.core.rewiring import rewire
from sparsetheory.gpu.core.schedules import Constant
from sparsetheory.gpu.dynamic.isolation.blind_scores import without_used_gradients
from sparsetheory.gpu.dynamic.isolation.task_masks import DENSITIES, Places, draw_masks, require_room
from sparsetheory.gpu.dynamic.isolation.task_store import TaskRecord, TaskStore
from sparsetheory.gpu.dynamic.scores import find_score

__all__ = ["TaskIsolation"]

_SHARE = Real(0.0, 1.0)
_DENSITY = Real(0.0, 1.0, closed="right")


class TaskIsolation:
    """Learn tasks one after the other under masks, and never change what earlier tasks use.

    Each task has a mask, which is rewired while it trains. Weights in masks of earlier tasks are *used*: a later task
    whose mask covers one computes with it, and cannot change it. What has no mask belongs to each task alone: biases,
    normalisation, running statistics. So an earlier task answers as it did when it ended, to the bit.

    Any loop will do: begin a task, train with the optimiser, end the task. At the beginning of a task the optimiser
    forgets what it keeps for the parameters of the model.

    Parameters
    ----------
    model : torch.nn.Module
        On its device, in its dtype. Its linear and convolutional weights get masks.
    optimizer : torch.optim.Optimizer
        Any but LBFGS. What it does not train is left alone.
    density : float
        Share of all masked weights in the mask of one task, above 0 and at most 1.
    init : {"erk", "er", "uniform"}
        How the density is spread over layers.
    grow, drop : str or callable
        Scores of :class:`TopologyController`, by the names of :func:`find_score` or themselves. Each task has a fresh
        copy.
    fraction : callable or float
        From steps done in the task to the share of its own weights that move, rounded up; 0 keeps masks as drawn.
    every : int
        Steps between changes of the mask.
    share : {"forbid", "allow", "score"}
        Whether a used weight may grow into the mask of a later task, beyond those that its first mask covers by
        chance: not at all; with a gradient of zero in the score, as published code has it; or by its gradient. One
        that joins is never dropped, so that the task has fewer weights of its own.
    fresh : {"init", "zero"}
        What a later task starts from where nothing is used: the weights at construction, or zeros, as they are left by
        masks that are multiplied. From zeros a static mask hardly learns.
    generator : torch.Generator or int, optional
        Of all random choices, on the CPU, or a seed.
    layers : str or sequence of str
        Layers to mask, as :func:`find_layers` takes them.
    head : str, optional
        Layer of the logits, of which tasks have some each.

    Attributes
    ----------
    capacity_ : dict of str to float
        Share of each weight that tasks use.
    forgetting_ : dict
        By task the largest change of what it answers to its probe.

    Raises
    ------
    ValueError
        If an argument is out of range, or the optimiser trains none of the layers.

    Notes
    -----
    Memory: one dense copy of the masked weights; for each task a mask of one byte a weight, and a copy of all that has
    no mask.

    The union of masks is at most ``min(1, n_tasks density)`` of each weight for uniform densities. T static masks
    cover ``1 - (1 - density)**T`` on average.

    Gradients are dense until the step; where they are clipped, call ``tasks.controller.mask_gradients()`` before.

    PackNet is ``density=1.0, fraction=0`` with :meth:`prune` in each task, between two parts of its training.

    References
    ----------
    Yildirim, Gok Yildirim, Sokar, Mocanu, Vanschoren, "Continual Learning with Dynamic Sparse Training: Exploring
    Algorithms for Effective Model Updates", CPAL 2024, arXiv 2308.14831; Mallya, Lazebnik, "PackNet: Adding Multiple
    Tasks to a Single Network by Iterative Pruning", CVPR 2018.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import MLP
    >>> model, x = MLP([4, 8, 4]), torch.eye(4)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    >>> tasks = TaskIsolation(model, optimizer, density=0.3, every=2, head="2", generator=0)
    >>> for task in range(2):
    ...     tasks.begin_task(task, outputs=[2 * task, 2 * task + 1])
    ...     for _ in range(10):
    ...         optimizer.zero_grad()
    ...         model(x)[:, 2 * task].square().sum().backward()
    ...         optimizer.step()
    ...     tasks.end_task(probe=x)
    >>> tasks.forgetting_
    {0: 0.0, 1: 0.0}
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        density: float = 0.2,
        init: str = "erk",
        grow: str | Score = "gradient",
        drop: str | Score = "magnitude",
        fraction: Callable[[int], float] | float = 0.3,
        every: int = 100,
        share: str = "forbid",
        fresh: str = "init",
        generator: torch.Generator | int | None = None,
        *,
        layers: str | Sequence[str] = "*",
        head: str | None = None,
    ) -> None:
        Instance(nn.Module, "a torch module").check("model", model)
        self._density = _DENSITY.check("density", density)
        self._init = Choice(*DENSITIES).check("init", init)
        self._scores = (_score("drop", drop), _score("grow", grow))
        self._fraction = fraction if callable(fraction) else Constant(_SHARE.check("fraction", fraction))
        self._every = COUNT.check("every", every)
        self._share = Choice("forbid", "allow", "score").check("share", share)
        self._fresh = Choice("init", "zero").check("fresh", fresh)
        self._generator = cpu_generator(generator)
        if isinstance(optimizer, LBFGS):
            raise ValueError("optimizer must evaluate gradients once a step; got LBFGS, which searches along lines")
        self.model, self.optimizer = model, optimizer
        self._store = TaskStore.of(model, optimizer, layers)
        self._places = Places.of(model, self._store.weights, head)
        shapes = {name: tuple(weight.shape) for name, weight in self._store.weights.items()}
        self._densities = DENSITIES[self._init](shapes, self._density)
        self._task: Hashable = None
        self._outputs: list[int] | None = None
        self._controller: TopologyController | None = None

    @property
    def tasks(self) -> tuple[Hashable, ...]:
        """The tasks that have ended, in their order."""
        return tuple(self._store.records)

    @property
    def controller(self) -> TopologyController:
        """The controller of the task that has begun.

        Raises
        ------
        RuntimeError
            If no task has begun.
        """
        if self._controller is None:
            raise RuntimeError("no task has begun: call begin_task first")
        return self._controller

    @property
    def used(self) -> MaskSet:
        """Which weights the tasks that have ended use."""
        return MaskSet(dict(self._store.used))

    @property
    def capacity_(self) -> dict[str, float]:
        """Share of each weight that the tasks that have ended use."""
        return self.used.densities

    @property
    def forgetting_(self) -> dict[Hashable, float]:
        """By task the largest change of what it answers to its probe since it ended, for tasks that have one."""
        changes: dict[Hashable, float] = {}
        for task_id, record in self._store.records.items():
            if record.response is not None:
                with self.masked(task_id):
                    changes[task_id] = float((self._answer(record.probe) - record.response).abs().max())
        return changes

    def overlap_(self, i: Hashable, j: Hashable) -> float:
        """Return the share of the weights of one task that another one has in its mask, too."""
        return self.masks(i).overlap(self.masks(j))

    def masks(self, task_id: Hashable) -> MaskSet:
        """Return the masks of a task, by the names of weights."""
        if self._controller is not None and task_id == self._task:
            return self._live_masks()
        return self._record(task_id).masks

    def trajectory(self, task_id: Hashable) -> list[tuple[Any, ...]]:
        """Return how the masks of a task changed, as the `history` of :func:`sparsity_report`."""
        if self._controller is not None and task_id == self._task:
            return self._controller.trajectory
        return self._record(task_id).trajectory

    def begin_task(self, task_id: Hashable, outputs: Sequence[int] | None = None) -> None:
        """Start a task: draw its mask and write what it starts from into the model.

        Parameters
        ----------
        task_id : hashable
            A new one; a number or text, if the state is to be stored in a file.
        outputs : sequence of int, optional
            Outputs of the head that belong to the task; its mask keeps clear of the others, which later tasks need. If
            they hold fewer weights than the density gives the head, they have all of them. By default all outputs.

        Raises
        ------
        RuntimeError
            If another task has not ended, parameters were replaced since construction, or a layer has no free weight.
        ValueError
            If there was such a task, or outputs are none of the head.

        Warns
        -----
        RuntimeWarning
            If less than 5 % of a layer is free.
        """
        if self._controller is not None:
            raise RuntimeError(f"task {self._task!r} must end before task {task_id!r} begins: call end_task")
        if task_id in self._store.records:
            raise ValueError(f"task_id must be new; got {task_id!r}, which has ended")
        self._check_parameters()
        places = self._places.for_outputs(outputs)
        require_room(places, self._store.used)
        masks = draw_masks(places, self._densities, self._generator)
        self._open(task_id, outputs, masks)
        for parameter in self._store.trainable():
            self.optimizer.state.pop(parameter, None)
        self._store.start(masks)

    def _open(self, task_id: Hashable, outputs: Sequence[int] | None, masks: Mapping[str, Tensor]) -> None:
        """Let a controller act on the optimiser."""
        weights = self._store.weights
        frozen, forbid = self._fixed(outputs)
        drop, grow = (copy.deepcopy(score) for score in self._scores)
        self._controller = TopologyController(
            self.optimizer,
            {weights[name]: mask for name, mask in masks.items()},
            drop=drop,
            grow=without_used_gradients(grow, self._used_by_mask) if self._share == "allow" else grow,
            fraction=self._fraction,
            every=self._every,
            rounding=math.ceil,
            start=self._start_of_new,
            frozen=frozen,
            forbid=forbid,
            generator=self._generator,
        )
        # Plain integers: a stored state must not hold those of numpy.
        self._task, self._outputs = task_id, None if outputs is None else [int(output) for output in outputs]

    def _fixed(self, outputs: Sequence[int] | None) -> tuple[dict[Tensor, Tensor], dict[Tensor, Tensor]]:
        """Return which entries of each weight do not move, and which do not grow, in a task with these outputs."""
        weights, used = self._store.weights, self._store.used
        places = self._places.for_outputs(outputs)
        barred = {name: ~place | used[name] if self._share == "forbid" else ~place for name, place in places.items()}
        frozen, forbid = ({weights[name]: mask for name, mask in masks.items()} for masks in (used, barred))
        return frozen, forbid

    def _used_by_mask(self, index: int) -> Tensor:
        return list(self._store.used.values())[index]

    def _start_of_new(self, parameter: Tensor, new: Tensor, survivors: Tensor, generator: torch.Generator) -> Tensor:
        """Start a weight that grows at zero, but where an earlier task uses it, at what it is."""
        name = next(name for name, weight in self._store.weights.items() if weight is parameter)
        return torch.where(self._store.used[name], self._store.values[name], 0)[new]

    def prune(self, density: float) -> None:
        """Drop the smallest of the task's own weights, so that it uses at most a share of each layer.

        Parameters
        ----------
        density : float
            Share of all entries of a layer, above 0 and at most 1. Weights of earlier tasks stay in the mask, and do
            not count. A layer with fewer own weights keeps them.
        """
        share, controller = _DENSITY.check("density", density), self.controller
        live = self._live_masks()
        after = {}
        for name, mask in live.items():
            used = self._store.used[name]
            n_drop = int((mask & ~used).sum()) - round(share * mask.numel())
            score = self._store.weights[name].detach().abs()
            after[name] = rewire(mask, score, score, max(0, n_drop), 0, frozen=used).mask
        state = controller.state_dict()
        new = {own: after[name] for own, name in zip(controller.masks, live, strict=True)}
        controller.load_state_dict({**state, "masks": new})

    def end_task(self, probe: Any = None) -> None:
        """End the task: keep its weights, its masks and all that has no mask. The model stays as it is.

        Parameters
        ----------
        probe : optional
            A batch that the model takes: a tensor, a tuple of arguments, or a mapping of keyword arguments. A copy on
            the device of the model and the answer to it are kept for :attr:`forgetting_`.

        Raises
        ------
        RuntimeError
            If no task has begun, parameters were replaced, or weights were changed by something else than the
            optimiser.

        Warns
        -----
        RuntimeWarning
            If the mask was to change and never did.
        """
        controller, task_id = self.controller, self._task
        self._check_parameters()
        masks = MaskSet({name: mask.clone() for name, mask in self._live_masks().items()})
        others = {name: tensor.detach().clone() for name, tensor in self._store.others().items()}
        probe = self._store.placed(probe)
        response = None if probe is None else self._answer(probe)
        self._store.keep(task_id, TaskRecord(masks, others, controller.trajectory, probe, response))
        if self._fresh == "zero":
            self._store.forget_unused()
        self.remove()
        if not controller.history and self._fraction(0) > 0:
            warnings.warn(
                f"the mask of task {task_id!r} never changed in {controller.step} steps; every is {self._every}",
                RuntimeWarning,
                stacklevel=2,
            )

    @contextmanager
    def masked(self, task_id: Hashable) -> Iterator[nn.Module]:
        """Give the model as a task left it, in evaluation mode; afterwards it is as before, also after an exception.

        Parameters
        ----------
        task_id : hashable
            One that has ended, or the one that has begun.

        Yields
        ------
        torch.nn.Module

        Raises
        ------
        ValueError
            If there is no such task.
        RuntimeError
            If parameters were replaced since construction.
        """
        self._check_parameters()
        with in_mode(self.model, training=False):
            if self._controller is not None and task_id == self._task:
                yield self.model
            else:
                with self._store.showing(self._record(task_id)):
                    yield self.model

    def remove(self) -> None:
        """Take the hooks off the optimiser; a task that has begun is given up."""
        if self._controller is not None:
            self._controller.remove()
        self._controller, self._task, self._outputs = None, None, None

    def state_dict(self) -> dict[str, Any]:
        """Return all masks and stored tensors, also in the middle of a task; see :meth:`load_state_dict`."""
        begun = None
        if self._controller is not None:
            begun = {
                "task_id": self._task,
                "outputs": self._outputs,
                "masks": {name: mask.clone() for name, mask in self._live_masks().items()},
                "controller": self._controller.state_dict(),
            }
        return {"store": self._store.state_dict(), "begun": begun, "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state: load those of the model and the optimiser, then this one, and train on.

        A state of now changes no weight. :func:`attach_state` makes this a part of the state of the optimiser.

        Raises
        ------
        ValueError
            If names or shapes of tensors differ.
        """
        self._store.load_state_dict(state["store"])
        begun = state["begun"]
        if begun is None:
            self.remove()
        elif self._controller is None:
            weights = self._store.weights
            masks = {name: mask.to(weights[name].device, copy=True) for name, mask in begun["masks"].items()}
            self._open(begun["task_id"], begun["outputs"], masks)
        else:
            # A new controller would clear weights off masks that are not those of the checkpoint yet, and its hooks
            # would come after all others.
            frozen, forbid = self._fixed(begun["outputs"])
            self._controller.set_frozen(frozen)
            self._controller.set_forbidden(forbid)
            self._task, self._outputs = begun["task_id"], begun["outputs"]
        if begun is not None:
            self.controller.load_state_dict(begun["controller"])
        self._generator.set_state(state["generator"].cpu())

    def _live_masks(self) -> MaskSet:
        return MaskSet(dict(zip(self._store.weights, self.controller.masks.values(), strict=True)))

    def _record(self, task_id: Hashable) -> TaskRecord:
        if task_id not in self._store.records:
            known = ", ".join(map(repr, self._store.records)) or "none"
            raise ValueError(f"task_id must be one of the tasks that have ended: {known}; got {task_id!r}")
        return self._store.records[task_id]

    def _check_parameters(self) -> None:
        self._store.check({id(parameter) for parameter in parameters_of(self.optimizer)})

    def _answer(self, probe: Any) -> Tensor:
        output = next(run_batches(self.model, [probe]))
        return (output["logits"] if isinstance(output, Mapping) else getattr(output, "logits", output)).detach().clone()


def _score(name: str, score: str | Score) -> Score:
    if not isinstance(score, str) and not callable(score):
        raise ValueError(f"{name} must be a score or the name of one; got {score!r}")
    return find_score(score) if isinstance(score, str) else score
