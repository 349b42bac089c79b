"""Channels taken out of a sequential model, with what they still send folded into the next bias."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from sparsetheory.constraints import Choice, Instance

__all__ = [
    "add_constants",
    "after_activations",
    "is_plain",
    "keep_channels",
    "keep_inputs",
    "keep_outputs",
    "leaves",
    "n_inputs",
    "n_outputs",
    "pads_with_zeros",
    "passes",
    "remove_channels",
]

# Modules that act on every entry alike: a constant channel stays constant, and channels do not mix.
_POINTWISE = (
    nn.Identity,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
    nn.Softsign,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Dropout,
    nn.Dropout2d,
)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def remove_channels(seq: nn.Sequential, masks: Mapping[str, Tensor], *, border: str = "refuse") -> nn.Sequential:
    """Return a copy of a sequential model without some channels.

    A channel with scale 0 sends the constant ``act(shift)`` to the next layer. The constant times the weights that read
    it is added to the bias of that layer, so the output stays as it was in evaluation mode, up to rounding. For small
    scales it is an approximation.

    Parameters
    ----------
    seq : torch.nn.Sequential
        Linear layers and two-dimensional convolutions without groups, each with a batch normalisation after it whose
        channels are to go. Between that and the next layer there may be activations that act entry by entry, dropout,
        pooling and ``Flatten``. Sequences may be nested.
    masks : mapping of str to Tensor of bool of shape (channels,)
        By the name of the scale, as :func:`threshold_masks` returns them: True where a channel goes.
    border : {"refuse", "fold"}
        What happens if a constant that is not zero meets zero padding. Near the border the next convolution reads fewer
        copies of it, which no bias can express: the model is refused, or the bias is that of the interior.

    Returns
    -------
    torch.nn.Sequential
        Of the class of `seq`, in its mode; parameters are new, so make a new optimiser.

    Raises
    ------
    ValueError
        If a mask names no batch normalisation of the sequence, has another length or prunes all channels; or the layer
        before it or the way to the next layer is not as described. The message names the module.

    Notes
    -----
    The published code of MaskSparsity leaves the constants out. Source of the method: N. Jiang et al., "Pruning-aware
    Sparse Regularization for Network Pruning", 2022.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)).eval()
    >>> with torch.no_grad():
    ...     _ = model[1].weight[0].zero_(), model[1].bias.fill_(0.25)
    >>> smaller = remove_channels(model, {"1.weight": torch.tensor([True, False, False])})
    >>> x = torch.ones(1, 4)
    >>> torch.allclose(smaller(x), model(x)), smaller[3].in_features
    (True, 2)
    """
    Instance(nn.Sequential, "a torch.nn.Sequential").check("seq", seq)
    Choice("refuse", "fold").check("border", border)
    smaller = copy.deepcopy(seq)
    order = leaves(smaller)
    for name, mask in masks.items():
        place = _Place.find(order, name, mask)
        _fold(place, border)
        keep_outputs(place.producer, ~place.mask)
        keep_channels(place.norm, ~place.mask)
        keep_inputs(place.consumer, ~place.read(place.mask))
    return smaller


@dataclass(frozen=True)
class _Place:
    """A batch normalisation in a sequence, the layer before it and the one after it, with what lies between."""

    name: str
    norm: _BatchNorm
    mask: Tensor
    producer: nn.Module
    between: tuple[nn.Module, ...]
    consumer_name: str
    consumer: nn.Module

    @classmethod
    def find(cls, order: list[tuple[str, nn.Module]], scale: str, mask: Tensor) -> "_Place":
        name = scale.removesuffix(".weight")
        index = next((i for i, (own, module) in enumerate(order) if own == name), None)
        norm = None if index is None else order[index][1]
        if index is None or not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or not norm.affine:
            raise ValueError(f"masks must name scales of batch normalisations of the sequence; got {scale!r}")
        if mask.dtype != torch.bool or mask.shape != (norm.num_features,):
            raise ValueError(
                f"masks[{scale!r}] must be bool of shape ({norm.num_features},); got {mask.dtype} of shape "
                f"{tuple(mask.shape)}"
            )
        if bool(mask.all()):
            raise ValueError(f"masks[{scale!r}] must leave a channel; got none")
        before, producer = order[index - 1] if index else ("the input", None)
        if producer is None or not is_plain(producer) or n_outputs(producer) != norm.num_features:
            raise ValueError(
                f"{name} must directly follow a linear layer or a convolution without groups, of its width and with a "
                f"weight of its own; got {before}"
            )
        between: list[nn.Module] = []
        for own, module in order[index + 1 :]:
            if is_plain(module):
                place = cls(name, norm, mask.to(norm.weight.device), producer, tuple(between), own, module)
                place._check_width()
                return place
            if not passes(module):
                raise ValueError(
                    f"{own} ({type(module).__name__}) must not lie between {name} and the layer that reads its "
                    "channels: they may be mixed or read elsewhere there"
                )
            between.append(module)
        raise ValueError(f"{name} must feed a linear layer or a convolution; its channels are the output of the model")

    def _check_width(self) -> None:
        inputs, channels = n_inputs(self.consumer), self.norm.num_features
        pictures = isinstance(self.norm, nn.BatchNorm2d)
        flat = pictures and any(isinstance(module, nn.Flatten) for module in self.between)
        if pictures and isinstance(self.consumer, nn.Linear) and not flat:
            raise ValueError(f"{self.consumer_name} must read channels side by side: put a Flatten before it")
        if inputs % channels if flat else inputs != channels:
            raise ValueError(f"{self.consumer_name} must read the {channels} channels of {self.name}; got {inputs}")

    def read(self, values: Tensor) -> Tensor:
        """Return one value for each input of the next layer: after `Flatten`, a channel has several."""
        return values.repeat_interleave(n_inputs(self.consumer) // len(values))

    def constants(self) -> Tensor:
        """Return what a channel with scale 0 sends to the next layer, after the activations."""
        return after_activations(self.norm.bias.detach(), self.between)


def leaves(seq: nn.Sequential, before: str = "") -> list[tuple[str, nn.Module]]:
    """Return the modules of nested sequences in the order in which they act, with their names."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in seq._modules.items():
        assert module is not None
        found += leaves(module, f"{before}{name}.") if type(module) is nn.Sequential else [(before + name, module)]
    layers = [id(module) for _, module in found if any(True for _ in module.parameters())]
    if len(set(layers)) < len(layers):
        raise ValueError("a sequence must hold every layer once; got one that occurs twice")
    return found


def is_plain(module: nn.Module) -> bool:
    """Return whether a module is a linear layer, or a convolution without groups, with a weight of its own."""
    # What derives from them may compute in its own way.
    own = type(module).forward not in (nn.Linear.forward, nn.Conv2d.forward)
    kind = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    return kind and not own and not parametrize.is_parametrized(module) and "weight" in module._parameters


def passes(module: nn.Module) -> bool:
    """Return whether a constant channel stays constant, and channels do not mix."""
    if isinstance(module, nn.Flatten):
        return module.start_dim == 1 and module.end_dim == -1
    if isinstance(module, nn.AvgPool2d):
        return module.divisor_override is None and (_is_zero(module.padding) or not module.count_include_pad)
    return isinstance(module, (*_POINTWISE, *_POOLS))


def _is_zero(padding: object) -> bool:
    return padding in (0, "valid") or (isinstance(padding, tuple) and not any(padding))


def n_outputs(layer: nn.Module) -> int:
    """Return the outputs of a plain layer."""
    return layer.out_features if isinstance(layer, nn.Linear) else int(layer.out_channels)  # type: ignore[arg-type]


def n_inputs(layer: nn.Module) -> int:
    """Return the inputs of a plain layer."""
    return layer.in_features if isinstance(layer, nn.Linear) else int(layer.in_channels)  # type: ignore[arg-type]


@torch.no_grad()
def _fold(place: _Place, border: str) -> None:
    """Add what removed channels send to the bias of the next layer."""
    sent, layer = place.constants().masked_fill(~place.mask, 0), place.consumer
    if not bool(sent.any()):
        return
    if pads_with_zeros(layer) and border == "refuse":
        raise ValueError(
            f"{place.consumer_name} must not pad with zeros, as removed channels of {place.name} send constants "
            "that are not zero; got padding; border='fold' makes the interior right"
        )
    add_constants(layer, place.read(sent))


def pads_with_zeros(layer: nn.Module) -> bool:
    """Return whether a layer reads zeros beyond the border."""
    return isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and not _is_zero(layer.padding)


@torch.no_grad()
def after_activations(values: Tensor, between: Iterable[nn.Module]) -> Tensor:
    """Return what constant channels are behind modules that act on every entry alike, in evaluation mode."""
    values = values.clone()
    for module in between:
        if isinstance(module, _POINTWISE) and not isinstance(module, nn.Dropout | nn.Dropout2d):
            # In-place activations write to the copy.
            values = module(values)
    return values


@torch.no_grad()
def add_constants(layer: nn.Module, sent: Tensor) -> None:
    """Add what constant inputs, of shape (inputs,), contribute to the outputs of a layer to its bias."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    # The constant meets all places of a kernel.
    shift = (weight.flatten(2).sum(2) if weight.ndim == 4 else weight) @ sent
    bias = layer.bias
    if bias is None:
        layer.bias = nn.Parameter(shift)
    else:
        assert isinstance(bias, Tensor)
        # Not in place, as another layer may have the same bias.
        layer.bias = nn.Parameter(bias.detach() + shift, requires_grad=bias.requires_grad)


def keep_outputs(layer: nn.Module, keep: Tensor) -> None:
    """Keep some outputs of a plain layer, in place."""
    _select(layer, ("weight", "bias"), keep)
    setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", int(keep.sum()))


def keep_channels(norm: _BatchNorm, keep: Tensor) -> None:
    """Keep some channels of a batch normalisation, in place."""
    _select(norm, ("weight", "bias", "running_mean", "running_var"), keep)
    norm.num_features = int(keep.sum())


def keep_inputs(layer: nn.Module, keep: Tensor) -> None:
    """Keep some inputs of a plain layer, in place."""
    _select(layer, ("weight",), keep, axis=1)
    setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", int(keep.sum()))


def _select(module: nn.Module, leaves: tuple[str, ...], keep: Tensor, axis: int = 0) -> None:
    """Keep some entries along an axis of parameters and buffers."""
    for leaf in leaves:
        tensor = getattr(module, leaf, None)
        if tensor is None:
            continue
        smaller = tensor.detach()[(slice(None),) * axis + (keep.to(tensor.device),)].clone()
        if isinstance(tensor, nn.Parameter):
            setattr(module, leaf, nn.Parameter(smaller, requires_grad=tensor.requires_grad))
        else:
            setattr(module, leaf, smaller)
