"""A network whose parameters move in a subspace: frozen weights plus a fixed random map of few trained numbers."""

import copy
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparsetheory.constraints import Choice, Instance
from sparsetheory.gpu.dimension.subspace.layout import Layout, matching
from sparsetheory.gpu.dimension.subspace.quantiser import quantize_subspace

__all__ = ["Projection", "SubspaceModel"]

_LAYERS = Choice("tensor", "module")


class Projection(Protocol):
    """A fixed linear map P from `n_components` numbers to `n_features`, such as :class:`FastfoodProjection`."""

    @property
    def n_components(self) -> int:
        """Numbers that go in."""
        ...

    @property
    def n_features(self) -> int:
        """Numbers that come out."""
        ...

    def apply(self, t: Tensor) -> Tensor:
        """Return P t."""
        ...

    def adjoint(self, g: Tensor) -> Tensor:
        """Return the product of P transposed with a vector."""
        ...


class SubspaceModel(nn.Module):
    r"""Train a network in a subspace: :math:`\theta = \theta_0 + P t` with t of few entries, which starts at 0.

    All projected parameters share one vector t. The starting weights :math:`\theta_0` are kept as a buffer, and P is
    fixed. So ``parameters()`` has t, the layer scales if there are any, and what is trained directly. The model goes
    into any training loop: ``optimizer = Adam(model.parameters())``. With weight decay t shrinks, and not the weights.

    Parameters
    ----------
    module : torch.nn.Module
        It is copied and stays as it is. Parameters of floating-point numbers that require gradients are projected.
        Those that are frozen, of integers, or excluded stay as they are; tied ones count once. Buffers, such as the
        running statistics of batch normalisation, are updated as in any training.
    projection : projection or callable
        As :class:`FastfoodProjection`, or a function of the number of projected entries that makes one:
        ``partial(FastfoodProjection, 100)``.
    layer_scales : bool, "tensor" or "module"
        Whether each projected tensor, or all tensors of one module, move by a trained multiple of their part of P t,
        :math:`\theta_i = \theta_{0, i} + \lambda_i (P t)_i`, with :math:`\lambda_i = 1` at the start. True is "tensor".
    exclude, direct : str or sequence of str
        Parameters that are frozen, and those that are trained directly, such as a new head: their names, names of
        modules that hold them, or shell patterns.

    Attributes
    ----------
    t : torch.nn.Parameter of shape (n_components,)
    layer_scales : torch.nn.Parameter of shape (n_layers,), or None
    layer_names : tuple of tuple of str
        Projected tensors of each scale; without scales each tensor by itself.

    Raises
    ------
    ValueError
        If a name matches nothing, no parameter is left to project, or the projection has another number of outputs.

    Notes
    -----
    At t = 0 the outputs are those of `module` to the bit. A forward pass costs that of the module and one product with
    P, and the model keeps one vector of all projected entries. State dictionaries hold t, scales and starting weights,
    not P: that is drawn again from its seed. Loading a state into a model with another P is an error.

    The Trainer of transformers takes the names of its data from the signature of ``forward``, which is open here:
    set ``remove_unused_columns=False``.

    References
    ----------
    Li, Farkhoor, Liu, Yosinski, "Measuring the Intrinsic Dimension of Objective Landscapes", ICLR 2018,
    arXiv:1804.08838.

    Examples
    --------
    >>> import torch
    >>> from functools import partial
    >>> from sparsetheory.gpu.core.models import MLP
    >>> from sparsetheory.gpu.dimension import SparseProjection
    >>> network = MLP([4, 16, 2])
    >>> model = SubspaceModel(network, partial(SparseProjection, 5))
    >>> [name for name, _ in model.named_parameters()]
    ['t']
    >>> x = torch.ones(3, 4)
    >>> torch.equal(model(x), network(x))
    True
    """

    def __init__(
        self,
        module: nn.Module,
        projection: Projection | Callable[[int], Projection],
        layer_scales: bool | Literal["tensor", "module"] = False,
        *,
        exclude: str | Sequence[str] = (),
        direct: str | Sequence[str] = (),
    ) -> None:
        raise NotImplementedError

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the module returns with the weights of the subspace."""
        raise NotImplementedError

    def flat_parameters(self) -> Tensor:
        """Return all projected parameters as one vector, of shape (n_features,), with gradients."""
        raise NotImplementedError

    def merge(self) -> nn.Module:
        """Return a copy of the module that has the trained weights as its own parameters."""
        raise NotImplementedError

    def quantized(self, bits: int, radius: float) -> Self:
        """Return a copy whose trained numbers are rounded to `bits` bits each."""
        raise NotImplementedError
