"""Sparse least squares as a model of training: a row w with sparse row s has the loss ``(s - w) G (s - w)' / 2``."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.typing import AnyArray, BoolArray, Float64Array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Quadratic", "autoregressive", "two_of_four"]


@cache
def two_of_four() -> "core.NM":
    """Return the pattern 2:4; not a constant, for torch is not to be loaded before it is used."""
    return core.NM(2, 4)


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Dense rows and the Gram matrix of their inputs."""

    gram: Float64Array
    rows: Float64Array

    @cached_property
    def curvature(self) -> float:
        """Largest eigenvalue of the Gram matrix."""
        return float(np.linalg.eigvalsh(self.gram)[-1])

    def gradient(self, sparse: AnyArray) -> Float64Array:
        """Return the gradients of the losses in the sparse rows."""
        return np.asarray((sparse - self.rows) @ self.gram)

    def trained_gradient(self, stored: AnyArray, alpha: float = 0.0) -> Float64Array:
        """Return what reaches the stored rows, by the package's parametrisation and automatic derivatives."""
        weight = tensor(stored).requires_grad_()
        change = weights.SparseSTE(two_of_four(), alpha=alpha)(weight) - tensor(self.rows)
        (((change @ tensor(self.gram)) * change).sum() / 2).backward()
        return array(weight.grad)

    def thresholded_step(self, sparse: AnyArray, step: float) -> Float64Array:
        """Return the rows after one step of iterative hard thresholding."""
        return array(two_of_four().project(tensor(sparse - step * self.gradient(sparse))))

    def refitted(self, masks: BoolArray) -> Float64Array:
        """Return the best rows on masks."""
        return array(weights.refit(tensor(self.rows), tensor(self.gram), tensor(masks)))

    def errors(self, masks: BoolArray) -> Float64Array:
        """Return the losses of the best rows on masks, relative to those of zero rows."""
        change = self.refitted(masks) - self.rows
        return np.asarray(((change @ self.gram) * change).sum(1) / ((self.rows @ self.gram) * self.rows).sum(1))

    def parts(self) -> "tuple[Tensor, Tensor]":
        """Return Gram matrix and rows as tensors."""
        return tensor(self.gram), tensor(self.rows)


def autoregressive(rng: np.random.Generator, n_rows: int, n_features: int = 16, correlation: float = 0.8) -> Quadratic:
    """Draw normal rows, and 200 inputs whose neighbours have a correlation."""
    distances = np.abs(np.subtract.outer(np.arange(n_features), np.arange(n_features)))
    X = rng.standard_normal((200, n_features)) @ np.linalg.cholesky(correlation**distances).T
    return Quadratic(X.T @ X / len(X), rng.standard_normal((n_rows, n_features)))
