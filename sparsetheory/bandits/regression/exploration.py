"""How actions are drawn that a regression learns from."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits.algorithms.session import Batch
from sparsetheory.bandits.design.e_optimal import e_optimal_design
from sparsetheory.bandits.design.leverages import BLOCK
from sparsetheory.bandits.design.optimal import g_optimal_design
from sparsetheory.bandits.regression.l1_errors import least_eigenvalue
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["EXPLORATIONS", "Exploration", "exploration_of"]

EXPLORATIONS = ("uniform", "design", "e_optimal")


@dataclass(frozen=True, eq=False)
class Exploration:
    """A distribution over actions.

    Parameters
    ----------
    support : ndarray of int
        Actions that may be drawn.
    weights : ndarray of float
        Their probabilities.
    """

    support: IndexArray
    weights: Float64Array

    def drawn(self, n: int, rng: np.random.Generator) -> Batch:
        """Return independent draws, with their probabilities."""
        which = rng.choice(len(self.support), size=n, p=self.weights)
        return Batch(self.support[which], self.weights[which])

    def smallest_eigenvalue(self, features: AnyArray) -> float:
        """Return the smallest eigenvalue of the expected second moments, less rounding; 0 where that is all it is."""
        moments = np.zeros((features.shape[1], features.shape[1]))
        for start in range(0, len(self.support), BLOCK):
            part = slice(start, start + BLOCK)
            rows = np.asarray(features[self.support[part]], dtype=np.float64)
            moments += (rows.T * self.weights[part]) @ rows
        return least_eigenvalue(moments)


def exploration_of(kind: str, features: AnyArray) -> Exploration:
    """Return a distribution over actions.

    Parameters
    ----------
    kind : {"uniform", "design", "e_optimal"}
        All actions alike; a G-optimal design, which predicts all rewards about equally well; or an E-optimal one, whose
        smallest eigenvalue is nearly the largest possible.
    features : ndarray of shape (n_actions, n_features)
    """
    if kind == "uniform":
        return Exploration(np.arange(len(features)), np.full(len(features), 1 / len(features)))
    design = g_optimal_design(features) if kind == "design" else e_optimal_design(features)
    return Exploration(design.support, design.weights / design.weights.sum())
