"""What all random projections share: their contract, their checks and their derivative."""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from sparsetheory.constraints import Integer
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["Projection"]


class Projection(ABC):
    """A fixed random linear map P from d to D dimensions, whose columns have about unit length.

    No module: ``Module.apply`` means something else. :meth:`to` moves it, :meth:`state_dict` holds its numbers.

    Parameters
    ----------
    n_components : int
        d, at least 1 and at most D.
    n_features : int
        D.
    generator : torch.Generator, int or None
        Where the numbers come from; a seed gives the same map on every device.
    dtype : torch.dtype, optional
        Of what is multiplied; torch's default.
    device : torch.device, optional
        Where it is; the CPU.
    """

    _stored: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        n_components: int,
        n_features: int,
        *,
        generator: torch.Generator | int | None = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.n_features = Integer(1).check("n_features", n_features)
        self.n_components = Integer(1, self.n_features).check("n_components", n_components)
        self.dtype = torch.get_default_dtype() if dtype is None else dtype
        self.device = torch.device("cpu" if device is None else device)
        self._draw(cpu_generator(generator))
        self._place()

    def apply(self, t: Tensor) -> Tensor:
        """Return P t: d entries along the last axis become D; further axes in front are a batch."""
        self._check("t", t, self.n_components)
        return _Product.apply(t, self, False)

    def adjoint(self, g: Tensor) -> Tensor:
        """Return P^T g: D entries along the last axis become d; further axes in front are a batch."""
        self._check("g", g, self.n_features)
        return _Product.apply(g, self, True)

    @abstractmethod
    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each of the d columns."""

    def to_dense(self) -> Tensor:
        """Return P as a matrix of shape (D, d)."""
        return self.apply(torch.eye(self.n_components, dtype=self.dtype, device=self.device)).mT

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """Return the same map for tensors of another type or on another device."""
        moved = copy.copy(self)
        moved.dtype = self.dtype if dtype is None else dtype
        moved.device = self.device if device is None else torch.device(device)
        moved._place()
        return moved

    def state_dict(self) -> dict[str, Tensor]:
        """Return the numbers that make up the map."""
        return {name: getattr(self, name) for name in self._stored}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Become the map that another projection of the same kind and sizes was."""
        for name in self._stored:
            setattr(self, name, state[name])
        self._place()

    @abstractmethod
    def _draw(self, generator: torch.Generator) -> None:
        """Draw the numbers on the CPU."""

    def _place(self) -> None:
        """Bring the numbers to the device."""
        for name in self._stored:
            setattr(self, name, getattr(self, name).to(self.device))

    @abstractmethod
    def _multiply(self, t: Tensor) -> Tensor:
        """Multiply rows with P^T, without gradients."""

    @abstractmethod
    def _multiply_adjoint(self, g: Tensor) -> Tensor:
        """Multiply rows with P, without gradients."""

    def _check(self, name: str, x: Tensor, size: int) -> None:
        if x.ndim == 0 or x.shape[-1] != size:
            raise ValueError(f"{name} must have {size} entries along its last axis; got shape {tuple(x.shape)}")
        if x.dtype != self.dtype or x.device != self.device:
            raise ValueError(f"{name} must be {self.dtype} on {self.device}; got {x.dtype} on {x.device}")


class _Product(torch.autograd.Function):
    """A linear map: its derivative backwards is its adjoint, forwards it is itself."""

    @staticmethod
    def forward(x: Tensor, projection: Projection, adjoint: bool) -> Tensor:
        return projection._multiply_adjoint(x) if adjoint else projection._multiply(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.projection, ctx.adjoint = inputs[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(grad, ctx.projection, not ctx.adjoint), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *rest: None) -> Tensor:
        return _Product.apply(tangent, ctx.projection, ctx.adjoint)

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, projection: Projection, adjoint: bool) -> tuple[Tensor, int]:
        return _Product.apply(x.movedim(in_dims[0], 0), projection, adjoint), 0
