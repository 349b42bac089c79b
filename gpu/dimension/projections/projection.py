"""What all random projections share: their contract, their checks and their derivatives."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Integer
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["Projection"]

_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Projection(ABC):
    """A fixed random linear map P from d to D dimensions; its columns have length 1, or nearly so.

    What all kinds have in common. P is a matrix of shape (D, d), of which only :meth:`to_dense` makes one.
    Gradients of any order, forward and backward, and the transforms of ``torch.func`` go through :meth:`apply` and
    :meth:`adjoint`: the derivative of one is the other. Copies and pickles hold the map itself, not its seed.

    A projection is no module, because there ``apply`` means something else: :meth:`to` moves it, and
    :meth:`state_dict` holds its numbers.

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
    n_components, n_features, dtype, device
        As given.

    Raises
    ------
    ValueError
        If an argument is out of range: where d exceeds D, columns cannot be independent.

    Notes
    -----
    Training in the subspace sees ``P t`` alone. For a linear model with design X it is least squares on the sketched
    design ``X @ P``, and it cannot come closer to a target than the subspace does, however sparse the way there is.
    The other reading of the same matrix is compressed sensing: a change of the D parameters in k places is determined
    by its d products with the columns, :meth:`adjoint` of it, from d of the order of ``k log D`` on, and matching
    pursuit finds it (:class:`sparsetheory.regression.OMP` on the transposed matrix).
    """

    _state: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        n_components: int,
        n_features: int,
        *,
        generator: torch.Generator | int | None = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.n_features = COUNT.check("n_features", n_features)
        self.n_components = Integer(1, self.n_features).check("n_components", n_components)
        self.dtype, self.device = _checked_place(dtype or torch.get_default_dtype(), device or "cpu")
        self._draw(cpu_generator(generator))
        self._place()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_components}, {self.n_features}, {self.dtype}, {self.device})"

    def apply(self, t: Tensor) -> Tensor:
        """Return P t.

        Parameters
        ----------
        t : Tensor of shape (..., d)
            Of the dtype and on the device of the projection. Axes in front are a batch.

        Returns
        -------
        Tensor of shape (..., D)

        Raises
        ------
        ValueError
            If shape, dtype or device differ. NaN and infinity are not looked for; they spread.
        """
        self._check("t", t, self.n_components)
        product: Tensor = _Product.apply(t, self, False)
        return product

    def adjoint(self, g: Tensor) -> Tensor:
        """Return ``P.T @ g``, the gradient in the d numbers of a function with gradient g in the D ones.

        Parameters
        ----------
        g : Tensor of shape (..., D)
            Of the dtype and on the device of the projection. Axes in front are a batch.

        Returns
        -------
        Tensor of shape (..., d)

        Raises
        ------
        ValueError
            If shape, dtype or device differ. NaN and infinity are not looked for; they spread.
        """
        self._check("g", g, self.n_features)
        product: Tensor = _Product.apply(g, self, True)
        return product

    @abstractmethod
    def column_norms(self) -> Tensor:
        """Return the Euclidean length of each column, of shape (d,)."""

    def to_dense(self) -> Tensor:
        """Return P as a matrix of shape (D, d), of d D numbers."""
        return self.apply(torch.eye(self.n_components, dtype=self.dtype, device=self.device)).mT

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """Return the same map for tensors of another type or on another device; what need not change is shared.

        Parameters
        ----------
        dtype : torch.dtype or None
            None for the type that it has. Numbers are rounded to it, so that a wider type gets no new digits.
        device : torch.device, str or None
            None for the device that it is on.
        """
        moved = copy.copy(self)
        moved.dtype, moved.device = _checked_place(dtype or self.dtype, device or self.device)
        moved._place()
        return moved

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors that make up the map."""
        return {name: getattr(self, name) for name in self._state}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Become the map whose state is given.

        Parameters
        ----------
        state : mapping of str to Tensor
            From :meth:`state_dict` of a projection of the same kind and sizes.

        Raises
        ------
        ValueError
            If names, shapes, dtypes or numbers do not fit; the map stays what it was.
        """
        if set(state) != set(self._state):
            raise ValueError(f"state must hold {', '.join(self._state)}; got {', '.join(state)}")
        self._check_state(state)
        for name, value in state.items():
            setattr(self, name, value.detach().clone())
        self._place()

    @property
    def _precision(self) -> torch.dtype:
        """The type that sums are in."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    @abstractmethod
    def _draw(self, generator: torch.Generator) -> None:
        """Draw the tensors of the state on the CPU."""

    def _place(self) -> None:
        """Bring the state to the device, and what is floating to the type of the sums."""
        for name, value in self.state_dict().items():
            floating = value.is_floating_point()
            setattr(self, name, value.to(self.device, self._precision if floating else value.dtype))

    def _check_state(self, state: Mapping[str, Tensor]) -> None:
        """Refuse a state that is not of a map of this kind and these sizes; kernels trust what is in it."""
        for name, value in self.state_dict().items():
            if state[name].shape != value.shape:
                shapes = f"shape {tuple(value.shape)}; got {tuple(state[name].shape)}"
                raise ValueError(f"{name} of state must have {shapes}")
            # Floating numbers are rounded to the type of the map; integers are read bit by bit.
            if state[name].dtype != value.dtype and not (state[name].is_floating_point() and value.is_floating_point()):
                raise ValueError(f"{name} of state must be of {value.dtype}; got {state[name].dtype}")

    @abstractmethod
    def _multiply(self, T: Tensor) -> Tensor:
        """Return the products with rows of d numbers in the precision of sums, without gradients."""

    @abstractmethod
    def _multiply_adjoint(self, G: Tensor) -> Tensor:
        """Return the products of the adjoint with rows of D numbers in the precision of sums, without gradients."""

    def _check(self, name: str, x: Tensor, size: int) -> None:
        if not isinstance(x, Tensor):
            raise ValueError(f"{name} must be a tensor; got {type(x).__name__}")
        if x.ndim == 0 or x.shape[-1] != size:
            raise ValueError(f"{name} must have {size} entries along its last axis; got shape {tuple(x.shape)}")
        if x.dtype != self.dtype or x.device != self.device:
            raise ValueError(f"{name} must be {self.dtype} on {self.device}; got {x.dtype} on {x.device}")


def _checked_place(dtype: torch.dtype, device: torch.device | str) -> tuple[torch.dtype, torch.device]:
    if dtype not in _TYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, _TYPES))}; got {dtype!r}")
    # A tensor says which device "cuda" is.
    return dtype, torch.empty(0, device=device).device


class _Product(torch.autograd.Function):
    """A linear map: forwards its derivative is itself, backwards its adjoint."""

    @staticmethod
    def forward(x: Tensor, projection: Projection, adjoint: bool) -> Tensor:
        multiply = projection._multiply_adjoint if adjoint else projection._multiply
        rows = multiply(x.detach().reshape(-1, x.shape[-1]).to(projection._precision))
        return rows.reshape(*x.shape[:-1], rows.shape[-1]).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.projection, ctx.adjoint = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Product.apply(*grads, ctx.projection, not ctx.adjoint), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return _Product.apply(tangents[0], ctx.projection, ctx.adjoint)

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, projection: Projection, adjoint: bool) -> tuple[Any, int]:
        return _Product.apply(x.movedim(in_dims[0], 0), projection, adjoint), 0
