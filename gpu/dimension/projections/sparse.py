"""Very sparse random projections."""

import copy
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.dimension.projections.hadamard import in_kernel_type
from sparsetheory.gpu.dimension.projections.projection import Projection
from sparsetheory.gpu.dimension.projections.sign_entries import SignEntries, draw_entries
from sparsetheory.numba_kernels.projections.signs import BAND_BITS, multiply, multiply_transposed
from sparsetheory.typing import AnyArray

__all__ = ["SparseProjection"]

_BAND = 1 << BAND_BITS
# What is left of 31 bits for the number of a column, beside a row and a sign.
_MOST_COLUMNS = 1 << (30 - BAND_BITS)


class SparseProjection(Projection):
    """Random signs at few random places, with columns of unit length.

    In the rows that belong to a parameter tensor of n entries, each place is taken by itself with probability
    ``n ** -0.5``; what is there is ``+-n ** 0.25``, divided by the length of its column over all parameters together.
    A column without any entry is drawn again. Products take about ``d * sum(sqrt(n))`` additions, and the map about
    4 bytes for each.

    Parameters
    ----------
    n_components : int
        d, from 1 to D.
    n_features : int
        D.
    sizes : sequence of int or None
        Entries of each parameter tensor, in their order, D in sum. None for one tensor of D entries. Weights and
        biases count apart: those of a bias of 10 entries are taken with probability 0.3.
    generator : torch.Generator, int or None
        Where the map is drawn from, on the CPU; an int gives the same map on every device.
    dtype : torch.dtype or None
        Type of what is multiplied, of 16, 32 or 64 bits; None for the default of torch. Sums are in single precision
        where it is narrower.
    device : torch.device, str or None
        Where it is multiplied; None for the CPU.

    Attributes
    ----------
    sizes : tuple of int
        Entries of each parameter tensor.
    nnz : int
        Entries of P that are not zero.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Unlike for the dense kind, ``A @ P`` may have a lower rank than ``min(d, rank(A))`` where D is small: at D = 64
    columns have eight entries each, and a part of A may meet too few of them.

    References
    ----------
    C. Li, H. Farkhoor, R. Liu, J. Yosinski. Measuring the Intrinsic Dimension of Objective Landscapes. ICLR 2018,
    arXiv:1804.08838.
    P. Li, T. J. Hastie, K. W. Church. Very sparse random projections. KDD 2006.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.dimension import SparseProjection
    >>> projection = SparseProjection(3, 110, sizes=[100, 10])
    >>> projection.apply(torch.ones(3)).shape
    torch.Size([110])
    >>> torch.allclose(projection.column_norms(), torch.ones(3))
    True
    """

    _state: ClassVar[tuple[str, ...]] = ("codes", "ends", "factors")
    codes: Tensor
    ends: Tensor
    factors: Tensor

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
        n_features = COUNT.check("n_features", n_features)
        self.sizes = (n_features,) if sizes is None else tuple(COUNT.check("sizes", size) for size in sizes)
        if sum(self.sizes) != n_features:
            raise ValueError(f"sizes must sum to n_features, {n_features}; got {sum(self.sizes)}")
        self._bands = _bands(self.sizes)
        super().__init__(n_components, n_features, generator=generator, dtype=dtype, device=device)

    @property
    def nnz(self) -> int:
        """Entries of P that are not zero."""
        return self.codes.numel()

    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each column, of shape (d,)."""
        entries, values = self._entries()
        squares = torch.zeros(self.n_components, dtype=torch.float64, device=self.device)
        squares.index_add_(0, entries.columns, values.double().square())
        return squares.sqrt().to(self.dtype)

    def _draw(self, generator: torch.Generator) -> None:
        entries = draw_entries(self.sizes, self.n_components, generator)
        starts, scales = self._bands
        bands = torch.searchsorted(starts, entries.rows, right=True) - 1
        codes = entries.rows - starts[bands] + _BAND * (2 * entries.columns + entries.negative)
        self.codes = codes.to(torch.int32 if self.n_components <= _MOST_COLUMNS else torch.int64)
        self.ends = torch.searchsorted(entries.rows, starts[1:])
        squares = torch.zeros(self.n_components, dtype=torch.float64)
        self.factors = squares.index_add_(0, entries.columns, scales[bands].square()).rsqrt()

    def _place(self) -> None:
        super()._place()
        self._decoded = None if self._compiled else self._entries()

    def _check_state(self, state: Mapping[str, Tensor]) -> None:
        # How many entries there are is random.
        super()._check_state({**state, "codes": self.codes})
        codes, ends = state["codes"], state["ends"]
        if codes.ndim != 1 or codes.dtype != self.codes.dtype or int(ends[-1]) != len(codes):
            got = f"{codes.dtype} of shape {tuple(codes.shape)}"
            raise ValueError(f"codes of state must have {int(ends[-1])} entries of {self.codes.dtype}; got {got}")
        counts = ends.diff(prepend=ends.new_zeros(1))
        if bool((counts < 0).any()):
            raise ValueError("ends of state must not decrease")
        heights = self._bands[0].diff().to(codes.device).repeat_interleave(counts)
        if not bool(((codes >= 0) & (codes % _BAND < heights) & (codes // (2 * _BAND) < self.n_components)).all()):
            raise ValueError(f"codes of state must be those of {self.n_components} columns and sizes {self.sizes}")
        loaded = copy.copy(self)
        for name in self._state:
            setattr(loaded, name, state[name].to(self.device))
        # Sizes are not in the state, but what an entry of each tensor is worth depends on them.
        if not torch.allclose(loaded.column_norms().float(), torch.ones(1, device=self.device), atol=0.01):
            raise ValueError(f"factors of state must make columns of length 1 of tensors of sizes {self.sizes}")

    @property
    def _compiled(self) -> bool:
        return self.device.type == "cpu" and self.codes.dtype == torch.int32

    def _entries(self) -> tuple[SignEntries, Tensor]:
        """Return places, signs and values of all entries."""
        starts, scales = (values.to(self.device) for values in self._bands)
        bands = torch.arange(len(self.ends), device=self.device).repeat_interleave(
            self.ends.diff(prepend=self.ends.new_zeros(1))
        )
        codes = self.codes.long()
        above = codes // _BAND
        entries = SignEntries(starts[bands] + codes % _BAND, above // 2, above % 2)
        sizes = scales[bands].to(self.factors) * self.factors[entries.columns]
        return entries, torch.where(entries.negative == 1, -sizes, sizes)

    def _arrays(self) -> tuple[AnyArray, ...]:
        """Return what the kernels know of the matrix."""
        return self.codes.numpy().view(np.uint32), self.ends.numpy(), *(part.numpy() for part in self._bands)

    def _multiply(self, T: Tensor) -> Tensor:
        if self._decoded is None and in_kernel_type(T):
            scaled = T * self.factors
            table = torch.stack((scaled, -scaled), dim=2).flatten(1)
            out = T.new_empty(len(T), self.n_features)
            multiply(*self._arrays(), table.numpy(), out.numpy())
            return out
        entries, values = self._decoded or self._entries()
        out = T.new_zeros(len(T), self.n_features)
        return out.index_add_(1, entries.rows, T[:, entries.columns] * values)

    def _multiply_adjoint(self, G: Tensor) -> Tensor:
        if self._decoded is None and in_kernel_type(G):
            sums = G.new_empty(len(G), 2 * self.n_components)
            multiply_transposed(*self._arrays(), G.contiguous().numpy(), sums.numpy())
            return (sums[:, ::2] - sums[:, 1::2]) * self.factors
        entries, values = self._decoded or self._entries()
        out = G.new_zeros(len(G), self.n_components)
        return out.index_add_(1, entries.columns, G[:, entries.rows] * values)


def _bands(sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return where bands of rows start, and the size of their entries before columns are normalised."""
    starts: list[int] = []
    scales: list[float] = []
    first = 0
    for size in sizes:
        within = range(first, first + size, _BAND)
        starts += within
        scales += [size**0.25] * len(within)
        first += size
    return torch.tensor([*starts, first]), torch.tensor(scales, dtype=torch.float64)
