"""Random projections by two Walsh-Hadamard transforms."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsetheory.gpu.dimension.projections.hadamard import in_kernel_type, padded_size, transform_rows
from sparsetheory.gpu.dimension.projections.projection import Projection
from sparsetheory.numba_kernels.projections.transforms import gather_and_transform, scatter
from sparsetheory.typing import AnyArray

__all__ = ["FastfoodProjection"]

# Columns of which norms are computed at a time.
_BATCH = 64


class FastfoodProjection(Projection):
    r"""Signs, a Walsh-Hadamard transform, a permutation, Gaussian factors, and another transform, cut to D entries.

    :math:`P t = (H G \Pi H B \tilde t)_{1..D} / \sqrt{D \sum_i G_{ii}^2}`, where :math:`\tilde t` is t filled up with
    zeros to L entries, the least power of two from D on. Products take ``L log2 L`` additions and read 6 L bytes;
    the map takes as many, and d signs. With the same seed and the same D, fewer components are the first ones of more.

    Where D is L, all columns have length 1 exactly; otherwise nearly, within about ``5 / sqrt(D)``. They are nearly
    orthogonal: the largest cosine of d columns is about ``2 * sqrt(log(d) / D)``.

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
    signs : Tensor of shape (d,)
        Diagonal of B.
    index : Tensor of int of shape (L,)
        Which of the outputs of the first transform the permutation brings to each place.
    factors : Tensor of shape (L,)
        Diagonal of G, divided by what makes columns of unit length.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    The first transform repeats itself: with zeros beyond entry d, its outputs have the period ``2**ceil(log2(d))``. So
    one period is computed, and the permutation matters only up to multiples of the period. What it reads at random
    then lies in the first-level cache. The adjoint goes the same way back.

    The columns are not in general position. If A sums over blocks whose length is a power of two, then ``A @ H`` has
    few distinct columns, and ``A @ P`` often has a lower rank than ``min(d, rank(A))``. In a random order, which the
    caller gives the D parameters once, such structure is gone.

    References
    ----------
    Q. Le, T. Sarlos, A. Smola. Fastfood: Approximating Kernel Expansions in Loglinear Time. ICML 2013,
    arXiv:1408.3060.
    C. Li, H. Farkhoor, R. Liu, J. Yosinski. Measuring the Intrinsic Dimension of Objective Landscapes. ICLR 2018,
    arXiv:1804.08838.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.dimension import FastfoodProjection
    >>> projection = FastfoodProjection(3, 1000)
    >>> projection.apply(torch.ones(3)).shape
    torch.Size([1000])
    >>> t, g = torch.ones(3), torch.ones(1000)
    >>> torch.allclose(projection.apply(t) @ g, projection.adjoint(g) @ t, atol=1e-4)
    True
    """

    _state: ClassVar[tuple[str, ...]] = ("signs", "index", "factors")
    signs: Tensor
    index: Tensor
    factors: Tensor

    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each column, of shape (d,); takes ``d L log2 L`` additions."""
        units = torch.eye(self.n_components, dtype=self._precision, device=self.device)
        return torch.cat([self._multiply(part).norm(dim=1) for part in units.split(_BATCH)]).to(self.dtype)

    def _draw(self, generator: torch.Generator) -> None:
        size = padded_size(self.n_features)
        signs = 2 * torch.randint(2, (size,), generator=generator, dtype=torch.int8) - 1
        permutation = torch.randperm(size, generator=generator)
        factors = torch.randn(size, generator=generator, dtype=torch.float64)
        self.signs = signs[: self.n_components].double()
        period = padded_size(self.n_components)
        self.index = (permutation % period).to(torch.int16 if period <= 1 << 15 else torch.int32)
        self.factors = factors / (self.n_features**0.5 * factors.norm())

    def _check_state(self, state: Mapping[str, Tensor]) -> None:
        super()._check_state(state)
        index, period = state["index"], padded_size(self.n_components)
        if not bool(((index >= 0) & (index < period)).all()):
            raise ValueError(
                f"index of state must be from 0 to {period - 1}; got {int(index.min())} to {int(index.max())}"
            )

    def _places(self) -> AnyArray:
        # A kernel need not look for indices from the end.
        index = self.index.numpy()
        return index.view(np.uint16 if index.itemsize == 2 else np.uint32)

    def _multiply(self, T: Tensor) -> Tensor:
        mixed = transform_rows(T * self.signs, padded_size(self.n_components))
        size = len(self.index)
        if in_kernel_type(T):
            out = T.new_empty(len(T), size)
            gather_and_transform(mixed.numpy(), self._places(), self.factors.numpy(), out.numpy())
        else:
            out = transform_rows(mixed[:, self.index.long()] * self.factors, size)
        return out[:, : self.n_features]

    def _multiply_adjoint(self, G: Tensor) -> Tensor:
        mixed = transform_rows(G, len(self.index))
        period = padded_size(self.n_components)
        if in_kernel_type(G):
            sums = G.new_empty(len(G), period)
            scatter(mixed.numpy(), self._places(), self.factors.numpy(), sums.numpy())
        else:
            sums = G.new_zeros(len(G), period).index_add_(1, self.index.long(), mixed * self.factors)
        return transform_rows(sums, period)[:, : self.n_components] * self.signs
