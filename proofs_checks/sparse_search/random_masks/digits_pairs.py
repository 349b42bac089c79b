"""Networks for digits under the best of many random masks of nodes and under the first one, once per process."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sparsetheory.gpu import core, search
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

__all__ = ["DIGITS", "MNIST", "N_PAIRS", "N_SCORED", "Pictures", "Split", "pairs", "parent", "split"]

N_PAIRS = 8
# Pictures by which masks are judged before training.
N_SCORED = 200


@dataclass(frozen=True)
class Pictures:
    """A set of pictures, and how networks are trained on it.

    Parameters
    ----------
    loader : str
        Name of the function of :mod:`sparsetheory.gpu.core.datasets` that loads it.
    n_training : int
        Pictures to train on; the others judge.
    n_steps : int
        Steps of Adam at 2e-3 with batches of 100, by default.
    """

    loader: str
    n_training: int
    n_steps: int


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures as rows with labels: those to train on, and the others."""

    train: tuple[Any, Any]
    held_out: tuple[Any, Any]

    def initial_loss(self, masked: Any) -> Any:
        """Return the loss of a network on the first training pictures."""
        x, labels = self.train
        return core.class_loss(masked(x[:N_SCORED]), labels[:N_SCORED])


DIGITS = Pictures("load_digits", 1000, 120)
MNIST = Pictures("load_mnist_5k", 4000, 400)


@cache
def split(pictures: Pictures) -> Split:
    """Return the pictures in one random order, in two parts."""
    x, labels = shuffled_digits(0, pictures.loader)
    n = pictures.n_training
    return Split((x[:n], labels[:n]), (x[n:], labels[n:]))


def parent(pictures: Pictures, seed: int) -> Any:
    """Return an untrained network of two hidden layers of 256."""
    n_inputs = split(pictures).train[0].shape[1]
    return core.models.MLP([n_inputs, 256, 256, 10], generator=seed)


@cache
def pairs(density: float, pictures: Pictures = DIGITS, n_candidates: int = 100) -> "search.SearchComparison":
    """Return what :func:`compare_search` finds for eight parents, at a share of the nodes of each hidden layer.

    A network under a mask of nodes is trained as the smaller network that it is.
    """
    data = split(pictures)

    def trial(model: Any, masks: Any) -> float:
        smaller = search.remove_nodes(model, masks)
        run = search.MaskedRun(smaller, {}, data.train, data.held_out, lr=2e-3, batch_size=100)
        return run(pictures.n_steps)

    with one_thread():
        return search.compare_search(
            [parent(pictures, seed) for seed in range(N_PAIRS)],
            search.NodeSampler(density),
            data.initial_loss,
            trial,
            n_candidates,
        )
