"""Finds which axes of the parameters of a network hold the same channels."""

from typing import Any

from torch import Tensor, fx, nn

from sparsetheory.gpu.kernels.channels.axes import ChannelTies
from sparsetheory.gpu.kernels.channels.rules import is_layer, rule_of
from sparsetheory.gpu.kernels.channels.tracing import run_graph, traced
from sparsetheory.gpu.kernels.channels.walk import Walk

__all__ = ["channel_ties"]

_SHAPES = ("size", "dim", "ndimension", "numel", "nelement", "is_contiguous", "is_floating_point", "get_device", "type")


def channel_ties(model: nn.Module, example: Any) -> tuple[ChannelTies, ...]:
    """Find the channels of a network that can be permuted, each set with all axes that hold it.

    The graph of the network is followed from its inputs to its outputs. Channels arise as the outputs of linear and
    convolutional layers. They are the inputs of the layers behind, lie along normalisations and depthwise convolutions
    in between, are tied where tensors are added or multiplied, lie side by side after a concatenation, and several
    times after a flattening. The inputs and outputs of the network stay as they are.

    Parameters
    ----------
    model : torch.nn.Module
        What torch.fx can trace. It is run once, in evaluation mode, and not changed.
    example : Tensor or tuple
        What the model is called with; a tuple holds several arguments. Shapes are taken from it, values do not matter.

    Returns
    -------
    tuple of ChannelTies
        In the order in which channels arise. Sets of a single channel are left out.

    Raises
    ------
    ValueError
        If the model cannot be traced; channels reach an operation that is not known here, such as a product of
        matrices or a slice; a parameter belongs to several modules, or is computed from others; a layer does not run in
        evaluation mode, such as an auxiliary head. The message names the node of the graph. A network that passes has
        no such place: nothing is permuted by guess.

    Notes
    -----
    Time is that of one run of the network on the example, and O(positions) for what is followed: 0.3 s for MobileNetV2.

    Known are linear and convolutional layers (with groups, too), BatchNorm, LayerNorm over the last axis, PReLU,
    operations entry by entry, softmax, pooling, interpolation, arithmetic of tensors, concatenation, flattening and
    reshaping in memory order, transposition, means and sums over other axes. A constant that differs from channel to
    channel, such as a parameter that is added, keeps its channels in place.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    >>> (ties,) = channel_ties(model, torch.zeros(1, 3, 5, 5))
    >>> ties.n_channels, [(axis.parameter, axis.axis) for axis in ties.axes][:3]
    (8, [('0.weight', 0), ('0.bias', 0), ('1.weight', 0)])
    >>> ties.axes[-1].parameter, ties.axes[-1].axis
    ('3.weight', 1)
    """
    with traced(model) as graph:
        _check_all_layers_run(model, graph)
        return _followed(model, graph, example).ties()


def _followed(model: nn.Module, graph: fx.Graph, example: Any) -> Walk:
    walk = Walk(model, run_graph(model, graph, example))
    # First of all, so that no layer takes what is read elsewhere, too.
    for node in graph.find_nodes(op="get_attr"):
        walk.read(node)
    for node in graph.nodes:
        if node.op == "output":
            walk.fix(node.all_input_nodes)
        else:
            walk.keep(node, None if node.op in ("placeholder", "get_attr") else _after(walk, node))
    return walk


def _check_all_layers_run(model: nn.Module, graph: fx.Graph) -> None:
    """Refuse a network with layers that may read channels in training alone, as auxiliary heads do."""
    used = {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}
    for name, module in model.named_modules():
        own = {name, *(f"{name}.{each}" for each in module._parameters)}
        inside = any(name.startswith(f"{each}.") for each in used)
        if name and is_layer(module) and module._parameters and not inside and own.isdisjoint(used):
            raise ValueError(
                f"model must run all its layers in evaluation mode, so that channels are followed to all of them; "
                f"got {name!r}, which does not run"
            )


def _after(walk: Walk, node: fx.Node) -> Any:
    """Return where channels lie behind an operation."""
    if not _holds_tensor(walk.value(node)):
        if not _asks_for_shape(node) and any(walk.layout(each) is not None for each in node.all_input_nodes):
            walk.refuse(node, "returns what is no tensor")
        return None
    rule = rule_of(walk, node)
    if rule is not None:
        return rule(walk, node)
    if any(walk.layout(each) is not None for each in node.all_input_nodes):
        walk.refuse(node, "is not known here")
    return None


def _asks_for_shape(node: fx.Node) -> bool:
    # An attribute that is no tensor, such as a shape, a type or a device, does not depend on channels.
    return node.target is getattr or (node.op == "call_method" and node.target in _SHAPES)


def _holds_tensor(value: Any) -> bool:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, Tensor) or any(map(_holds_tensor, members))
