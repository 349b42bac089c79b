"""What operations do to channels: which axes they tie, and where channels lie afterwards."""

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from sparsetheory.gpu.kernels.channels.walk import Layout, Walk

__all__ = ["is_layer", "rule_of"]

Rule = Callable[[Walk, fx.Node], Layout | None]


def rule_of(walk: Walk, node: fx.Node) -> Rule | None:
    """Return the rule of an operation, None if it has none."""
    if node.op == "call_module":
        return _rule_of_module(walk.module(node))
    return _METHODS.get(str(node.target)) if node.op == "call_method" else _FUNCTIONS.get(node.target)


def is_layer(module: nn.Module) -> bool:
    """Return whether a module has a rule."""
    return _rule_of_module(module) is not None


def _rule_of_module(module: nn.Module) -> Rule | None:
    # A class that is derived from a known one may compute anything.
    kind = parametrize.type_before_parametrizations(module)
    return next((rule for kinds, rule in _MODULES if kind in kinds), None)


def _linear(walk: Walk, node: fx.Node) -> Layout | None:
    x, ndim = walk.layout(_first(node)), walk.value(node).ndim
    walk.need_axis(node, ndim - 1)
    columns = None if x is None else x.positions
    outputs = walk.produced(node, columns, walk.module(node).weight.shape[0], 1)
    return Layout(ndim - 1, outputs)


def _convolution(walk: Walk, node: fx.Node) -> Layout | None:
    module, x = walk.module(node), walk.layout(_first(node))
    axis = walk.value(node).ndim - len(module.kernel_size) - 1
    walk.need_axis(node, axis)
    columns = None if x is None else x.positions
    if module.groups == module.in_channels and module.groups > 1:
        outputs = walk.filtered(node, columns, module.out_channels // module.groups)
        return None if outputs is None else Layout(axis, outputs)
    return Layout(axis, walk.produced(node, columns, module.out_channels, module.groups))


def _normalised(axis_of: Callable[[int], int]) -> Rule:
    """Return the rule of operations with parameters for each channel; the axis depends on the number of axes."""

    def rule(walk: Walk, node: fx.Node) -> Layout | None:
        x, module = walk.layout(_first(node)), walk.module(node)
        if x is not None:
            walk.need_axis(node, axis_of(walk.value(node).ndim))
            if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) != 1:
                walk.refuse(node, "normalises over several axes")
        if not (isinstance(module, nn.PReLU) and module.num_parameters == 1):
            # Channels that cannot move count, too: another call of the module may see some that could.
            columns = None if x is None else x.positions
            walk.adjusted(node, columns, ("weight", "bias", "running_mean", "running_var"))
        return x

    return rule


def _spatial(walk: Walk, node: fx.Node) -> Layout | None:
    """Keep channels where an operation, such as pooling, runs along the axes behind them."""
    x = walk.layout(_first(node))
    if x is not None:
        if not isinstance(walk.value(node), Tensor):
            walk.refuse(node, "returns several tensors")
        # Pooling of two axes takes a tensor of three for one image, whose samples it pools the channels of.
        n_axes, kind = _n_spatial(walk, node), walk.value(node).ndim
        if kind < 3 or (n_axes is not None and kind != n_axes + 2):
            walk.refuse(node, "has no axis for samples")
        walk.need_axis(node, 1)
    return x


def _n_spatial(walk: Walk, node: fx.Node) -> int | None:
    """Return how many axes an operation runs along, as the last letters of its name tell: MaxPool2d, for example."""
    target = type(walk.module(node)).__name__ if node.op == "call_module" else _name(node.target)
    return int(target[-2]) if target[-2:] in ("1d", "2d", "3d") else None


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", target))


def _reduced(walk: Walk, node: fx.Node) -> Layout | None:
    """Keep channels where other axes are summed over."""
    x = walk.layout(_first(node))
    if x is None:
        return None
    ndim = walk.value(_first(node)).ndim
    given = walk.argument(node, 1, "dim", None)
    wanted = range(ndim) if given is None else [given] if isinstance(given, int) else given
    dims = {dim % ndim for dim in wanted}
    if x.axis in dims:
        walk.refuse(node, "sums over the channels")
    kept = walk.argument(node, 2, "keepdim", False)
    return x if kept else Layout(x.axis - sum(dim < x.axis for dim in dims), x.positions)


def _reshaped(walk: Walk, node: fx.Node) -> Layout | None:
    """Follow entries in memory order: axes before the channels may be merged, and those behind into the channels."""
    x = walk.layout(_first(node))
    if x is None:
        return None
    before, after = tuple(walk.value(_first(node)).shape), tuple(walk.value(node).shape)
    behind, repeats = before[x.axis + 1 :], int(np.prod(before[x.axis + 1 :]))
    found = None
    for axis, length in enumerate(after):
        # What lies before the channels is as much as before; so is what lies behind.
        if int(np.prod(after[:axis])) != int(np.prod(before[: x.axis])):
            continue
        if length == before[x.axis] and int(np.prod(after[axis + 1 :])) == repeats:
            found = Layout(axis, x.positions)
        elif length == before[x.axis] * repeats and axis == len(after) - 1 and behind:
            found = Layout(axis, walk.classes.see(np.repeat(x.positions, repeats)))
    if found is None:
        walk.refuse(node, "mixes the axis of the channels with others")
    return found


def _moved(walk: Walk, node: fx.Node) -> Layout | None:
    x = walk.layout(_first(node))
    if x is None:
        return None
    ndim = walk.value(_first(node)).ndim
    given: list[Any] = [*node.args[1:], *(value for name, value in node.kwargs.items() if name != "input")]
    order = list(range(ndim))
    if node.target in ("permute", torch.permute):
        dims = given[0] if len(given) == 1 else given
        order = [dim % ndim for dim in dims]
    else:
        a, b = (dim % ndim for dim in given)
        order[a], order[b] = b, a
    return Layout(order.index(x.axis), x.positions)


def _combined(walk: Walk, node: fx.Node) -> Layout | None:
    """Keep channels where entries are treated alike, and tie those of tensors that are added or multiplied."""
    return walk.tied(node, node.all_input_nodes)


def _joined(walk: Walk, node: fx.Node) -> Layout | None:
    """Put channels side by side, or tie them where tensors are joined along another axis."""
    parts: Any = node.args[0] if node.args else node.kwargs["tensors"]
    if isinstance(parts, fx.Node):
        if walk.layout(parts) is not None:
            walk.refuse(node, "joins parts that another operation returns together")
        return None
    layouts = [walk.layout(part) for part in parts]
    known = next((each for each in layouts if each is not None), None)
    if known is None:
        return None
    ndim = walk.value(node).ndim
    dim = int(walk.argument(node, 1, "dim", 0)) % ndim
    if dim != known.axis:
        return walk.tied(node, parts)
    pieces = []
    for part, layout in zip(parts, layouts, strict=True):
        if layout is not None and layout.axis != dim:
            walk.refuse(node, "joins channels of different axes")
        fixed = np.zeros(walk.value(part).shape[dim], dtype=np.int64)
        pieces.append(fixed if layout is None else layout.positions)
    return Layout(dim, walk.classes.see(np.concatenate(pieces)))


def _first(node: fx.Node) -> fx.Node:
    found = node.args[0] if node.args else node.kwargs.get("input", node.all_input_nodes[0])
    assert isinstance(found, fx.Node)
    return found


def _kinds(names: str) -> tuple[type[nn.Module], ...]:
    return tuple(getattr(nn, name) for name in names.split())


_MODULES: tuple[tuple[tuple[type[nn.Module], ...], Rule], ...] = (
    (
        _kinds(
            "ReLU ReLU6 Hardtanh LeakyReLU ELU SELU CELU GELU SiLU Mish Hardswish Hardsigmoid Sigmoid Tanh Softplus "
            "Softsign LogSigmoid Threshold Softmax LogSoftmax Identity Dropout Dropout1d Dropout2d Dropout3d "
            "AlphaDropout"
        ),
        _combined,
    ),
    (_kinds("Linear"), _linear),
    (_kinds("Conv1d Conv2d Conv3d"), _convolution),
    (_kinds("BatchNorm1d BatchNorm2d BatchNorm3d PReLU"), _normalised(lambda ndim: 1)),
    (_kinds("LayerNorm"), _normalised(lambda ndim: ndim - 1)),
    (
        _kinds(
            "MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d AdaptiveAvgPool1d "
            "AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d Upsample "
            "ZeroPad1d ZeroPad2d ZeroPad3d"
        ),
        _spatial,
    ),
    (_kinds("Flatten"), _reshaped),
)

_NAMES: tuple[tuple[str, Rule], ...] = (
    (
        "relu relu_ relu6 hardtanh leaky_relu elu gelu silu mish hardswish hardsigmoid sigmoid sigmoid_ tanh tanh_ "
        "softplus softmax log_softmax dropout dropout2d clamp clamp_ clamp_min clamp_max neg abs exp sqrt rsqrt square "
        "contiguous clone detach to float double half "
        "add add_ iadd sub sub_ isub mul mul_ imul truediv div div_ itruediv maximum minimum pow",
        _combined,
    ),
    ("cat concat concatenate", _joined),
    ("flatten view reshape", _reshaped),
    ("mean sum", _reduced),
    ("permute transpose", _moved),
    (
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
        "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate",
        _spatial,
    ),
)


def _found(names: Iterable[tuple[str, Rule]], *places: Any) -> dict[Any, Rule]:
    return {
        getattr(place, name): rule
        for each, rule in names
        for name in each.split()
        for place in places
        if hasattr(place, name)
    }


# Functions themselves, not their names: a function of the same name elsewhere may do anything.
_FUNCTIONS: dict[Any, Rule] = _found(_NAMES, torch, functional, operator)
_METHODS: dict[str, Rule] = {name: rule for names, rule in _NAMES for name in names.split() if hasattr(Tensor, name)}
