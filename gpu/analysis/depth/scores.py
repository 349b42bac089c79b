"""What changes in a network when one of its layers is left out, exchanged or replaced by an affine map."""

import itertools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.analysis.depth.interventions import linearised, skip_layer, swapped
from sparsetheory.gpu.analysis.depth.linear_maps import AffineMap
from sparsetheory.gpu.analysis.depth.residual_stream import LayerCall, Mask, observe_stream, without_cache
from sparsetheory.gpu.core.recording import run_batches

__all__ = ["Loss", "Subject", "causal_effects", "linear_increases", "permutation_scores"]

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model with its layers, the batch it is judged on, and how.

    Parameters
    ----------
    model : torch.nn.Module
    layers : dict of str to torch.nn.Module
    batch : object
    mask : callable, optional
    loss : callable, optional
    """

    model: nn.Module
    layers: Mapping[str, nn.Module]
    batch: Any
    mask: Mask | None
    loss: Loss | None

    def observe(self, seen: Callable[[str, LayerCall], None]) -> Any:
        """Run the model, show the calls of its layers, and return its output."""
        return observe_stream(self.model, self.layers, self.batch, seen, self.mask)

    def loss_of(self, output: Any) -> float:
        """Return the loss of an output on the batch."""
        assert self.loss is not None
        return float(self.loss(output, self.batch))

    def changed_loss(self, change: AbstractContextManager[None]) -> float:
        """Return the loss of the model with a change."""
        with change:
            return self.loss_of(next(iter(run_batches(self.model, [without_cache(self.model, self.batch)]))))


def causal_effects(subject: Subject, added: list[Tensor]) -> tuple[Tensor, list[float]]:
    """Return the effect of each layer on what later layers add, and the losses without each layer.

    Parameters
    ----------
    subject : Subject
    added : list of Tensor
        What the layers add in the whole model.

    Returns
    -------
    effects : Tensor of float64 of shape (n_layers, n_layers)
        Zero where the second layer is not later.
    losses : list of float
        Empty without a loss.
    """
    names = list(subject.layers)
    effects, losses = torch.zeros(len(names), len(names), dtype=torch.float64), []
    place = {name: index for index, name in enumerate(names)}
    norms = [float(one.double().norm(dim=1).mean()) for one in added]
    for source, name in enumerate(names):

        def compare(later: str, call: LayerCall, source: int = source) -> None:
            index = place[later]
            if index > source:
                moved = float((call.added - added[index]).double().norm(dim=1).mean())
                effects[source, index] = moved / norms[index] if norms[index] else 0.0

        with skip_layer(subject.model, name):
            output = subject.observe(compare)
        if subject.loss is not None:
            losses.append(subject.loss_of(output))
    return effects, losses


def permutation_scores(subject: Subject, loss: float, *, adjacent: bool) -> Tensor:
    """Return the relative size of the change of the loss when two layers are exchanged, for every pair of layers.

    Pairs of layers that are not neighbours are NaN where only those are wanted.
    """
    names = list(subject.layers)
    scores = torch.full((len(names), len(names)), torch.nan, dtype=torch.float64).fill_diagonal_(0)
    for a, b in itertools.combinations(range(len(names)), 2):
        if b == a + 1 or not adjacent:
            changed = subject.changed_loss(swapped(subject.model, names[a], names[b]))
            scores[a, b] = scores[b, a] = abs(loss - changed) / loss
    return scores


def linear_increases(subject: Subject, loss: float, maps: Mapping[str, AffineMap]) -> Tensor:
    """Return the relative rise of the loss when each layer is replaced by an affine map."""
    rises = [
        (subject.changed_loss(linearised(subject.model, name, maps[name].W, maps[name].b)) - loss) / loss
        for name in subject.layers
    ]
    return torch.tensor(rises, dtype=torch.float64)
