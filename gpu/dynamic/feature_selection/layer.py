"""A layer of a network that keeps its connections alone: places, weights and velocities, in CSR."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sparsetheory.typing import AnyArray, FloatArray, Int64Array

__all__ = ["WEIGHT_STD", "SparseLayer", "draw_layer"]

# Standard deviation of new weights, as published.
WEIGHT_STD = 0.1


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """Connections of a layer of n_out outputs and n_in inputs; its arrays are trained in place.

    Parameters
    ----------
    shape : tuple of int
        Outputs and inputs.
    positions : ndarray of int64 of shape (nnz,)
        Places in the weight row after row, ascending.
    values, velocity : ndarray of shape (nnz,)
    bias, bias_velocity : ndarray of shape (n_out,)
    """

    shape: tuple[int, int]
    positions: Int64Array
    values: FloatArray
    velocity: FloatArray
    bias: FloatArray
    bias_velocity: FloatArray
    indptr: Int64Array = field(init=False)
    indices: AnyArray = field(init=False)

    def __post_init__(self) -> None:
        rows, columns = np.divmod(self.positions, self.shape[1])
        starts = np.searchsorted(rows, np.arange(self.shape[0] + 1))
        object.__setattr__(self, "indptr", starts.astype(np.int64, copy=False))
        object.__setattr__(self, "indices", columns.astype(np.int32))

    @property
    def n_nonzero(self) -> int:
        """Number of connections."""
        return self.positions.size

    @property
    def degrees(self) -> Int64Array:
        """Number of connections of every input."""
        return np.bincount(self.indices, minlength=self.shape[1])

    @property
    def strengths(self) -> FloatArray:
        """Sum of the sizes of the weights of every input, in the precision of the weights."""
        sums = np.bincount(self.indices, np.abs(self.values), minlength=self.shape[1])
        return sums.astype(self.values.dtype, copy=False)

    def matrix(self) -> Any:
        """Return a copy of the weight as a sparse array of scipy in CSR."""
        from scipy import sparse

        # scipy shares the arrays that it is given, and training would change the copy.
        parts = self.values.copy(), self.indices.copy(), self.indptr.astype(np.int32)
        return sparse.csr_array(parts, shape=self.shape)

    def rewired(self, positions: Int64Array, values: FloatArray, velocity: FloatArray) -> "SparseLayer":
        """Return the layer with other connections, in any order, and the same biases."""
        order = np.argsort(positions, kind="stable")
        kept = positions[order], values[order], velocity[order]
        return SparseLayer(self.shape, *kept, self.bias, self.bias_velocity)


def draw_layer(rng: np.random.Generator, shape: tuple[int, int], epsilon: float, dtype: DTypeLike) -> SparseLayer:
    """Draw ``epsilon (n_out + n_in)`` connections with replacement, with weights from N(0, 0.1^2); biases are zero.

    As many draws as there are places, or more, mean all places.

    With N draws of one of M places, a place is missed with probability ``(1 - 1/M)^N``, so ``M (1 - (1 - 1/M)^N)``
    connections are expected. Time and memory are O(N).
    """
    n_places, n_draws = shape[0] * shape[1], int(epsilon * (shape[0] + shape[1]))
    positions = np.arange(n_places) if n_draws >= n_places else np.unique(rng.integers(n_places, size=n_draws))
    values = (WEIGHT_STD * rng.standard_normal(positions.size)).astype(dtype)
    bias = np.zeros(shape[0], dtype=dtype)
    return SparseLayer(shape, positions, values, np.zeros_like(values), bias, bias.copy())
