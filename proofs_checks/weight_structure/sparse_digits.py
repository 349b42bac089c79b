"""Networks on handwritten digits under random masks, trained once per process: dense, Erdős-Rényi and uniform."""

import math
from functools import cache
from typing import Any

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.typing import Float64Array

__all__ = ["DENSITY", "N_NETWORKS", "RULES", "accuracies"]

# Networks for each rule; they differ in their start and their masks, and see the same batches.
N_NETWORKS = 6
DENSITY = 0.1
RULES = ("dense", "er", "uniform")
_TRAINING_ROWS, _BATCH, _EPOCHS, _RATE, _MOMENTUM = 1200, 100, 25, 0.05, 0.9


def _stacked(width: int) -> tuple[list[Any], list[Any]]:
    """Return weights and masks of all networks, layer by layer: of shape (networks, inputs, outputs)."""
    import torch

    starts = [core.models.MLP([64, width, width, 10], generator=seed) for seed in range(N_NETWORKS)]
    shapes = {name: weight.shape for name, weight in starts[0].named_parameters() if name.endswith("weight")}
    weights, masks = [], []
    shares = core.er_densities(shapes, DENSITY), core.uniform_densities(shapes, DENSITY)
    drawn = [core.random_masks(shapes, densities, seed) for densities in shares for seed in range(N_NETWORKS)]
    for name, shape in shapes.items():
        weights.append(torch.stack([start.get_parameter(name).detach().T for start in starts] * len(RULES)))
        dense = [torch.ones(shape).T] * N_NETWORKS
        masks.append(torch.stack([*dense, *(found[name].float().T for found in drawn)]))
    return weights, masks


def _networks(width: int) -> Any:
    """Return all networks of a width as one module: a batched product for each layer."""
    import torch

    class Networks(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            weights, masks = _stacked(width)
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
def accuracies(width: int) -> dict[str, Float64Array]:
    """Return the accuracies of networks of two hidden layers on 597 digits, after training on the other 1200.

    Weights start normal with variance 2 over the inputs of the dense layer, whatever the mask; biases at 0. Training is
    25 epochs in batches of 100, by gradient descent with rate 0.05 and momentum 0.9. All three layers have masks.

    Parameters
    ----------
    width : int
        Units of each hidden layer.

    Returns
    -------
    dict of str to ndarray of shape (6,)
        For each rule of `RULES`, one entry per network; the same entry has the same start under all rules.

    Raises
    ------
    ImportError
        Without torch.
    """
    import torch

    pictures, labels = shuffled_digits(0)
    networks = _networks(width)
    with one_thread():
        core.train(
            networks,
            pictures[:_TRAINING_ROWS],
            labels[:_TRAINING_ROWS],
            optimizer=torch.optim.SGD(networks.parameters(), lr=_RATE, momentum=_MOMENTUM),
            n_steps=_EPOCHS * math.ceil(_TRAINING_ROWS / _BATCH),
            batch_size=_BATCH,
            loss=_loss,
        )
        with torch.no_grad():
            guesses = networks(pictures[_TRAINING_ROWS:]).argmax(dim=-1)
    right = array((guesses == labels[_TRAINING_ROWS:]).double().mean(dim=1))
    return dict(zip(RULES, right.reshape(len(RULES), N_NETWORKS), strict=True))
