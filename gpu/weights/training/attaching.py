"""Sparse weights for the layers of a model, through the parametrisations of torch."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core.layers import check_own_weights, included_layers, is_transposed, weight_name
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.pattern_frames import StructureDecay
from sparsetheory.gpu.core.patterns import Pattern, parse_pattern
from sparsetheory.gpu.weights.training.exporting import detach, live_masks, unfreeze
from sparsetheory.gpu.weights.training.masked_weight import MaskedWeight, Parametrised
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

    Make the optimiser after this: some methods have parameters of their own, and freeze others. Save the model for
    others to load after :func:`finalize`, as the weights have other names until then.

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
        If a weight cannot have the pattern, is shared by several modules, is not finite, or is computed from others;
        if a layer has no mask, or the callable makes the same object twice. The message names the layer, and the model
        is as before then.
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
    ValueError: weight must have a multiple of 4 entries along axis -1 for 2:4; got 6 of shape (2, 6); or exclude it
    """
    if include is None and isinstance(pattern, Mapping):
        # The one layer that is the whole model has the name "".
        include = [name.removesuffix("weight").removesuffix(".") for name in pattern]
    layers = included_layers(model, include, exclude)
    check_own_weights(model, layers)
    make = _maker(pattern)
    made: dict[str, MaskedWeight] = {}
    for name, layer in layers.items():
        one = made[name] = _made(make, layer, weight_name(name))
        if any(one is other for before, other in made.items() if before != name):
            raise ValueError(f"pattern must make a new parametrisation for each weight; got one twice, for {name}")
    _attach_all({layers[name]: one for name, one in made.items()})
    chosen = {one.weight_name for one in made.values()}
    return MaskSet({name: mask for name, mask in live_masks(model).items() if name in chosen})


def _maker(pattern: object) -> Callable[[str, Tensor], object]:
    """Return what makes the parametrisation of a weight from its name and itself."""
    if isinstance(pattern, str):
        pattern = parse_pattern(pattern)
    if isinstance(pattern, Mapping):
        masks = pattern
        return lambda name, weight: SparseSTE(_mask_of(name, masks).to(weight.device))
    if isinstance(pattern, Pattern | StructureDecay):
        chosen = pattern
        return lambda name, weight: SparseSTE(chosen)
    if isinstance(pattern, MaskedWeight):
        kind = type(pattern).__name__
        raise TypeError(f"pattern must make one for each weight, as lambda weight: {kind}(...); got one {kind}")
    if callable(pattern):
        make = pattern
        return lambda name, weight: make(weight)
    raise TypeError(f"pattern must be a pattern, its text, masks or a callable; got {type(pattern).__name__}")


def _mask_of(name: str, masks: Mapping[str, Tensor]) -> Tensor:
    if name not in masks:
        raise ValueError(f"pattern must hold a mask for each layer that is included; got none for {name}")
    return masks[name]


def _made(make: Callable[[str, Tensor], object], layer: nn.Module, name: str) -> MaskedWeight:
    """Return the parametrisation of the weight of a layer, both checked."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if not weight.is_floating_point():
        raise TypeError(f"{name} must hold real floating-point numbers; got {weight.dtype}")
    if not bool(torch.isfinite(weight).all()):
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    one = make(name, weight)
    if not isinstance(one, MaskedWeight):
        raise TypeError(f"pattern must make parametrisations with masks; got {type(one).__name__} for {name}")
    one.transposed, one.weight_name = is_transposed(layer), name
    try:
        one.check_shape(weight.shape)
    except ValueError as error:
        raise ValueError(f"{error}; or exclude it") from error
    one.place(weight)
    mask = one.mask(weight.detach())
    if mask.dtype != torch.bool or mask.shape != weight.shape:
        got = f"{mask.dtype} of shape {tuple(mask.shape)}"
        raise ValueError(f"mask of {name} must be bool of its shape {tuple(weight.shape)}; got {got}")
    return one


def _attach_all(made: Mapping[nn.Module, MaskedWeight]) -> None:
    """Attach to all layers or, where torch finds that one does not fit its weight, to none."""
    done: list[Parametrised] = []
    try:
        for layer, one in made.items():
            done.append(Parametrised(one.weight_name, layer, "weight"))
            _attach(layer, one)
    except Exception:
        for attached, one in zip(done, made.values(), strict=False):
            if parametrize.is_parametrized(attached.layer, "weight"):
                detach(attached)
            unfreeze(attached.layer, one)
        raise


def _attach(layer: nn.Module, one: MaskedWeight) -> None:
    if not one.trains_weight:
        for leaf in ("weight", "bias"):
            tensor = layer._parameters.get(leaf)
            if tensor is not None and tensor.requires_grad:
                one.frozen_leaves.append(leaf)
                tensor.requires_grad_(False)
    parametrize.register_parametrization(layer, "weight", one, unsafe=False)
