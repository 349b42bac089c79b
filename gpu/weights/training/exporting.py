"""From a model that is trained sparse to the plain one that is shipped; its masks on the way."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core.hooks.steps import require_masks
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.weights.training.masked_weight import MaskedWeight, Parametrised, parametrised_weights
from sparsetheory.gpu.weights.training.scaling import WeightScaling

__all__ = ["detach", "export", "finalize", "hard_masked", "live_masks", "unfreeze"]

_OURS = (MaskedWeight, WeightScaling)


def live_masks(model: nn.Module) -> MaskSet:
    """Return the masks of the weights that are trained sparse, as they are now.

    Parameters
    ----------
    model : torch.nn.Module
        After :func:`sparsify`.

    Returns
    -------
    MaskSet
        Under the names of the weights, such as ``"0.weight"``. They are copies.

    Examples
    --------
    >>> from torch import nn
    >>> from sparsetheory.gpu.weights import sparsify
    >>> model = nn.Sequential(nn.Linear(8, 4))
    >>> _ = sparsify(model, "1:4")
    >>> live_masks(model)
    MaskSet(1 masks, 8 of 32 entries kept)
    """
    return MaskSet({one.name: one.mask().clone() for one in parametrised_weights(model) if one.masked is not None})


@contextmanager
def hard_masked(model: nn.Module) -> Iterator[nn.Module]:
    """Let a model compute with the weights that would be shipped, to judge it while it is trained.

    Parameters
    ----------
    model : torch.nn.Module
        After :func:`sparsify`. Within the context every weight is zero off its mask. A model without sparse weights
        stays as it is: where :class:`AdamS` has the masks, see :func:`sparsetheory.gpu.core.run_masked`.

    Examples
    --------
    >>> from torch import nn
    >>> from sparsetheory.gpu.core import NM, MaskDecay
    >>> from sparsetheory.gpu.weights import SparseSTE, sparsify
    >>> model = nn.Linear(8, 4)
    >>> _ = sparsify(model, lambda weight: SparseSTE(NM(1, 4), mask_decay=MaskDecay("exp", 0.1)))
    >>> int(model.weight.count_nonzero())
    32
    >>> with hard_masked(model):
    ...     int(model.weight.count_nonzero())
    8
    """
    masked = [module for module in model.modules() if isinstance(module, MaskedWeight)]
    before = [one.hard for one in masked]
    for one in masked:
        one.hard = True
    try:
        yield model
    finally:
        for one, hard in zip(masked, before, strict=True):
            one.hard = hard


def finalize(model: nn.Module, masks: Mapping[Tensor, Tensor] | None = None) -> MaskSet:
    """Turn a model that was trained sparse into a plain one, in place: zeros in its weights, no parametrisations.

    Each parametrised weight becomes what :func:`hard_masked` shows, and a parameter again: the one that was trained.
    Save the model after this: files of parametrised weights do not fit a plain model, and ``from_pretrained`` of
    transformers would start such weights anew.

    Training is over then: an optimiser that goes on would fill the zeros. To train on with the masks kept, remove the
    hooks of before (``penalty.remove()``), give the masks back by ``sparsify(model, masks)``, and finalize again.

    Parameters
    ----------
    model : torch.nn.Module
        After :func:`sparsify`, or with a :class:`WeightScaling`, which is folded into the weight.
    masks : mapping of Tensor to Tensor of bool, optional
        Masks of stored parameters for which the optimiser and not the model has them, such as ``AdamS.masks``. These
        parameters are set to zero off the masks, before scales are folded.

    Returns
    -------
    MaskSet
        Masks of all weights that were made sparse here.

    Raises
    ------
    TypeError, ValueError
        If no weight is parametrised and no mask is given; if a mask is given for a tensor that is no parameter of the
        model, or has another shape or device, or does not hold bool; or if a sparse weight has a parametrisation of
        another kind, too. The model is as before then.

    Warns
    -----
    RuntimeWarning
        If schedules have not moved, as happens without a :class:`StepCounter`.

    Examples
    --------
    >>> from torch import nn
    >>> from sparsetheory.gpu.weights import sparsify
    >>> model = nn.Sequential(nn.Linear(8, 4))
    >>> _ = sparsify(model, "2:4")
    >>> finalize(model), list(model.state_dict())
    (MaskSet(1 masks, 16 of 32 entries kept), ['0.weight', '0.bias'])
    """
    _check_alone(model, (nn.Module,))
    if not masks and not any(_is_ours(one) for one in parametrised_weights(model)):
        if masks is not None:
            raise ValueError('masks must hold one at least; got none: AdamS needs a group with "sparse": True')
        raise ValueError(
            "model must have sparse weights to finalize; got none: it is plain already, or AdamS has the masks, as "
            "finalize(model, optimizer.masks) takes them"
        )
    found = _prune_stored(model, masks or {})
    found |= export(model, (nn.Module,))
    return MaskSet({name: found[name] for name, _ in model.named_parameters() if name in found})


def export(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, Tensor]:
    """Write the weights to ship of those that have a parametrisation of a kind; return the masks among them."""
    _check_alone(model, kinds)
    chosen = [
        one
        for one in parametrised_weights(model)
        if _is_ours(one) and any(isinstance(step, kinds) for step in one.steps)
    ]
    _warn_of_schedules(chosen)
    found: dict[str, Tensor] = {}
    for one in chosen:
        if one.masked is not None:
            found[one.name] = one.mask()
            one.masked.inspect(one.stored.detach())
        _write(one)
    return found


def _check_alone(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """Raise where a weight to be written has a parametrisation, too, of which nobody here knows what it ships."""
    for one in parametrised_weights(model):
        others = [step for step in one.steps if not isinstance(step, _OURS)]
        if others and any(isinstance(step, _OURS) and isinstance(step, kinds) for step in one.steps):
            raise ValueError(f"{one.name} must have no other parametrisation; got {type(others[0]).__name__}, too")


def _is_ours(one: Parametrised) -> bool:
    return all(isinstance(step, _OURS) for step in one.steps)


def _warn_of_schedules(weights: list[Parametrised]) -> None:
    """Warn of schedules that have not moved; called by what the user calls."""
    masked = [one.masked for one in weights if one.masked is not None]
    still = [one.weight_name for one in masked if one.scheduled and not one.step]
    if still:
        warnings.warn(
            f"schedules of {len(still)} weights are at step 0, such as that of {still[0]}: make "
            "StepCounter(optimizer, model) before training",
            RuntimeWarning,
            stacklevel=4,
        )


def _write(one: Parametrised) -> None:
    value, masked = one.deployed(), one.masked
    detach(one)
    with torch.no_grad():
        one.layer.get_parameter(one.leaf).copy_(value)
    if masked is not None:
        unfreeze(one.layer, masked)


def detach(one: Parametrised) -> None:
    """Take the parametrisations off a weight; the stored one is the parameter again."""
    parametrize.remove_parametrizations(one.layer, one.leaf, leave_parametrized=False)
    # Torch puts the parameter last; the order of an untouched layer is weight, bias.
    own = one.layer._parameters
    for leaf in [leaf for leaf in own if leaf != one.leaf]:
        own[leaf] = own.pop(leaf)


def unfreeze(layer: nn.Module, masked: MaskedWeight) -> None:
    """Train again what was frozen when a parametrisation was attached."""
    for leaf in masked.frozen_leaves:
        layer.get_parameter(leaf).requires_grad_(True)


@torch.no_grad()
def _prune_stored(model: nn.Module, masks: Mapping[Tensor, Tensor]) -> dict[str, Tensor]:
    """Set stored parameters to zero off their masks; return the masks under the names of the plain weights."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    require_masks("masks", masks, model.parameters(), owner="model")
    found = {}
    for parameter, mask in masks.items():
        parameter.masked_fill_(~mask, 0)
        name = names[id(parameter)].replace(".parametrizations.", ".").removesuffix(".original")
        found[name.removeprefix("parametrizations.")] = mask.clone()
    return found
