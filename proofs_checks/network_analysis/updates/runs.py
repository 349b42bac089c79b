"""Fine-tuning of a small network for digits, by rewards and by labels, from one start."""

import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from sparsetheory.gpu import analysis, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

__all__ = ["KINDS", "RATE", "STEPS", "FineTuning", "fine_tuning", "random_sets", "rewarded_loss", "train"]

# By rewards for sampled answers; by the labels of the start; by labels that are all one class further.
KINDS = ("rewards", "labels", "shifted labels")
_TRAIN, _BATCH, _WIDTHS = 1200, 64, (64, 128, 128, 10)
_PRETRAINING, STEPS = 150, 300
_PRETRAINING_RATE, RATE = 1e-3, 2e-5


@dataclass(frozen=True, eq=False)
class FineTuning:
    """A start, trained on digits and rounded to bfloat16, and runs of fine-tuning from it in single precision.

    Parameters
    ----------
    seed : int
        Of the order of digits, the initial weights and the first training.
    """

    seed: int
    _runs: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def start(self) -> Any:
        """The network before fine-tuning; float32 numbers that bfloat16 holds."""
        import torch

        x, y = self.data[:2]
        model = core.models.MLP(_WIDTHS, generator=self.seed)
        train(model, x, y, core.class_loss, _PRETRAINING, _PRETRAINING_RATE, self.seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.bfloat16())
        return model

    @cached_property
    def data(self) -> tuple[Any, ...]:
        """Inputs and classes to train on, then those to judge by."""
        x, y = shuffled_digits(self.seed)
        return x[:_TRAIN], y[:_TRAIN], x[_TRAIN:], y[_TRAIN:]

    def run(self, kind: str, order: int = 0, rate: float = RATE) -> Any:
        """Return the network after fine-tuning of one kind; `order` seeds batches and answers."""
        key = kind, order, rate
        if key not in self._runs:
            self._runs[key] = self._tuned(copy.deepcopy(self.start), kind, order, rate)
        return self._runs[key]

    def subnetwork(self, kind: str, masks: Mapping[str, Any], order: int = 0, rate: float = RATE) -> Any:
        """Return the network after the same run in which only the entries of masks may move."""
        return self._tuned(copy.deepcopy(self.start), kind, order, rate, masks)

    def accuracy(self, model: Any) -> float:
        """Share of the digits not trained on that the network names."""
        return float((self.answers(model) == self.data[3]).double().mean())

    def answers(self, model: Any) -> Any:
        """Classes that the network gives the digits not trained on."""
        import torch

        with torch.no_grad(), one_thread():
            return model(self.data[2]).argmax(1)

    def agreement(self, model: Any, other: Any) -> float:
        """Share of the digits not trained on to which two networks give the same answer."""
        return float((self.answers(model) == self.answers(other)).double().mean())

    def reward(self, model: Any) -> float:
        """Mean probability of the right class on the digits to train on, which rewards maximise."""
        import torch

        x, y = self.data[:2]
        with torch.no_grad(), one_thread():
            return float(model(x).softmax(1).gather(1, y[:, None]).double().mean())

    def gain(self, model: Any, full: Any) -> float:
        """Gain of a network in mean probability, over the start, relative to that of the full run."""
        before = self.reward(self.start)
        return (self.reward(model) - before) / (self.reward(full) - before)

    def _tuned(self, model: Any, kind: str, order: int, rate: float, masks: Mapping[str, Any] | None = None) -> Any:
        import torch

        x, y = self.data[:2]
        loss: Callable[..., Any] = core.class_loss
        if kind == "rewards":
            loss = rewarded_loss(torch.Generator().manual_seed(order))
        elif kind == "shifted labels":
            y = (y + 1) % 10
        return train(model, x, y, loss, STEPS, rate, order, masks)


def random_sets(masks: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return random sets of entries, as many in each tensor as masks hold."""
    shapes = {name: mask.shape for name, mask in masks.items()}
    return dict(core.random_masks(shapes, core.MaskSet(masks).densities, seed))


@cache
def fine_tuning(seed: int) -> FineTuning:
    """Return the runs of one seed, each trained once."""
    return FineTuning(seed)


def train(
    model: Any,
    x: Any,
    y: Any,
    loss: Callable[..., Any],
    n_steps: int,
    rate: float,
    seed: int,
    masks: Mapping[str, Any] | None = None,
) -> Any:
    """Train what of a network asks for gradients by Adam, in place; with masks only their entries.

    Parameters
    ----------
    model : Module
    x, y : Tensor
        Inputs and targets.
    loss : callable
        From outputs and targets.
    n_steps, rate
        Steps of 64 inputs, and the learning rate.
    seed : int
        Of the order of inputs.
    masks : mapping of str to Tensor, optional
        What may move.

    Returns
    -------
    Module
        The network itself.
    """
    import torch

    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate, fused=True)
    gate = nullcontext() if masks is None else analysis.train_subnetwork(optimizer, model, masks)
    with gate, one_thread():
        core.train(model, x, y, optimizer=optimizer, n_steps=n_steps, batch_size=_BATCH, loss=loss, generator=seed)
    return model


def rewarded_loss(generator: Any) -> Callable[..., Any]:
    """Return the loss of REINFORCE: one answer for each input, rewarded where right, less the mean of the batch.

    Parameters
    ----------
    generator : torch.Generator
        Source of the answers, which are drawn from what the network says.

    Returns
    -------
    callable
        From logits of shape (n, n_classes) and right answers of shape (n,) to the loss.
    """
    import torch

    def loss(output: Any, targets: Any) -> Any:
        answers = torch.multinomial(output.detach().softmax(1), 1, generator=generator)
        rewards = (answers[:, 0] == targets).float()
        chosen = output.log_softmax(1).gather(1, answers)[:, 0]
        return -((rewards - rewards.mean()) * chosen).mean()

    return loss
