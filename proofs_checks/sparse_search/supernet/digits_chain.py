"""Chains for handwritten digits: searched with sparse operations, searched dense and pruned, and drawn at random."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sparsetheory.gpu import core, search, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

__all__ = ["DIGITS", "MNIST", "OPS", "ChainRun", "Pictures", "Trained"]

OPS = ("identity", "dense", "sparse:0.25", "sparse:0.05")
_N_EDGES, _WIDTH, _RANDOM = 3, 64, 2


@dataclass(frozen=True)
class Pictures:
    """A set of pictures, and for how long derived networks are trained on it.

    Parameters
    ----------
    loader : str
        Name of the function of :mod:`sparsetheory.gpu.core.datasets` that loads it.
    n_training : int
        Pictures to train on; the others judge. Each half of them is one part of the search.
    n_steps : int
        Steps of Adam at 2e-3 with batches of 100.
    """

    loader: str
    n_training: int
    n_steps: int


DIGITS = Pictures("load_digits", 1000, 250)
MNIST = Pictures("load_mnist_5k", 4000, 600)


@dataclass(frozen=True)
class Trained:
    """A network that was derived, trained, and judged on pictures that it has not seen.

    Parameters
    ----------
    ops : tuple of str
        Operation of each edge.
    n_nonzero : int
        Weights in use of all layers.
    accuracy : float
    """

    ops: tuple[str, ...]
    n_nonzero: int
    accuracy: float


@dataclass(frozen=True)
class ChainRun:
    """One seed of the data, the weights and the batches.

    Parameters
    ----------
    seed : int
    steps : int
        Alternating steps of the search.
    price : float
        Of a dense edge, in nats.
    pictures : Pictures
    """

    seed: int
    steps: int = 200
    price: float = 0.1
    pictures: Pictures = DIGITS

    @cached_property
    def parts(self) -> tuple[Any, ...]:
        """Data for the weights of the search, for its alpha, for training (both of them), and to judge by."""
        x, labels = shuffled_digits(self.seed, self.pictures.loader)
        n = self.pictures.n_training
        half = n // 2
        return (x[:half], labels[:half]), (x[half:n], labels[half:n]), (x[:n], labels[:n]), (x[n:], labels[n:])

    def chain(self, ops: tuple[str, ...] = OPS) -> Any:
        """Return an untrained chain of three edges of width 64."""
        return search.SuperChain(self.parts[0][0].shape[1], [_WIDTH] * (_N_EDGES + 1), 10, ops, generator=self.seed)

    def _searched(self, ops: tuple[str, ...], price: float) -> tuple[Any, "search.Architecture"]:
        first, second, *_ = self.parts
        model = self.chain(ops)
        with one_thread(), warnings.catch_warnings():
            # A collapse to identities is a result here, which the study shows.
            warnings.simplefilter("ignore", search.SkipDominanceWarning)
            found = search.search(model, first, second, self.steps, cost=price, batch_size=100, generator=self.seed)
        return search.derive(model), found

    def train(self, model: Any, masks: Any, n_steps: int) -> tuple[Any, float]:
        """Return a copy of a network that is trained under masks, and its accuracy on pictures it has not seen."""
        *_, training, held_out = self.parts
        run = search.MaskedRun(model, masks, training, held_out, lr=2e-3, batch_size=100, generator=self.seed)
        with one_thread():
            return run.model, run(n_steps)

    @cached_property
    def with_sparse_ops(self) -> tuple["search.Architecture", Any]:
        """What the search among sparse and dense operations found, and the network."""
        network, found = self._searched(OPS, self.price)
        return found, network

    @cached_property
    def sparse(self) -> Trained:
        """The network of that search, trained."""
        found, network = self.with_sparse_ops
        model, accuracy = self.train(network, {}, self.pictures.n_steps)
        return Trained(found.ops, core.MaskSet.of(model).n_nonzero, accuracy)

    @cached_property
    def dense_then_pruned(self) -> Trained:
        """The network of a search for dense operations without a price, pruned by magnitude after half of training.

        It keeps as many weights as the sparse one uses, or all where it has no more.
        """
        network, found = self._searched(("identity", "dense"), 0.0)
        half = self.pictures.n_steps // 2
        model, _ = self.train(network, {}, half)
        layers = {name: model.get_parameter(name).detach() for name in core.MaskSet.of(model)}
        n = core.MaskSet.of(model).size
        masks = weights.one_shot_masks(layers, max(0.0, 1 - self.sparse.n_nonzero / n))
        _, accuracy = self.train(model, masks, self.pictures.n_steps - half)
        return Trained(found.ops, masks.n_nonzero, accuracy)

    @cached_property
    def at_random(self) -> tuple[Trained, ...]:
        """Two networks whose edges have random operations, trained as long."""
        import torch

        found = []
        source = torch.Generator().manual_seed(self.seed)
        for _ in range(_RANDOM):
            model = self.chain(OPS)
            drawn = torch.randint(len(OPS), (_N_EDGES,), generator=source).tolist()
            with torch.no_grad():
                for alpha, option in zip(model.alphas, drawn, strict=True):
                    alpha[option] = 1.0
            trained, accuracy = self.train(search.derive(model), {}, self.pictures.n_steps)
            found.append(Trained(tuple(OPS[i] for i in drawn), core.MaskSet.of(trained).n_nonzero, accuracy))
        return tuple(found)
