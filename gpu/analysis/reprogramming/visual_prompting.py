"""A frozen network for another task: a trained prompt at its input, a label map at its output."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, MISSING, POSITIVE, Instance, Real, Several
from sparsetheory.gpu.analysis.reprogramming.label_maps import (
    LABEL_MAPS,
    check_labels,
    check_targets,
    frequency_label_map,
    map_logits,
)
from sparsetheory.gpu.core.fit import class_loss, train
from sparsetheory.gpu.core.metrics import accuracy
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.core.recording import run_batches

__all__ = ["Reprogrammed", "reprogram"]

Labelled = tuple[Tensor, Tensor]
_SHARES = Several(Real(0.0, 1.0), "a sequence of shares of the epochs, from 0 to 1")
# Samples that run together where nothing is trained.
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Reprogrammed:
    """What makes a frozen network serve another task.

    Parameters
    ----------
    prompt : torch.nn.Module
        The one that was given, trained.
    label_map : Tensor of int64 of shape (n_target,) or (n_target, n_labels)
        Source classes that stand for each target class.
    losses : Tensor of float64 of shape (n_steps,)
        Loss of the batch of each step.
    accuracies : Tensor of float64 of shape (n_epochs,)
        On the validation data after each epoch; empty without them.
    epoch : int
        The epoch, from 1, after which prompt and label map were kept.
    """

    prompt: nn.Module
    label_map: Tensor
    losses: Tensor
    accuracies: Tensor
    epoch: int

    def logits(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return logits of target classes, with the network in evaluation mode and without gradients.

        Parameters
        ----------
        model : torch.nn.Module
        x : Tensor of shape (n, channels, image_size, image_size)

        Returns
        -------
        Tensor of shape (n, n_target)
        """
        return map_logits(_outputs(nn.Sequential(self.prompt, model), x), self.label_map)


def reprogram(
    model: nn.Module,
    data: Labelled,
    prompt: nn.Module,
    *,
    n_target: int | None = None,
    validation: Labelled | None = None,
    label_map: Tensor | None = None,
    method: str = "greedy",
    n_labels: int = 1,
    map_every: int = 1,
    n_epochs: int = 100,
    batch_size: int | None = 128,
    lr: float = 0.01,
    milestones: Sequence[float] = (0.5, 0.72),
    generator: torch.Generator | int | None = 0,
) -> Reprogrammed:
    """Train a prompt for a frozen network, and choose anew in between which of its classes stand for those of a task.

    Only the prompt is trained, in place. The network runs in evaluation mode, so that statistics of normalisations stay
    as they are. Its modes, flags and gradients are those of before in the end, also after an exception; then the prompt
    is too.

    Parameters
    ----------
    model : torch.nn.Module
        From what the prompt returns to logits of its own classes.
    data : (Tensor, Tensor)
        Images of shape (n, ...) as the prompt takes them, and classes as int64 of shape (n,), on the device of the
        model. Each class must occur.
    prompt : torch.nn.Module
        Such as :class:`ExpansivePrompt`; with something to train.
    n_target : int, optional
        Number of target classes, by default one more than the largest of the data.
    validation : (Tensor, Tensor), optional
        Further samples. With them, prompt and label map of the epoch of the highest accuracy on them are kept, the
        first one of equals; otherwise those of the last epoch. There is no place for test data: use them once, on the
        result.
    label_map : Tensor of int64, optional
        A fixed map in place of one that is found, such as a random one to compare with.
    method, n_labels
        As in :func:`frequency_label_map`.
    map_every : int
        Epochs between two choices of the map.
    n_epochs : int
    batch_size : int, optional
        128, or None for all samples at once.
    lr : float
        Of Adam.
    milestones : sequence of float
        Shares of the epochs after which the step is divided by 10.
    generator : torch.Generator, int or None
        Source of the orders of samples, drawn on the CPU.

    Returns
    -------
    Reprogrammed

    Raises
    ------
    ValueError
        If the prompt has nothing to train, there are more target than source classes, a target class does not occur in
        the data, a class of the validation data is none, or a source class occurs twice in `label_map`.
    FloatingPointError
        If the loss is not finite.

    References
    ----------
    .. [1] A. Chen, Y. Yao, P.-Y. Chen, Y. Zhang, S. Liu. Understanding and improving visual prompting: a label-mapping
       perspective. CVPR 2023, arXiv:2211.11635.
    .. [2] D. Misra, A. Goyal, B. Runwal, P.-Y. Chen. Reprogramming under constraints: revisiting efficient and reliable
       transferability of lottery tickets. arXiv:2308.14969.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.analysis import ExpansivePrompt
    >>> from sparsetheory.gpu.core.models import MLP
    >>> x = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> y = (x.mean(dim=(1, 2, 3)) > 0.5).long()
    >>> model = MLP([36, 32, 5])
    >>> found = reprogram(model, (x, y), ExpansivePrompt(4, 6), n_epochs=30, lr=0.05)
    >>> found.logits(model, x).shape, bool(found.losses[-1] < found.losses[0])
    (torch.Size([60, 2]), True)
    """
    x, y = _checked("data", data)
    n_target = COUNT.check("n_target", int(y.max()) + 1 if n_target is None else n_target)
    check_targets(y, n_target)
    COUNT.require(n_labels=n_labels, map_every=map_every, n_epochs=n_epochs)
    (MISSING | COUNT).require(batch_size=batch_size)
    POSITIVE.require(lr=lr)
    LABEL_MAPS.require(method=method)
    if validation is not None:
        check_labels("validation", _checked("validation", validation)[1], n_target)
    trained = [parameter for parameter in prompt.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("prompt must have a parameter that requires a gradient; got none")
    prompted, current = _Prompted(prompt, model), _checked_map(label_map, n_target)

    n_steps = math.ceil(len(x) / (batch_size or len(x)))
    ends = [round(share * n_epochs) * n_steps for share in _SHARES.check("milestones", list(milestones))]
    optimizer = torch.optim.Adam(trained, lr=lr)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, ends)
    options: dict[str, Any] = {
        "n_steps": n_steps,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "scheduler": scheduler,
    }
    orders, losses, best = cpu_generator(generator), [], _Best(prompt)
    with _as_before(model, prompt):
        for epoch in range(n_epochs):
            if label_map is None and epoch % map_every == 0:
                found = _outputs(prompted, x)
                current = frequency_label_map(
                    found.argmax(dim=1), y, found.shape[1], n_target, method, n_labels=n_labels
                )
            losses.append(train(prompted, x, y, loss=_mapped_loss(current), generator=orders, **options).losses)
            if validation is not None:
                best.offer(accuracy(map_logits(_outputs(prompted, validation[0]), current), validation[1]), current)
        optimizer.zero_grad()
    epoch, current = best.restored() if validation is not None else (n_epochs, current)
    scores = torch.tensor(best.accuracies, dtype=torch.float64)
    return Reprogrammed(prompt, current, torch.cat(losses), scores, epoch)


class _Prompted(nn.Module):
    """A prompt before a network that is no part of it: to train this trains the prompt."""

    def __init__(self, prompt: nn.Module, source: nn.Module) -> None:
        super().__init__()
        self.prompt = prompt
        self._source = (source,)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self._source[0](self.prompt(x))
        return logits


class _Best:
    """The state of a prompt, and the map, of the highest accuracy so far."""

    def __init__(self, prompt: nn.Module) -> None:
        self.accuracies: list[float] = []
        self._prompt = prompt

    def offer(self, score: float, label_map: Tensor) -> None:
        """Look at the state after one more epoch."""
        if score > max(self.accuracies, default=-1.0):
            self._state, self._map = copy.deepcopy(self._prompt.state_dict()), label_map
            self._epoch = len(self.accuracies) + 1
        self.accuracies.append(score)

    def restored(self) -> tuple[int, Tensor]:
        """Write the best state back; return its epoch and map."""
        self._prompt.load_state_dict(self._state)
        return self._epoch, self._map


def _mapped_loss(label_map: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda output, targets: class_loss(map_logits(output, label_map), targets)


def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of a model in evaluation mode, without gradients."""
    return torch.cat(list(run_batches(model, x.split(_ROWS))))


@contextmanager
def _as_before(model: nn.Module, prompt: nn.Module) -> Iterator[None]:
    """Freeze a network; afterwards restore flags and modes, and the prompt if something failed."""
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    state = copy.deepcopy(prompt.state_dict())
    model.requires_grad_(False)
    try:
        with in_mode(model, training=False), in_mode(prompt, training=prompt.training):
            yield
    except BaseException:
        prompt.load_state_dict(state)
        prompt.zero_grad()
        raise
    finally:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)


def _checked(name: str, data: Labelled) -> Labelled:
    x, y = data
    if y.shape != x.shape[:1] or y.dtype != torch.int64 or not len(y):
        raise ValueError(
            f"{name} must be images of shape (n, ...) and int64 classes of shape (n,); "
            f"got {tuple(x.shape)} and {y.dtype} of {tuple(y.shape)}"
        )
    return x, y


def _checked_map(label_map: Tensor | None, n_target: int) -> Tensor:
    if label_map is None:
        # Until the first one is found.
        return torch.empty(0, dtype=torch.int64)
    Instance(Tensor, "a tensor").check("label_map", label_map)
    if len(label_map) != n_target or label_map.unique().numel() != label_map.numel():
        raise ValueError(
            f"label_map must hold different source classes for {n_target} target classes; got {label_map.tolist()}"
        )
    return label_map
