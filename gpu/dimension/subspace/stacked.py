"""One Fastfood map for each parameter tensor, all driven by one vector, as a published code has it."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.dimension.projections.fastfood import FastfoodProjection

__all__ = ["StackedFastfood"]


class StackedFastfood:
    r"""A stack of independent Fastfood maps, one for each tensor, each with columns of length about 1.

    The whole map P has columns of length about :math:`\sqrt m` for m tensors. So one step of t moves the parameters
    :math:`\sqrt m` times further than a single map of unit columns would, as if the learning rate were larger.

    A map of a tensor of D entries has inner size :math:`L = 2^{\lceil \log_2 D \rceil}`, and takes the first L entries
    of t where t is longer than that: the rest of t does not move this tensor.

    Parameters
    ----------
    n_components : int
        Entries of t.
    sizes : sequence of int
        Entries of each tensor.
    generator : torch.Generator, int or None
    dtype, device
        Of t.

    References
    ----------
    Aghajanyan, Zettlemoyer, Gupta, "Intrinsic Dimensionality Explains the Effectiveness of Language Model Fine-Tuning",
    ACL 2021, arXiv:2012.13255, and public copies of the authors' code.
    """

    def __init__(
        self,
        n_components: int,
        sizes: Sequence[int],
        *,
        generator: torch.Generator | int | None = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.n_components = COUNT.check("n_components", n_components)
        self.sizes = [COUNT.check("sizes", size) for size in sizes]
        self.n_features = sum(self.sizes)
        self.dtype = torch.get_default_dtype() if dtype is None else dtype
        source = cpu_generator(generator)
        self.blocks = [
            # Of the inner size, so that t may be longer than the tensor; what is beyond the tensor is cut off here.
            FastfoodProjection(min(n_components, inner), inner, generator=source, dtype=self.dtype, device=device)
            for inner in (1 << (size - 1).bit_length() for size in self.sizes)
        ]

    def apply(self, t: Tensor) -> Tensor:
        """Return P t: entries along the last axis, further axes in front are a batch."""
        if t.shape[-1:] != (self.n_components,):
            raise ValueError(f"t must have {self.n_components} entries along its last axis; got shape {tuple(t.shape)}")
        pairs = zip(self.sizes, self.blocks, strict=True)
        parts = [
            # Cutting D of L rows off would shorten the columns.
            block.apply(t[..., : block.n_components])[..., :size] * (block.n_features / size) ** 0.5
            for size, block in pairs
        ]
        return torch.cat(parts, dim=-1)

    def adjoint(self, g: Tensor) -> Tensor:
        """Return the product of P transposed with a vector, along the last axis."""
        if g.shape[-1:] != (self.n_features,):
            raise ValueError(f"g must have {self.n_features} entries along its last axis; got shape {tuple(g.shape)}")
        total = g.new_zeros(*g.shape[:-1], self.n_components)
        for part, block in zip(g.split(self.sizes, dim=-1), self.blocks, strict=True):
            padded = torch.nn.functional.pad(part, (0, block.n_features - part.shape[-1]))
            total[..., : block.n_components] += block.adjoint(padded) * (block.n_features / part.shape[-1]) ** 0.5
        return total

    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each column."""
        return self.to_dense().norm(dim=0)

    def to_dense(self) -> Tensor:
        """Return P as a matrix of shape (n_features, n_components)."""
        device = self.blocks[0].device
        return self.apply(torch.eye(self.n_components, dtype=self.dtype, device=device)).mT

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """Return the same map for tensors of another type or on another device."""
        moved = type(self).__new__(type(self))
        moved.__dict__.update(self.__dict__)
        moved.dtype = self.dtype if dtype is None else dtype
        moved.blocks = [block.to(dtype=dtype, device=device) for block in self.blocks]
        return moved
