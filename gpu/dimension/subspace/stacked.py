"""One Fastfood map for each parameter tensor, all driven by one vector, as a published code has it."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.dimension.projections.fastfood import FastfoodProjection
from sparsetheory.gpu.dimension.projections.projection import Projection

__all__ = ["StackedFastfood"]


class StackedFastfood(Projection):
    r"""A stack of independent Fastfood maps, one for each tensor, each with columns of length about 1.

    The whole map P has columns of length about :math:`\sqrt m` for m tensors. So one step of t moves the parameters
    :math:`\sqrt m` times further than a single map of unit columns would, as if the learning rate were larger.

    A map of a tensor of D entries has inner size :math:`L = 2^{\lceil \log_2 D \rceil}`, and takes the first L entries
    of t where t is longer than that: the rest of t does not move this tensor.

    Parameters
    ----------
    n_components : int
        Entries of t.
    n_features : int
        Entries of all tensors together.
    sizes : sequence of int
        Entries of each tensor, in order.
    generator : torch.Generator, int or None
    dtype, device
        Of t.

    References
    ----------
    Aghajanyan, Zettlemoyer, Gupta, "Intrinsic Dimensionality Explains the Effectiveness of Language Model Fine-Tuning",
    ACL 2021, arXiv:2012.13255, and public copies of the authors' code.
    """

    _state: ClassVar[tuple[str, ...]] = ()
    blocks: list[FastfoodProjection]

    def __init__(
        self,
        n_components: int,
        n_features: int,
        *,
        sizes: Sequence[int],
        generator: torch.Generator | int | None = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.sizes = [COUNT.check("sizes", size) for size in sizes]
        if sum(self.sizes) != n_features:
            raise ValueError(f"sizes must sum to n_features = {n_features}; got {self.sizes}")
        super().__init__(n_components, n_features, generator=generator, dtype=dtype, device=device)

    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each of the d columns."""
        return self.to_dense().norm(dim=0)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors that make up the map, with the number of their block before their names."""
        return {f"{i}.{key}": value for i, block in enumerate(self.blocks) for key, value in block.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Become the map whose state is given, that of another stack of the same sizes.

        Parameters
        ----------
        state : mapping of str to Tensor

        Raises
        ------
        ValueError
            If names, shapes, dtypes or numbers do not fit; the map stays what it was.
        """
        if set(state) != set(self.state_dict()):
            raise ValueError(f"state must hold {', '.join(self.state_dict())}; got {', '.join(state)}")
        parts = [{key: state[f"{i}.{key}"] for key in block.state_dict()} for i, block in enumerate(self.blocks)]
        # All before the first is changed.
        for block, part in zip(self.blocks, parts, strict=True):
            block._check_state(part)
        for block, part in zip(self.blocks, parts, strict=True):
            block.load_state_dict(part)

    def _draw(self, generator: torch.Generator) -> None:
        # Of the inner size, so that t may be longer than the tensor; what is beyond the tensor is cut off later.
        inner = [1 << (size - 1).bit_length() for size in self.sizes]
        self.blocks = [
            FastfoodProjection(min(self.n_components, n), n, generator=generator, dtype=self._precision) for n in inner
        ]
        # Cutting D of L rows off would shorten the columns.
        self._factors = [(n / size) ** 0.5 for n, size in zip(inner, self.sizes, strict=True)]

    def _place(self) -> None:
        self.blocks = [block.to(dtype=self._precision, device=self.device) for block in self.blocks]

    def _multiply(self, T: Tensor) -> Tensor:
        parts = [block.apply(T[:, : block.n_components]) for block in self.blocks]
        cut = [factor * part[:, :n] for factor, part, n in zip(self._factors, parts, self.sizes, strict=True)]
        return torch.cat(cut, dim=1)

    def _multiply_adjoint(self, G: Tensor) -> Tensor:
        total = G.new_zeros(len(G), self.n_components)
        for factor, part, block in zip(self._factors, G.split(self.sizes, dim=1), self.blocks, strict=True):
            padded = functional.pad(part, (0, block.n_features - part.shape[1]))
            total[:, : block.n_components] += factor * block.adjoint(padded)
        return total
