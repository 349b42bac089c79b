"""Very sparse random projections."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sparsetheory.gpu.dimension.projections.projection import Projection

__all__ = ["SparseProjection"]


class SparseProjection(Projection):
    """Signs at few random places; in rows of a parameter tensor of n entries a place is taken with rate 1 / sqrt(n).

    Parameters
    ----------
    n_components : int
        d, at least 1 and at most D.
    n_features : int
        D.
    sizes : sequence of int, optional
        Entries of each parameter tensor, in order; they sum to D. One tensor of D entries by default.
    generator : torch.Generator, int or None
        Where the numbers come from; a seed gives the same map on every device.
    dtype : torch.dtype, optional
        Of what is multiplied; torch's default.
    device : torch.device, optional
        Where it is; the CPU.
    """

    _stored: ClassVar[tuple[str, ...]] = ("rows", "columns", "values")
    rows: Tensor
    columns: Tensor
    values: Tensor

    def __init__(
        self,
        n_components: int,
        n_features: int,
        *,
        sizes: Sequence[int] | None = None,
        generator: torch.Generator | int | None = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.sizes = (n_features,) if sizes is None else tuple(sizes)
        if sum(self.sizes) != n_features or min(self.sizes) < 1:
            raise ValueError(f"sizes must be positive and sum to n_features = {n_features}; got {self.sizes}")
        super().__init__(n_components, n_features, generator=generator, dtype=dtype, device=device)

    def _draw(self, generator: torch.Generator) -> None:
        rates = torch.cat([torch.full((n,), n**-0.5, dtype=torch.float64) for n in self.sizes])
        entries = torch.zeros(self.n_components, self.n_features, dtype=torch.float64)
        for column in entries:
            while not column.any():
                taken = torch.rand(self.n_features, generator=generator, dtype=torch.float64) < rates
                signs = 2.0 * torch.randint(2, (self.n_features,), generator=generator) - 1.0
                column.copy_(taken * signs * rates**-0.5)
        entries /= entries.norm(dim=1, keepdim=True)
        self.columns, self.rows = entries.nonzero(as_tuple=True)
        self.values = entries[self.columns, self.rows]

    def _place(self) -> None:
        super()._place()
        self.values = self.values.to(self.dtype)

    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each of the d columns."""
        squares = torch.zeros(self.n_components, dtype=self.dtype, device=self.device)
        return squares.index_add(0, self.columns, self.values.square()).sqrt()

    def _multiply(self, t: Tensor) -> Tensor:
        out = t.new_zeros(*t.shape[:-1], self.n_features)
        return out.index_add_(-1, self.rows, t[..., self.columns] * self.values)

    def _multiply_adjoint(self, g: Tensor) -> Tensor:
        out = g.new_zeros(*g.shape[:-1], self.n_components)
        return out.index_add_(-1, self.columns, g[..., self.rows] * self.values)
