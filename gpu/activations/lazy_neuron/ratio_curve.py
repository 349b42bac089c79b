"""How the share of active hidden units develops during training."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from sparsetheory.constraints import SIZE
from sparsetheory.gpu.core.activation_ratios import activation_ratio
from sparsetheory.gpu.core.hooks.steps import StepHooks, step_is_skipped
from sparsetheory.gpu.core.recording import check_batches

__all__ = ["RatioCurve", "activation_ratio_curve"]


class RatioCurve(StepHooks):
    """Shares of inputs of layers that are not zero, after chosen steps of an optimiser.

    Parameters
    ----------
    model : torch.nn.Module
    batches : sequence
        As :func:`sparsetheory.gpu.core.activation_ratio` takes them.
    steps : sequence of int
        Numbers of steps, after which the shares are found; 0 is at once.
    optimizer : torch.optim.Optimizer
    layers : str or sequence of str, optional
        As there.

    Attributes
    ----------
    step : int
        Steps that were done.
    ratios : dict of int to dict of str to float
        For each number of steps that has been reached, the share of each layer.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Any],
        steps: Sequence[int],
        *,
        optimizer: Optimizer,
        layers: str | Sequence[str] | None = None,
    ) -> None:
        check_batches("batches", batches)
        self._steps = frozenset(SIZE.check(f"steps[{i}]", step) for i, step in enumerate(steps))
        self._model, self._batches, self._layers = model, batches, layers
        self.step, self.ratios = 0, dict[int, dict[str, float]]()
        super().__init__(optimizer)
        self._measure()

    def before_step(self) -> None:
        """Nothing is done before a step."""

    def after_step(self) -> None:
        """Count the step, and find the shares where they are wanted."""
        if not step_is_skipped(self.optimizer):
            self.step += 1
            self._measure()

    def _measure(self) -> None:
        if self.step in self._steps:
            self.ratios[self.step] = activation_ratio(self._model, self._batches, self._layers)


def activation_ratio_curve(
    model: nn.Module,
    batches: Iterable[Any],
    steps: Sequence[int],
    *,
    optimizer: Optimizer,
    layers: str | Sequence[str] | None = None,
) -> RatioCurve:
    """Record how the share of active hidden units develops while any loop trains a model.

    Parameters
    ----------
    model : torch.nn.Module
    batches : iterable
        What the model is judged on, the same at each time; kept as a list.
    steps : sequence of int
        Numbers of optimiser steps, after which shares are found; 0 is before training.
    optimizer : torch.optim.Optimizer
        Its steps are counted.
    layers : str or sequence of str, optional
        Layers whose inputs are counted, as in :func:`sparsetheory.gpu.core.activation_ratio`.

    Returns
    -------
    RatioCurve
        It fills while the optimiser steps; ``remove()`` ends that.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import train
    >>> from sparsetheory.gpu.core.models import MLP
    >>> x, model = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), MLP([8, 32, 2])
    >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> curve = activation_ratio_curve(model, [x], (0, 5, 10), optimizer=sgd, layers="2")
    >>> _ = train(model, x, (x[:, 0] > 0).long(), optimizer=sgd, n_steps=10)
    >>> list(curve.ratios)
    [0, 5, 10]
    """
    check_batches("batches", batches)
    return RatioCurve(model, list(batches), steps, optimizer=optimizer, layers=layers)
