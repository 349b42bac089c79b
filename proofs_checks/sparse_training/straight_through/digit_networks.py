"""Networks of several seeds, trained side by side on handwritten digits: one matrix product serves all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.typing import Float64Array

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Digits", "Trained", "load_split", "train_side_by_side"]

HIDDEN = (128, 128, 10)
SPARSE_LAYERS = ("0", "1")
TRAINING, BATCH = 1000, 100
STEPS_PER_EPOCH = TRAINING // BATCH


@dataclass(frozen=True, eq=False)
class Digits:
    """Pictures as rows of pixels with their classes, and others that are kept out of training."""

    x: "Tensor"
    y: "Tensor"
    x_test: "Tensor"
    y_test: "Tensor"


@cache
def load_split(loader: str = "load_digits") -> Digits:
    """Return 1000 pictures for training, drawn once, and all others.

    Parameters
    ----------
    loader : str
        Name of the function of :mod:`sparsetheory.gpu.core.datasets` that loads pictures of ten classes.
    """
    x, y = shuffled_digits(0, loader)
    return Digits(x[:TRAINING], y[:TRAINING], x[TRAINING:], y[TRAINING:])


def stacked_networks(seeds: tuple[int, ...], initialisation: str, n_inputs: int) -> "nn.Module":
    """Return networks as one: the weights of all of them below each other, so that a layer is a batched product.

    Each starts as the package's own MLP of its seed.
    """
    import torch
    from torch import nn

    widths = (n_inputs, *HIDDEN)

    class Stacked(nn.Linear):
        def forward(self, x: "Tensor") -> "Tensor":
            count = len(seeds)
            bias = self.bias.reshape(count, 1, -1)
            return torch.baddbmm(bias, x, self.weight.reshape(count, -1, self.in_features).mT)

    class Networks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            alone = [core.models.MLP(widths, initialisation=initialisation, generator=seed) for seed in seeds]
            self.layers = nn.Sequential()
            for i in range(0, len(alone[0]), 2):
                fan_in, fan_out = widths[i // 2 : i // 2 + 2]
                layer = Stacked(fan_in, len(seeds) * fan_out)
                layer.load_state_dict(
                    {leaf: torch.cat([getattr(one[i], leaf).detach() for one in alone]) for leaf in ("weight", "bias")}
                )
                self.layers.append(layer)

        def forward(self, x: "Tensor") -> "Tensor":
            first, *others = self.layers
            x = first(x)
            for layer in others:
                x = layer(torch.relu(x))
            return x

    return Networks()


@dataclass(frozen=True, eq=False)
class Trained:
    """How training went, network by network.

    ``accuracy`` is that of the hard-masked networks on the pictures kept out, of shape (seeds,). ``changes`` has the
    share of mask entries that changed in each epoch, of shape (epochs, seeds).
    """

    accuracy: Float64Array
    changes: Float64Array


def train_side_by_side(
    seeds: tuple[int, ...],
    epochs: int,
    make: Callable[["Tensor"], Any],
    optimizer: Callable[["nn.Module"], Any],
    hooks: Callable[[Any, "nn.Module"], Any],
    initialisation: str = "he_normal",
    loader: str = "load_digits",
) -> Trained:
    """Train networks of 128, 128 and 10 units, the first two layers sparse, with a cosine to learning rate 0.

    Parameters
    ----------
    seeds : tuple of int
        One network each: its initial weights, and the order of its batches of 100.
    epochs : int
    make : callable
        The parametrisation of a weight.
    optimizer : callable
        From the networks to the optimiser.
    hooks : callable
        Called with optimiser and networks before the first step.
    initialisation : str
        Of the weights; biases start at 0.
    loader : str
        Of the pictures, see :func:`load_split`.
    """
    import torch

    data = load_split(loader)
    model = stacked_networks(seeds, initialisation, data.x.shape[1])
    with one_thread():
        weights.sparsify(model, make, include=[f"layers.{layer}" for layer in SPARSE_LAYERS])
        chosen = optimizer(model)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(chosen, epochs * STEPS_PER_EPOCH)
        hooks(chosen, model)
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        masks, changes = weights.live_masks(model), []
        for _ in range(epochs):
            orders = torch.stack([torch.randperm(TRAINING, generator=source) for source in sources])
            for rows in orders.split(BATCH, 1):
                chosen.zero_grad()
                output = model(data.x[rows])
                # The mean over pictures of each network, added up: no network feels the others.
                (len(seeds) * core.class_loss(output, data.y[rows])).backward()
                chosen.step()
                scheduler.step()
            before, masks = masks, weights.live_masks(model)
            changes.append(_changed(before, masks, len(seeds)))
        with torch.no_grad(), weights.hard_masked(model):
            found = model(data.x_test.expand(len(seeds), -1, -1)).argmax(2)
        accuracy = (found == data.y_test).double().mean(1).numpy()
    return Trained(accuracy, np.array(changes))


def _changed(before: Any, after: Any, count: int) -> list[float]:
    """Return the divergence of the masks of each network."""

    def of_network(masks: Any, i: int) -> dict[str, Any]:
        return {name: mask.chunk(count)[i] for name, mask in masks.items()}

    return [weights.sad(of_network(before, i), of_network(after, i), True) for i in range(count)]
