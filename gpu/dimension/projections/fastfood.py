"""Random projections by two Walsh-Hadamard transforms."""

from typing import ClassVar

import torch
from torch import Tensor

from sparsetheory.gpu.dimension.projections.hadamard import transformed
from sparsetheory.gpu.dimension.projections.projection import Projection

__all__ = ["FastfoodProjection"]


class FastfoodProjection(Projection):
    """Signs, a Walsh-Hadamard transform, a permutation, Gaussian factors and another transform, cut to D entries."""

    _stored: ClassVar[tuple[str, ...]] = ("signs", "permutation", "factors")
    signs: Tensor
    permutation: Tensor
    factors: Tensor

    def _draw(self, generator: torch.Generator) -> None:
        # The logarithm in floating point is off by one at some powers of two.
        self.size = 1 << (self.n_features - 1).bit_length()
        self.signs = 2.0 * torch.randint(2, (self.size,), generator=generator) - 1.0
        self.permutation = torch.randperm(self.size, generator=generator)
        gauss = torch.randn(self.size, generator=generator, dtype=torch.float64)
        self.factors = gauss / (self.n_features**0.5 * gauss.norm())

    def _place(self) -> None:
        super()._place()
        self._precision = torch.float64 if self.dtype == torch.float64 else torch.float32

    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each of the d columns."""
        return self.to_dense().norm(dim=0)

    def _multiply(self, t: Tensor) -> Tensor:
        given = t.to(self._precision)
        padded = given.new_zeros(*t.shape[:-1], self.size)
        padded[..., : self.n_components] = given * self.signs[: self.n_components]
        mixed = transformed(padded)[..., self.permutation] * self.factors.to(given)
        return transformed(mixed)[..., : self.n_features].to(t.dtype)

    def _multiply_adjoint(self, g: Tensor) -> Tensor:
        given = g.to(self._precision)
        padded = given.new_zeros(*g.shape[:-1], self.size)
        padded[..., : self.n_features] = given
        mixed = torch.empty_like(padded)
        mixed[..., self.permutation] = transformed(padded) * self.factors.to(given)
        return (transformed(mixed)[..., : self.n_components] * self.signs[: self.n_components]).to(g.dtype)
