"""Networks on handwritten digits under random masks, trained once per process: dense, Erdős-Rényi and uniform."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.typing import Float64Array

__all__ = ["DIGITS", "MNIST", "N_NETWORKS", "RULES", "Pictures", "accuracies"]

# Networks for each rule; they differ in their start and their masks, and see the same batches.
N_NETWORKS = 6
RULES = ("dense", "er", "uniform")
_BATCH, _RATE, _MOMENTUM = 100, 0.05, 0.9


@dataclass(frozen=True)
class Pictures:
    """A set of pictures of digits, and what is trained on it.

    Parameters
    ----------
    loader : str
        Name of the function of :mod:`sparsetheory.gpu.core.datasets` that loads it.
    density : float
        Of the random masks of all layers together.
    n_training, epochs : int
        Pictures that networks see, and how often. The others are for the accuracy.
    """

    loader: str
    density: float
    n_training: int
    epochs: int


DIGITS = Pictures("load_digits", 0.1, 1200, 25)
MNIST = Pictures("load_mnist_5k", 0.05, 4000, 15)


def _stacked(n_inputs: int, width: int, density: float) -> tuple[list[Any], list[Any]]:
    """Return weights and masks of all networks, layer by layer: of shape (networks, inputs, outputs)."""
    import torch

    starts = [core.models.MLP([n_inputs, width, width, 10], generator=seed) for seed in range(N_NETWORKS)]
    shapes = {name: weight.shape for name, weight in starts[0].named_parameters() if name.endswith("weight")}
    weights, masks = [], []
    shares = core.er_densities(shapes, density), core.uniform_densities(shapes, density)
    drawn = [core.random_masks(shapes, densities, seed) for densities in shares for seed in range(N_NETWORKS)]
    for name, shape in shapes.items():
        weights.append(torch.stack([start.get_parameter(name).detach().T for start in starts] * len(RULES)))
        dense = [torch.ones(shape).T] * N_NETWORKS
        masks.append(torch.stack([*dense, *(found[name].float().T for found in drawn)]))
    return weights, masks


def _networks(*sizes: Any) -> Any:
    """Return all networks of some inputs, width and density as one module: a batched product for each layer."""
    import torch

    class Networks(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            weights, masks = _stacked(*sizes)
            self.weights, self.masks = torch.nn.ParameterList(weights), masks
            self.biases = torch.nn.ParameterList([torch.zeros(len(w), 1, w.shape[2]) for w in weights])

        def forward(self, x: Any) -> Any:
            x = x.expand(len(self.weights[0]), -1, -1)
            for layer, (weight, mask, bias) in enumerate(zip(self.weights, self.masks, self.biases, strict=True)):
                x = torch.baddbmm(bias, x if layer == 0 else x.relu(), weight * mask)
            return x

    return Networks()


def _loss(outputs: Any, labels: Any) -> Any:
    """Return the sum over networks of their mean cross-entropies, so that each trains as if it were alone."""
    return core.class_loss(outputs, labels.expand(len(outputs), -1)) * len(outputs)


@cache
def accuracies(width: int, pictures: Pictures = DIGITS) -> dict[str, Float64Array]:
    """Return the accuracies of networks of two hidden layers on pictures that they were not trained on.

    Weights start normal with variance 2 over the inputs of the dense layer, whatever the mask; biases at 0. Batches
    have 100 pictures, and gradient descent has rate 0.05 and momentum 0.9. All three layers have masks.

    Parameters
    ----------
    width : int
        Units of each hidden layer.
    pictures : Pictures

    Returns
    -------
    dict of str to ndarray of shape (6,)
        For each rule of `RULES`, one entry per network; the same entry has the same start under all rules.

    Raises
    ------
    ImportError
        Without torch, or the package that carries the pictures.
    """
    import torch

    x, labels = shuffled_digits(0, pictures.loader)
    n = pictures.n_training
    networks = _networks(x.shape[1], width, pictures.density)
    with one_thread():
        core.train(
            networks,
            x[:n],
            labels[:n],
            optimizer=torch.optim.SGD(networks.parameters(), lr=_RATE, momentum=_MOMENTUM),
            n_steps=pictures.epochs * math.ceil(n / _BATCH),
            batch_size=_BATCH,
            loss=_loss,
        )
        with torch.no_grad():
            guesses = networks(x[n:]).argmax(dim=-1)
    right = array((guesses == labels[n:]).double().mean(dim=1))
    return dict(zip(RULES, right.reshape(len(RULES), N_NETWORKS), strict=True))
