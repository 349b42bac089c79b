"""Dense random projections."""

from typing import ClassVar

import torch
from torch import Tensor

from sparsetheory.gpu.dimension.projections.projection import Projection

__all__ = ["DenseProjection"]


class DenseProjection(Projection):
    """Columns uniformly distributed on the unit sphere: Gaussian entries, each column divided by its length.

    The length is taken over all parameters together, so blocks for single layers with one normaliser are the same map.
    d D numbers are kept, and read by every product. Columns are drawn one after the other: with the same seed and the
    same D, fewer components are the first ones of more.

    For any matrix A of D columns, ``A @ P`` has rank ``min(d, rank(A))`` almost surely: a set of solutions of
    codimension m is reached from d >= m dimensions on.

    Parameters
    ----------
    n_components : int
        d, from 1 to D.
    n_features : int
        D.
    generator : torch.Generator, int or None
        Where the map is drawn from, on the CPU; an int gives the same map on every device.
    dtype : torch.dtype or None
        Type of what is multiplied, of 16, 32 or 64 bits; None for the default of torch. Sums are in single precision
        where it is narrower.
    device : torch.device, str or None
        Where it is multiplied; None for the CPU.

    Attributes
    ----------
    weight : Tensor of shape (d, D)
        The columns of P, as rows.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    C. Li, H. Farkhoor, R. Liu, J. Yosinski. Measuring the Intrinsic Dimension of Objective Landscapes. ICLR 2018,
    arXiv:1804.08838.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.dimension import DenseProjection
    >>> projection = DenseProjection(3, 100)
    >>> projection.apply(torch.ones(3)).shape
    torch.Size([100])
    >>> torch.allclose(projection.column_norms(), torch.ones(3))
    True
    """

    _state: ClassVar[tuple[str, ...]] = ("weight",)
    weight: Tensor

    def _draw(self, generator: torch.Generator) -> None:
        self.weight = torch.empty(self.n_components, self.n_features, dtype=self._precision)
        for row in self.weight:
            # Drawn in double precision, the map is the same in every type.
            column = torch.randn(self.n_features, generator=generator, dtype=torch.float64)
            row.copy_(column / column.norm())

    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each column, of shape (d,)."""
        return self.weight.norm(dim=1).to(self.dtype)

    def _multiply(self, T: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):  # else products would be of 16 bits
            return T @ self.weight

    def _multiply_adjoint(self, G: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            return G @ self.weight.mT
