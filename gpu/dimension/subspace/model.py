"""A network whose parameters move in a subspace: frozen weights plus a fixed random map of few trained numbers."""

import copy
import inspect
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparsetheory.constraints import FLAG, Choice, Instance
from sparsetheory.gpu.dimension.projections.projection import Projection
from sparsetheory.gpu.dimension.subspace.layout import Layout, chosen_parameters
from sparsetheory.gpu.dimension.subspace.quantiser import quantize_subspace

__all__ = ["LAYERS", "MODULE", "SubspaceModel"]

LAYERS = Choice("tensor", "module")
MODULE = Instance(nn.Module, "a torch module")


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

    The Trainer of transformers takes the names of its data from the signature of ``forward``, which is open here: set
    ``remove_unused_columns=False``, and ``label_names=["labels"]`` for losses in evaluation.

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

    start: Tensor
    fingerprint: Tensor

    def __init__(
        self,
        module: nn.Module,
        projection: Projection | Callable[[int], Projection],
        layer_scales: bool | Literal["tensor", "module"] = False,
        *,
        exclude: str | Sequence[str] = (),
        direct: str | Sequence[str] = (),
    ) -> None:
        MODULE.check("module", module)
        (FLAG | LAYERS).check("layer_scales", layer_scales)
        super().__init__()
        self.module = copy.deepcopy(module)
        chosen = chosen_parameters(self.module, exclude, direct)
        common = reduce(torch.promote_types, (tensor.dtype for tensor in chosen.projected))
        start = torch.cat([tensor.detach().flatten().to(common) for tensor in chosen.projected])
        self._layout = Layout.of(chosen.projected, common)
        self.projection = _fitting(projection, start)
        self.t = nn.Parameter(start.new_zeros(self.projection.n_components, dtype=self.projection.dtype))
        groups = self._layout.groups("module" if layer_scales == "module" else "tensor")
        self.layer_names = tuple(tuple(self._layout.entries[index].names[0] for index in group) for group in groups)
        self.layer_scales = nn.Parameter(torch.ones_like(self.t[:1]).repeat(len(groups))) if layer_scales else None
        self._scale_of = {index: number for number, group in enumerate(groups) for index in group}
        self._buffers_at_start = {name: buffer.cpu().clone() for name, buffer in self.module.named_buffers()}
        self._excluded = list(chosen.excluded.values())
        self._direct = [names[0] for names in chosen.direct.values()]
        for tensor in chosen.excluded:
            tensor.requires_grad_(False)
        # The module keeps the places of these parameters, empty: each call fills them.
        for names in chosen.projected.values():
            _place(self.module, names, None)
        self.register_buffer("start", start)
        self.register_buffer("fingerprint", _fingerprint(self.projection, start))
        self.register_load_state_dict_pre_hook(_require_same_projection)
        self.register_load_state_dict_post_hook(_move_projection)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the module returns with the weights of the subspace."""
        return functional_call(self.module, self._tensors(), args, kwargs)

    def flat_parameters(self) -> Tensor:
        """Return all projected parameters as one vector, with gradients.

        Returns
        -------
        Tensor of shape (n_features,)
            Before parts of lower precision are rounded to it.
        """
        return torch.cat(list(self._parts()))

    def merge(self) -> nn.Module:
        """Return a copy of the module that has the weights of the subspace as its own parameters.

        Returns
        -------
        torch.nn.Module
            Of the class of the module that was given, with its ties; excluded parameters require gradients again. Its
            outputs are those of this model to the bit.
        """
        merged = copy.deepcopy(self.module)
        tensors = self._tensors()
        for entry in self._layout.entries:
            _place(merged, entry.names, nn.Parameter(tensors[entry.names[0]].detach().clone()))
        for names in self._excluded:
            merged.get_parameter(names[0]).requires_grad_(True)
        return merged

    def quantized(self, bits: int, radius: float) -> Self:
        """Return a copy in which all trained numbers are rounded to few bits, as :func:`quantize_subspace` does.

        Layer scales and what is trained directly are rounded on the same grid.

        Parameters
        ----------
        bits : int
        radius : float

        Returns
        -------
        SubspaceModel
        """
        rounded = copy.deepcopy(self)
        with torch.no_grad():
            for parameter in rounded.fitted_parameters():
                parameter.copy_(quantize_subspace(parameter, bits, radius))
        return rounded

    @property
    def accepts_loss_kwargs(self) -> bool:
        """Whether the module takes any keywords; the Trainer of transformers asks, as it may pass one more."""
        parameters = inspect.signature(self.module.forward).parameters.values()
        return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)

    @property
    def n_trained(self) -> int:
        """Numbers that training fits: t, the layer scales, and what is trained directly."""
        return sum(parameter.numel() for parameter in self.fitted_parameters())

    def fitted_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that training fits, also those that have moved and were frozen since.

        Returns
        -------
        list of torch.nn.Parameter
            All that require gradients, what is trained directly, and t and the layer scales unless they are frozen
            where they started.
        """
        fitted = {id(self.module.get_parameter(name)) for name in self._direct}
        if bool(self.t.any()):
            fitted.add(id(self.t))
        if self.layer_scales is not None and bool((self.layer_scales != 1).any()):
            fitted.add(id(self.layer_scales))
        return [parameter for parameter in self.parameters() if parameter.requires_grad or id(parameter) in fitted]

    def changed_buffers(self) -> list[str]:
        """Return the buffers of the module that are no longer what they were, such as running statistics."""
        now = dict(self.module.named_buffers())
        return [name for name, before in self._buffers_at_start.items() if not torch.equal(now[name].cpu(), before)]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = self.start
        super()._apply(fn, recurse)
        self._layout = self._layout.converted(fn, before, self.start)
        _move_projection(self)
        return self

    def _parts(self) -> Sequence[Tensor]:
        """Return the projected parameters as flat pieces."""
        change = self.projection.apply(self.t)
        if self.layer_scales is None:
            return (self.start + change).split(self._layout.sizes)
        pieces = zip(self.start.split(self._layout.sizes), change.split(self._layout.sizes), strict=True)
        scales = self.layer_scales.unbind()
        return [start + scales[self._scale_of[index]] * piece for index, (start, piece) in enumerate(pieces)]

    def _tensors(self) -> dict[str, Tensor]:
        return self._layout.tensors(self._parts(), self.start.dtype)


def _fitting(projection: Projection | Callable[[int], Projection], start: Tensor) -> Projection:
    """Return the projection, or the one that a function makes, on the device of the starting weights."""
    made = projection(len(start)) if callable(projection) else projection
    if not isinstance(made, Projection):
        got = f"{made!r} from {projection!r}" if callable(projection) else repr(projection)
        raise ValueError(f"projection must be a projection, or a function of a number of features to one; got {got}")
    if made.n_features != len(start):
        raise ValueError(
            f"projection must have as many features as there are projected entries, {len(start)}; got {made.n_features}"
        )
    return made.to(device=start.device)


def _place(module: nn.Module, names: Sequence[str], parameter: nn.Parameter | None) -> None:
    for name in names:
        owner, _, leaf = name.rpartition(".")
        module.get_submodule(owner)._parameters[leaf] = parameter


def _fingerprint(projection: Projection, start: Tensor) -> Tensor:
    """Return the adjoint of a fixed vector, which tells one P from another."""
    wave = torch.arange(len(start), dtype=torch.float64, device=start.device).cos()
    return projection.adjoint(wave.to(projection.dtype))


def _move_projection(module: SubspaceModel, *rest: Any) -> None:
    """Bring the projection to the type and device of the coordinates, which a state may have brought along."""
    module.projection = module.projection.to(dtype=module.t.dtype, device=module.t.device)


def _require_same_projection(module: SubspaceModel, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
    loaded, own = state.get(f"{prefix}fingerprint"), module.fingerprint
    if loaded is None or loaded.shape != own.shape:
        return  # torch names what is missing or of another size
    # Of another precision the numbers differ by its rounding; those of another P have nothing in common.
    if (loaded.to(own) - own).norm() > 0.1 * own.norm():
        raise ValueError("state_dict must be of a model with the same projection: the same kind and seed")
