"""Training, dropping and regrowing, epoch after epoch, and what the strengths of the features were meanwhile."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.gpu.dynamic.feature_selection.evolution import pruned, regrown
from sparsetheory.gpu.dynamic.feature_selection.layer import SparseLayer, draw_layer
from sparsetheory.gpu.dynamic.feature_selection.training import Steps, train_epoch
from sparsetheory.progress import tracked
from sparsetheory.typing import Float64Array, FloatArray, Int64Array

__all__ = ["Trained", "Training"]


@dataclass(frozen=True, eq=False)
class Trained:
    """An autoencoder after training.

    Parameters
    ----------
    encoder, decoder : SparseLayer
        After the last epoch.
    strengths : ndarray of shape (max_iter + 1, n_features)
        Of each feature, at the start and after each epoch, before connections are dropped.
    connections : ndarray of int64 of shape (max_iter + 1, n_features)
        Number of connections of each feature at the same times.
    pruned_strengths : ndarray of shape (n_features,) or None
        After connections were dropped for the last time, and before others grew; None after one epoch.
    losses : ndarray of float64 of shape (max_iter,)
        Mean squared error in the course of each epoch.
    """

    encoder: SparseLayer
    decoder: SparseLayer
    strengths: FloatArray
    connections: Int64Array
    pruned_strengths: FloatArray | None
    losses: Float64Array


@dataclass(frozen=True)
class Training:
    """How an autoencoder is made and trained.

    Parameters
    ----------
    n_hidden : int
    epsilon : float
        A layer draws ``epsilon (n_features + n_hidden)`` connections.
    drop_fraction : float
        Share of the connections of each sign that is replaced after each epoch but the last.
    max_iter : int
        Epochs.
    noise_std : float
    rule : {"exact", "official"}
    steps : Steps
    verbose : bool
    """

    n_hidden: int
    epsilon: float
    drop_fraction: float
    max_iter: int
    noise_std: float
    rule: str
    steps: Steps
    verbose: bool

    def run(self, X: FloatArray, rng: np.random.Generator) -> Trained:
        """Train an autoencoder to return what it sees with noise, which is drawn once.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            Contiguous.
        rng : Generator

        Raises
        ------
        FloatingPointError
            If the loss of an epoch is no finite number.
        """
        shape = self.n_hidden, X.shape[1]
        encoder, decoder = (draw_layer(rng, size, self.epsilon, X.dtype) for size in (shape, shape[::-1]))
        noisy = rng.standard_normal(X.shape, dtype=X.dtype)
        noisy *= X.dtype.type(self.noise_std)
        noisy += X
        strengths, connections, losses, last = [encoder.strengths], [encoder.degrees], [], None
        for epoch in tracked(range(1, self.max_iter + 1), "epochs", self.verbose):
            # What overflows ends as a loss that is not finite.
            with np.errstate(over="ignore", invalid="ignore"):
                losses.append(train_epoch(encoder, decoder, X, noisy, self.steps, rng))
            if not np.isfinite(losses[-1]):
                raise FloatingPointError(
                    f"the loss is {losses[-1]} in epoch {epoch}: standardise X, or lower learning_rate, which is "
                    f"{self.steps.learning_rate:g}"
                )
            strengths.append(encoder.strengths)
            connections.append(encoder.degrees)
            if epoch < self.max_iter:
                smaller = pruned(encoder, self.drop_fraction, self.rule)
                last = smaller.strengths
                encoder = regrown(smaller, encoder.n_nonzero, rng)
                decoder = regrown(pruned(decoder, self.drop_fraction, self.rule), decoder.n_nonzero, rng)
        return Trained(encoder, decoder, np.array(strengths), np.array(connections), last, np.array(losses))
