"""Pruned networks with layers that skip zeros in the place of dense ones."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.constraints import FLAG
from sparsetheory.gpu.core.layers import find_layers
from sparsetheory.gpu.kernels.channels.tracing import traced
from sparsetheory.gpu.kernels.conversion import is_convolution
from sparsetheory.gpu.kernels.folding import Tail, folded, tails
from sparsetheory.gpu.kernels.packed_linear import PackedLinear
from sparsetheory.gpu.kernels.sparse_conv import SparseConv1x1

__all__ = ["DeployedLayer", "Deployment", "deploy"]


@dataclass(frozen=True)
class DeployedLayer:
    """One layer that was replaced.

    Parameters
    ----------
    name : str
    density : float
        Share of the dense weight that is multiplied; in blocks of four, zeros beside other weights count.
    block : int
        Rows that share their columns, 1 or 4.
    n_bytes, dense_bytes : int
        Memory for weights, positions and bias, and for the weights and bias of the dense layer.
    folded : tuple of str
        Modules behind the layer that are computed with it.
    falls_back : bool or None
        Whether the product stays dense, since the density is above the break-even; None if that is measured.
    """

    name: str
    density: float
    block: int
    n_bytes: int
    dense_bytes: int
    folded: tuple[str, ...]
    falls_back: bool | None


@dataclass(frozen=True, eq=False)
class Deployment:
    """A network that skips zeros, and what was replaced in it.

    Parameters
    ----------
    model : torch.nn.Module
        For inference: call it under ``torch.inference_mode()``.
    layers : tuple of DeployedLayer
        In the order of the model.
    """

    model: nn.Module
    layers: tuple[DeployedLayer, ...]


def deploy(
    model: nn.Module,
    layers: str | Sequence[str] | None = None,
    *,
    block: Any = "auto",
    fold: bool = True,
    break_even: Any = "measured",
    in_place: bool = False,
) -> Deployment:
    """Replace pruned convolutions of size 1 x 1 by :class:`SparseConv1x1`, and linear layers by :class:`PackedLinear`.

    What a weight keeps is what is not zero in it, so prune before, for example with
    :func:`sparsetheory.gpu.weights.prune_model_layerwise` and the pattern ``RowBlock(4, density)``.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    layers : str or sequence of str, optional
        Names or shell patterns; by default all linear layers and all convolutions of size 1 x 1 and stride 1, without
        groups and padding, that have a zero weight.
    block : "auto", 1 or 4
        Rows that share their columns, as :meth:`SparseConv1x1.from_dense` takes it.
    fold : bool
        Whether a BatchNorm2d behind a layer goes into its weights and bias, and a ReLU, ReLU6 or Hardtanh into its
        clamp. That is done where the graph shows that nobody else reads what lies between; such modules become
        identities.
    break_even : float or "measured"
        Density above which a product stays dense, as :class:`SparseConv1x1` takes it. By default both ways are timed on
        the machine that runs the model, at the first input, once for each class of shapes and, for linear layers, of
        sizes of the batch; a number asks no clock.
    in_place : bool
        Whether `model` itself is changed, and not a copy.

    Returns
    -------
    Deployment
        Outputs are those of `model` up to rounding.

    Raises
    ------
    ValueError
        If `model` is in training mode; a layer of `layers` is none as above, or its weight is computed by a
        parametrisation; or, for folding, torch.fx cannot trace the model. Nothing has been changed then.

    Warns
    -----
    RuntimeWarning
        If there is nothing to replace.

    Notes
    -----
    Hooks of modules that are replaced are lost. The number of bytes of a sparse weight is
    ``4 nnz (1 + 1 / block)`` in single precision, and 4 for each row or block.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.core import RowBlock
    >>> from sparsetheory.gpu.kernels import deploy
    >>> model = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()).eval()
    >>> model[0].weight.data = RowBlock(4, 0.25).project(model[0].weight.data)
    >>> deployed = deploy(model)
    >>> [(layer.name, layer.density, layer.block, layer.folded) for layer in deployed.layers]
    [('0', 0.25, 4, ('1', '2'))]
    >>> x = torch.randn(1, 16, 5, 5)
    >>> with torch.inference_mode():
    ...     print(torch.allclose(deployed.model(x), model(x), atol=1e-5))
    True
    """
    FLAG.require(fold=fold, in_place=in_place)
    names = _chosen(model, layers)
    if not names:
        warnings.warn(
            "no linear layer and no convolution of size 1 x 1 has a zero weight: prune before",
            RuntimeWarning,
            stacklevel=2,
        )
    after = _tails(model, names) if fold else dict.fromkeys(names, Tail())
    _check_mode(model, after)
    made = {
        name: _sparse(model.get_submodule(name), model, after[name], block=block, break_even=break_even)
        for name in names
    }
    report = tuple(_described(name, model.get_submodule(name), made[name], after[name]) for name in names)
    target = model if in_place else copy.deepcopy(model)
    for name in names:
        _replace(target, name, made[name])
        for behind in after[name].names:
            _replace(target, behind, nn.Identity().eval())
    return Deployment(target, report)


def _chosen(model: nn.Module, layers: str | Sequence[str] | None) -> tuple[str, ...]:
    found = find_layers(model) if layers is None else find_layers(model, layers)
    computed = [name for name, each in found.items() if parametrize.is_parametrized(each, "weight")]
    if computed:
        raise ValueError(f"model must have plain weights; {computed[0]} computes its own, call finalize before")
    if layers is None:
        found = {name: each for name, each in found.items() if _is_replaceable(each) and bool((each.weight == 0).any())}
    for name, each in found.items():
        if not _is_replaceable(each):
            raise ValueError(
                "layers must be linear, or convolutions of size 1 x 1 and stride 1, without groups and padding; got "
                f"{name}: {each}"
            )
    if "" in found:
        raise ValueError("model must hold its layers inside; got a single layer, put it into a torch.nn.Sequential")
    return tuple(found)


def _tails(model: nn.Module, names: Sequence[str]) -> dict[str, Tail]:
    with traced(model, "fold=False deploys it without its graph") as graph:
        return tails(model, graph, names)


def _check_mode(model: nn.Module, after: Mapping[str, Tail]) -> None:
    norms = [model.get_submodule(tail.norm) for tail in after.values() if tail.norm is not None]
    # Containers that other tools make may have any mode.
    if any(module.training for module in (model, *norms)):
        raise ValueError("model must be in evaluation mode; got training mode, call model.eval()")


def _is_replaceable(layer: nn.Module) -> TypeGuard[nn.Conv2d | nn.Linear]:
    # Not those derived from nn.Linear: they may compute in their own way, or be read and not called.
    return type(layer) is nn.Linear or (
        is_convolution(layer)
        and (layer.kernel_size, layer.stride, layer.groups) == ((1, 1), (1, 1), 1)
        and layer.padding in ((0, 0), "valid", "same")
    )


def _sparse(layer: nn.Module, model: nn.Module, tail: Tail, **options: Any) -> SparseConv1x1:
    if isinstance(layer, nn.Linear):
        packed = PackedLinear.from_dense(layer, lower=tail.lower, upper=tail.upper, **options)
        return packed.eval()
    assert isinstance(layer, nn.Conv2d)
    norm = None if tail.norm is None else model.get_submodule(tail.norm)
    assert norm is None or isinstance(norm, nn.BatchNorm2d)
    weight, bias = folded(layer, norm)
    mask = layer.weight.detach() != 0
    made = SparseConv1x1.from_dense(weight, mask, bias=bias, lower=tail.lower, upper=tail.upper, **options)
    return made.eval()


def _described(name: str, layer: nn.Module, made: SparseConv1x1, tail: Tail) -> DeployedLayer:
    falls_back = None if made.break_even == "measured" else made.density > made.break_even
    return DeployedLayer(
        name=name,
        density=made.density,
        block=made.block,
        n_bytes=sum(buffer.nbytes for buffer in made.buffers()),
        dense_bytes=sum(parameter.nbytes for parameter in layer.parameters(recurse=False)),
        folded=tail.names,
        falls_back=falls_back,
    )


def _replace(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in the place of another, under all names that it has."""
    old = model.get_submodule(name)
    places = [place for place, module in model.named_modules(remove_duplicate=False) if module is old]
    for place in places:
        parent, _, child = place.rpartition(".")
        setattr(model.get_submodule(parent), child, new)
