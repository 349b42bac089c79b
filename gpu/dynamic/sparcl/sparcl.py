"""Sparse weights, sparse gradients and fewer data for a learner of several tasks, as hooks on the user's own loop."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.constraints import COUNT, MISSING, Instance, Real
from sparsetheory.gpu.core.densities import uniform_densities
from sparsetheory.gpu.core.hooks.snapshots import Score
from sparsetheory.gpu.core.hooks.steps import StepHooks
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.core.layers import find_layers, weight_name
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.dynamic.scores import random_order
from sparsetheory.gpu.dynamic.sparcl.data_removal import DataRemoval, check_epochs
from sparsetheory.gpu.dynamic.sparcl.density_paths import density_path
from sparsetheory.gpu.dynamic.sparcl.gradient_mask import GradientMask
from sparsetheory.gpu.dynamic.sparcl.importance import ContinualImportance
from sparsetheory.gpu.dynamic.sparcl.replay_buffer import ReplayBuffer

__all__ = ["SparCL"]

_DENSITY = Real(0.0, 1.0, closed="right")
_SHARE = Real(0.0, 1.0, closed="left")

Path = Callable[[int], tuple[float, float]]


class SparCL(StepHooks):
    """Learn task after task with sparse weights, sparse gradients and fewer and fewer data.

    Three parts, each of which may be left out:

    - *Weights.* Masks of the layers are exchanged along a path of densities, see :func:`density_path`: every so many
      epochs the weights of the least importance are dropped, and random ones grow from 0.
    - *Gradients.* Only the weights with the largest gradients move, see :class:`GradientMask`.
    - *Data.* In some epochs of each task the samples that are forgotten least are removed, see :class:`DataRemoval`.

    The loop stays the user's. It tells when a task and an epoch begin, trains on the samples that remain, and shows
    what the model said of them::

        for inputs, labels in tasks:
            method.begin_task(labels)
            for epoch in range(n_epochs):
                for ids in kept_in_batches(method.begin_epoch()):
                    found = replay_loss(model, buffer, inputs[ids], labels[ids])
                    optimizer.zero_grad()
                    found.loss.backward()
                    optimizer.step()
                    method.observe(ids, found.logits)
                    buffer.add(inputs[ids], labels[ids], found.logits)

    An exchange takes place in the first step of its epoch, with the gradients of that step, and the gradient mask is
    chosen anew in the step after it.

    Parameters
    ----------
    model : torch.nn.Module
        On its device. Weights off the masks become 0.
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    density : float or None
        Density of the masks at the end of every task, above 0 and at most 1; None leaves out sparse weights.
    q : float or None
        Share of the entries of each gradient that is not used, in [0, 1); meant to be above 1 - density. None leaves
        out gradient masks.
    remove_fraction : float
        Share of the samples of each task that is removed, in [0, 1); 0 leaves out the removal of data.
    removal_epochs : sequence of int
        When they are removed, in equal parts.
    layers : str or sequence of str, optional
        Which layers are sparse, as :func:`find_layers` takes them; by default all but the last one, which classifies.
    masks : mapping of str to Tensor of bool, optional
        Masks to start from, by names of parameters; by default random ones of equal density.
    importance : callable, optional
        Drop score; by default ``ContinualImportance(0.5)``.
    path : callable, optional
        From the epoch of a task to the densities after dropping and after growing; by default :func:`density_path`.
    exchange_every : int
        Epochs between exchanges.
    mask_every : int
        Steps between choices of the gradient mask.
    buffer : ReplayBuffer, optional
        Stored and restored with the rest; no task may have fewer samples than it holds.
    generator : torch.Generator or int, optional
        On the CPU, or a seed: of the first masks and of growth.

    Attributes
    ----------
    epoch : int
        Of the present task, from 0; -1 before the first.
    data_fractions : list of float
        Share of the samples of its task that each epoch so far was trained with.

    Raises
    ------
    ValueError
        If an argument is out of range or nothing is left to do.

    Notes
    -----
    :func:`attach_state` stores all of this with the state of the optimiser. A loop that announces an epoch again when
    it resumes in its middle must not begin it twice: :attr:`epoch` is the one that has begun.

    References
    ----------
    Wang, Zhan, Gong, Yuan, Niu, Jian, Ren, Ioannidis, Wang, Dy, "SparCL: Sparse Continual Learning on the Edge",
    NeurIPS 2022, arXiv 2209.09476.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import class_loss
    >>> from sparsetheory.gpu.core.models import MLP
    >>> model, x = MLP([4, 20, 2]), torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1, momentum=0.9)
    >>> method = SparCL(model, optimizer, remove_fraction=0.3, removal_epochs=[2, 4], exchange_every=1, generator=0)
    >>> method.begin_task(y)
    >>> for epoch in range(6):
    ...     for ids in method.begin_epoch().split(10):
    ...         optimizer.zero_grad()
    ...         logits = model(x[ids])
    ...         class_loss(logits, y[ids]).backward()
    ...         optimizer.step()
    ...         method.observe(ids, logits)
    >>> [round(share, 3) for share in method.data_fractions], method.masks.n_nonzero
    ([1.0, 1.0, 0.867, 0.867, 0.7, 0.7], 20)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        density: float | None = 0.25,
        *,
        q: float | None = 0.8,
        remove_fraction: float = 0.0,
        removal_epochs: Sequence[int] = (5, 10, 15, 20),
        layers: str | Sequence[str] | None = None,
        masks: Mapping[str, Tensor] | None = None,
        importance: Score | None = None,
        path: Path | None = None,
        exchange_every: int = 5,
        mask_every: int = 30,
        buffer: ReplayBuffer | None = None,
        generator: torch.Generator | int | None = None,
    ) -> None:
        Instance(nn.Module, "a torch module").check("model", model)
        Instance(Optimizer, "a torch optimiser").check("optimizer", optimizer)
        for name, rule in (("importance", importance), ("path", path)):
            if rule is not None and not callable(rule):
                raise ValueError(f"{name} must be None or callable; got {rule!r}")
        (MISSING | _DENSITY).check("density", density)
        (MISSING | _SHARE).check("q", q)
        self._exchange_every = COUNT.check("exchange_every", exchange_every)
        COUNT.check("mask_every", mask_every)
        self._remove_fraction = _SHARE.check("remove_fraction", remove_fraction)
        self._removal_epochs = tuple(check_epochs("removal_epochs", removal_epochs))
        if density is None and q is None and not remove_fraction:
            raise ValueError("density, q or remove_fraction must be given; got none of them")
        self._path = path if path is not None or density is None else lambda epoch: density_path(epoch, density)
        self._bounds = (density or 1.0, density or 1.0)
        self._buffer = buffer
        self._removal: DataRemoval | None = None
        self.epoch = -1
        self.data_fractions: list[float] = []
        source = cpu_generator(generator)
        if masks is not None and density is None:
            raise ValueError("masks must come with a density; got none")
        self._under: dict[Tensor, Tensor] = {}
        if density is not None or q is not None:
            first = _masks(model, layers, density, source) if masks is None else MaskSet(masks)
            self._under = first.by_parameter(model)
        # Hooks run in the order in which they are made: dense gradients are kept before they are gated, and what is
        # gated is written back before the masks change.
        self._gate: GradientMask | None = None
        self._controller: TopologyController | None = None
        self._n_exchanges = 0
        self._gradients_are_masked = False
        super().__init__(optimizer)
        try:
            self._gate = None if q is None else GradientMask(optimizer, self._under, q, mask_every)
            if density is not None:
                self._controller = TopologyController(
                    optimizer,
                    self._under,
                    drop=importance or ContinualImportance(),
                    grow=random_order,
                    fraction=0.0,
                    density=lambda step: self._bounds,
                    regrown="new",
                    generator=source,
                )
        except Exception:
            # An optimiser that was refused must go on without hooks.
            self.remove()
            raise

    @property
    def masks(self) -> MaskSet:
        """The masks now, by the names of parameters in the optimiser; empty without sparse weights."""
        return MaskSet({}) if self._controller is None else self._controller.masks

    @property
    def moving(self) -> dict[Tensor, Tensor]:
        """Which entries of the weights may move now, by parameter; without gradient masks what the masks have."""
        return dict(self._under) if self._gate is None else self._gate.moving

    @property
    def trajectory(self) -> list[tuple[Any, ...]]:
        """The history of the masks, as reports take it; empty without sparse weights."""
        return [] if self._controller is None else self._controller.trajectory

    def begin_task(self, labels: Tensor) -> None:
        """Begin a task: epochs count from 0 again, and all its samples are there.

        Parameters
        ----------
        labels : Tensor of int64 of shape (n,)
            Classes of the samples, whose ids are their places.

        Raises
        ------
        ValueError
            If there are fewer samples than the buffer holds.
        """
        if self._buffer is not None and self._buffer.capacity > len(labels):
            raise ValueError(
                f"buffer must hold at most the {len(labels)} samples of a task; its capacity is {self._buffer.capacity}"
            )
        self._removal = self._removal_of(labels)
        self.epoch = -1

    def begin_epoch(self) -> Tensor:
        """Begin an epoch: remove samples, and exchange weights in its first step, if it is time.

        Returns
        -------
        Tensor of int64
            Ids of the samples to train with, rising.

        Raises
        ------
        RuntimeError
            If no task has begun.
        ValueError
            If removal would empty a class, or `path` does not give two densities in order.
        """
        removal, epoch, bounds = self._begun(), self.epoch + 1, None
        if self._path is not None and self._controller is not None and epoch % self._exchange_every == 0:
            bounds = _checked_bounds(self._path(epoch))
        # What may fail comes first, so that an epoch that cannot begin has not begun.
        removal.begin_epoch(epoch)
        self.epoch = epoch
        self.data_fractions.append(removal.data_fraction)
        if bounds is not None and self._controller is not None:
            self._bounds = bounds
            self._controller.request()
        return removal.kept.clone()

    def observe(self, ids: Tensor, logits: Tensor) -> None:
        """Add what the model said of new samples, over all classes: it tells which are forgotten.

        Parameters
        ----------
        ids : Tensor of integers of shape (n,)
        logits : Tensor of shape (n, n_classes)
        """
        if self._remove_fraction:
            self._begun().observe(ids, logits)

    def mask_gradients(self) -> None:
        """Mask the gradients by the masks of the weights now, before the loop clips them; once a step."""
        if self._controller is not None:
            self._controller.mask_gradients()
        self._gradients_are_masked = True

    def before_step(self) -> None:
        """Keep the dense gradients for the importance, and choose what moves anew where masks have changed."""
        if not self._gradients_are_masked:
            self.mask_gradients()
        if self._controller is not None and len(self._controller.history) != self._n_exchanges:
            self._n_exchanges = len(self._controller.history)
            if self._gate is not None:
                self._gate.refresh()

    def after_step(self) -> None:
        """Wait for the gradients of the next step."""
        self._gradients_are_masked = False

    def remove(self) -> None:
        """Take all hooks off the optimiser."""
        super().remove()
        for part in (self._gate, self._controller):
            if part is not None:
                part.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return all that the parts keep, the buffer and the counts of samples too."""
        return {
            "epoch": self.epoch,
            "bounds": tuple(self._bounds),
            "data_fractions": list(self.data_fractions),
            "n_exchanges": self._n_exchanges,
            "labels": None if self._removal is None else self._removal.labels.clone(),
            "removal": None if self._removal is None else self._removal.state_dict(),
            "gate": None if self._gate is None else self._gate.state_dict(),
            "controller": None if self._controller is None else self._controller.state_dict(),
            "buffer": None if self._buffer is None else self._buffer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; load those of model and optimiser before.

        Raises
        ------
        ValueError
            If the state has other parts, or does not fit one of them.
        """
        parts = {"gate": self._gate, "controller": self._controller, "buffer": self._buffer}
        wrong = [name for name, part in parts.items() if (part is None) != (state[name] is None)]
        if wrong:
            raise ValueError(f"state must have the parts of this object; not so for {', '.join(wrong)}")
        self._removal = None if state["labels"] is None else self._removal_of(state["labels"])
        if self._removal is not None:
            self._removal.load_state_dict(state["removal"])
        for name, part in parts.items():
            if part is not None:
                part.load_state_dict(state[name])
        self.epoch, self._n_exchanges = int(state["epoch"]), int(state["n_exchanges"])
        self._bounds, self.data_fractions = tuple(state["bounds"]), list(state["data_fractions"])

    def _removal_of(self, labels: Tensor) -> DataRemoval:
        return DataRemoval(labels, round(self._remove_fraction * len(labels)), self._removal_epochs)

    def _begun(self) -> DataRemoval:
        if self._removal is None:
            raise RuntimeError("begin_task must be called before epochs and samples of a task")
        return self._removal


def _masks(
    model: nn.Module, layers: str | Sequence[str] | None, density: float | None, generator: torch.Generator
) -> MaskSet:
    """Return random masks of equal density; full ones where weights are not to be sparse."""
    found = list(find_layers(model, "*" if layers is None else layers))
    names = [weight_name(layer) for layer in (found[:-1] if layers is None else found)]
    if not names:
        raise ValueError("layers must be those to make sparse; the model has none, or only the one that classifies")
    shapes = {name: tuple(mask.shape) for name, mask in MaskSet.of(model, names).items()}
    if density is None:
        return MaskSet({name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()})
    return random_masks(shapes, uniform_densities(shapes, density), generator)


def _checked_bounds(bounds: Sequence[float]) -> tuple[float, float]:
    pruned, grown = bounds
    _DENSITY.check("path", pruned)
    _DENSITY.check("path", grown)
    if pruned > grown:
        raise ValueError(f"path must give a density after growing of at least the one before, {pruned}; got {grown}")
    return float(pruned), float(grown)
