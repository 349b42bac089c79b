"""Dense random projections."""

from typing import ClassVar

import torch
from torch import Tensor

from sparsetheory.gpu.dimension.projections.projection import Projection

__all__ = ["DenseProjection"]


class DenseProjection(Projection):
    """Gaussian entries, each column divided by its length over all parameters together."""

    _stored: ClassVar[tuple[str, ...]] = ("weight",)
    weight: Tensor

    def _draw(self, generator: torch.Generator) -> None:
        self.weight = torch.empty(self.n_components, self.n_features, dtype=self.dtype)
        for row in self.weight:
            # Drawn in double precision, the map is the same in every type.
            column = torch.randn(self.n_features, generator=generator, dtype=torch.float64)
            row.copy_(column / column.norm())

    def _place(self) -> None:
        self.weight = self.weight.to(self.device, self.dtype)

    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each of the d columns."""
        return self.weight.norm(dim=1)

    def _multiply(self, t: Tensor) -> Tensor:
        return t @ self.weight

    def _multiply_adjoint(self, g: Tensor) -> Tensor:
        return g @ self.weight.mT
