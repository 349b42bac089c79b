"""The kinds of projections, by name, and instances of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.typing import Float64Array

__all__ = ["KINDS", "Case", "cases", "projection"]

KINDS = ("dense", "sparse", "fastfood")


def projection(kind: str, d: int, D: int, generator: Any) -> Any:
    """Return a projection of a kind, from d to D dimensions, in double precision."""
    import torch

    from sparsetheory.gpu import dimension

    classes = (dimension.DenseProjection, dimension.SparseProjection, dimension.FastfoodProjection)
    return dict(zip(KINDS, classes, strict=True))[kind](d, D, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Case:
    """A projection, and a vector at each of its ends.

    Parameters
    ----------
    kind : str
    d, D : int
    seed : int
    """

    kind: str
    d: int
    D: int
    seed: int

    @cached_property
    def map(self) -> Any:
        """The projection."""
        return projection(self.kind, self.d, self.D, self.seed)

    @cached_property
    def matrix(self) -> Float64Array:
        """The matrix of the projection."""
        return array(self.map.to_dense())

    @cached_property
    def vectors(self) -> tuple[Float64Array, Float64Array]:
        """Vectors of d and of D entries."""
        rng = np.random.default_rng(self.seed)
        return rng.standard_normal(self.d), rng.standard_normal(self.D)

    def apply(self, t: Float64Array) -> Float64Array:
        """Return the product with a vector."""
        return array(self.map.apply(tensor(t)))

    def adjoint(self, g: Float64Array) -> Float64Array:
        """Return the product of the adjoint with a vector."""
        return array(self.map.adjoint(tensor(g)))


def cases(kinds: tuple[str, ...] = KINDS, largest: int = 80, powers: bool = False) -> st.SearchStrategy[Case]:
    """Return a strategy of projections to few dimensions.

    Parameters
    ----------
    kinds : tuple of str
    largest : int
        Most dimensions.
    powers : bool
        Whether dimensions are powers of two.
    """
    sizes = st.integers(0, largest.bit_length() - 1).map(lambda e: 2**e) if powers else st.integers(1, largest)
    return sizes.flatmap(lambda D: st.builds(Case, st.sampled_from(kinds), st.integers(1, D), st.just(D), seeds))
