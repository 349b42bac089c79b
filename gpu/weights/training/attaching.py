"""Sparse weights for the layers of a model, through the parametrisations of torch."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core.layers import block_layers, find_layers, is_transposed
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.pattern_frames import StructureDecay
from sparsetheory.gpu.core.patterns import Pattern, parse_pattern
from sparsetheory.gpu.weights.training.exporting import live_masks
from sparsetheory.gpu.weights.training.masked_weight import MaskedWeight
from sparsetheory.gpu.weights.training.ste import SparseSTE

__all__ = ["sparsify"]

Make = Callable[[Tensor], MaskedWeight]


def sparsify(
    model: nn.Module,
    pattern: Pattern | str | StructureDecay | Mapping[str, Tensor] | Make,
    *,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
) -> MaskSet:
    """Give layers of a model sparse weights, in place; train it in any loop then, and :func:`finalize` it.

    Make the optimiser after this: some methods have parameters of their own, and freeze others.

    Parameters
    ----------
    model : torch.nn.Module
    pattern : Pattern, str, StructureDecay, mapping of str to Tensor, or callable
        What the weights keep. A pattern, its text such as ``"2:4"``, or a sequence of patterns chooses among the
        largest entries of each weight in every forward pass, see :class:`SparseSTE`. A mapping, such as a `MaskSet`,
        holds fixed masks by the names of weights; it names the layers, too. A callable makes the parametrisation of
        each weight, as ``lambda weight: PST(weight.shape)`` does.
    include, exclude : str or sequence of str
        Names of layers or shell patterns, see :func:`sparsetheory.gpu.core.find_layers`. By default all linear and
        convolutional layers of the repeated blocks, see :func:`sparsetheory.gpu.core.block_layers`.

    Returns
    -------
    MaskSet
        The masks at the start.

    Raises
    ------
    ValueError
        If a weight cannot have the pattern, is shared by several modules, or is computed from others. The message
        names the layer, and the model is as before then.
    TypeError
        If a weight does not hold real floating-point numbers, or the callable makes something else.

    Examples
    --------
    >>> from torch import nn
    >>> from sparsetheory.gpu.core import NM
    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> sparsify(model, "2:4")
    MaskSet(2 masks, 20 of 40 entries kept)
    >>> sparsify(nn.Linear(6, 2), NM(2, 4))
    Traceback (most recent call last):
    ValueError: weight must have a multiple of 4 entries along axis -1 for 2:4; got 6 of shape (2, 6)
    """
    fixed = dict(pattern) if isinstance(pattern, Mapping) else None
    if include is None:
        include = block_layers(model) if fixed is None else [name.removesuffix(".weight") for name in fixed]
    layers = find_layers(model, include, exclude)
    make = _maker(pattern)
    made: dict[str, MaskedWeight] = {}
    for name, layer in layers.items():
        weight = _checked(model, layer, name)
        one = SparseSTE(fixed[f"{name}.weight"].to(weight.device)) if fixed is not None else make(weight)
        if not isinstance(one, MaskedWeight):
            raise TypeError(f"pattern must make parametrisations with masks; got {type(one).__name__} for {name}")
        one.transposed, one.weight_name = is_transposed(layer), f"{name}.weight" if name else "weight"
        one.check_shape(weight.shape)
        # Parameters of its own take device and dtype of the weight, too.
        made[name] = one.to(weight)
    for name, one in made.items():
        _attach(layers[name], one)
    chosen = {one.weight_name for one in made.values()}
    return MaskSet({name: mask for name, mask in live_masks(model).items() if name in chosen})


def _maker(pattern: object) -> Make:
    if isinstance(pattern, str):
        pattern = parse_pattern(pattern)
    if isinstance(pattern, Pattern | StructureDecay):
        chosen = pattern
        return lambda weight: SparseSTE(chosen)
    if callable(pattern) or isinstance(pattern, Mapping):
        return pattern  # type: ignore[return-value]
    raise TypeError(f"pattern must be a pattern, its text, masks or a callable; got {type(pattern).__name__}")


def _checked(model: nn.Module, layer: nn.Module, name: str) -> Tensor:
    """Return the weight of a layer that may be parametrised."""
    if parametrize.is_parametrized(layer, "weight") or "weight" not in layer._parameters:
        raise ValueError(f"{name}.weight must be a parameter; got one that is computed from others, remove that first")
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if not weight.is_floating_point():
        raise TypeError(f"{name}.weight must hold real floating-point numbers; got {weight.dtype}")
    if not bool(torch.isfinite(weight).all()):
        raise ValueError(f"{name}.weight must be finite; got NaN or infinity")
    users = [
        other for other, module in model.named_modules() if any(weight is own for own in module._parameters.values())
    ]
    if len(users) > 1:
        raise ValueError(f"{name}.weight must belong to {name} alone; {', '.join(users)} have it: exclude them")
    return weight


def _attach(layer: nn.Module, one: MaskedWeight) -> None:
    if not one.trains_weight:
        for leaf in ("weight", "bias"):
            tensor = layer._parameters.get(leaf)
            if tensor is not None and tensor.requires_grad:
                one.frozen_leaves.append(leaf)
                tensor.requires_grad_(False)
    parametrize.register_parametrization(layer, "weight", one, unsafe=False)
