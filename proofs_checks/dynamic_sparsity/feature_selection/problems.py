"""Small sparse autoencoders with data, for claims."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu.dynamic.feature_selection.layer import SparseLayer, draw_layer
from sparsetheory.gpu.dynamic.feature_selection.training import Steps, train_epoch
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.typing import Float64Array

__all__ = ["Problem", "problems"]


@dataclass(frozen=True)
class Problem:
    """An autoencoder of random connections and weights, and how it is trained; all is drawn from a seed.

    Parameters
    ----------
    rng_seed, n_samples, n_features, n_hidden : int
    dropout : float
    """

    rng_seed: int
    n_samples: int
    n_features: int
    n_hidden: int
    dropout: float

    @property
    def steps(self) -> Steps:
        """Batches of 7 samples, so that mostly a smaller one is last, and steps that are not small."""
        return Steps(7, 0.1, 0.9, 1e-3, self.dropout)

    @cached_property
    def data(self) -> tuple[Float64Array, Float64Array]:
        """Samples, without and with noise."""
        rng = np.random.default_rng([self.rng_seed, 0])
        X = rng.standard_normal((self.n_samples, self.n_features))
        return X, X + 0.2 * rng.standard_normal(X.shape)

    def layers(self) -> tuple[SparseLayer, SparseLayer]:
        """Return a fresh encoder and decoder, which training changes; their biases are not zero."""
        rng = np.random.default_rng([self.rng_seed, 1])
        shape = self.n_hidden, self.n_features
        encoder, decoder = (draw_layer(rng, size, 1.5, np.float64) for size in (shape, shape[::-1]))
        for layer in (encoder, decoder):
            layer.bias[:] = rng.standard_normal(layer.bias.size)
        return encoder, decoder

    def train(self, encoder: SparseLayer, decoder: SparseLayer, X: Any, noisy: Any, *, n_epochs: int = 2) -> None:
        """Train layers in place; the order of the samples and the silent units are the same every time."""
        rng = np.random.default_rng([self.rng_seed, 2])
        for _ in range(n_epochs):
            train_epoch(encoder, decoder, np.ascontiguousarray(X), np.ascontiguousarray(noisy), self.steps, rng)


def problems(dropouts: tuple[float, ...] = (0.0, 0.2, 0.5)) -> st.SearchStrategy[Problem]:
    """Draw autoencoders of all shapes."""
    sizes = st.integers(2, 9)
    return st.builds(Problem, seeds, st.integers(1, 30), sizes, sizes, st.sampled_from(dropouts))
