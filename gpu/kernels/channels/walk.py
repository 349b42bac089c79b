"""The state of a walk along the graph of a network: where channels lie, and which axes of parameters hold them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.kernels.channels.axes import ChannelAxis, ChannelTies
from sparsetheory.gpu.kernels.channels.classes import Classes, Positions

__all__ = ["Layout", "Walk"]


_NUMPY_NAMES = {"dim": "axis", "keepdim": "keepdims"}


@dataclass(frozen=True, eq=False)
class Layout:
    """The axis of a tensor along which channels lie, and what is at each index of it.

    Parameters
    ----------
    axis : int
        Not negative.
    positions : ndarray of int64
    """

    axis: int
    positions: Positions


@dataclass(frozen=True, eq=False)
class _Use:
    """Channels along an axis of a parameter."""

    parameter: str
    axis: int
    positions: Positions
    rows: tuple[int, int] | None


class Walk:
    """What rules of operations read, and what they find.

    Parameters
    ----------
    model : torch.nn.Module
    values : mapping of Node to object
        What each node yields for an example.
    """

    def __init__(self, model: nn.Module, values: Mapping[fx.Node, Any]) -> None:
        self.classes = Classes()
        self._model, self._values = model, values
        self._layouts: dict[fx.Node, Layout | None] = {}
        self._uses: list[_Use] = []
        self._owners = _owners(model)
        self._columns: dict[str, Positions | None] = {}
        self._outputs: dict[str, Positions | None] = {}

    # What rules read.

    def module(self, node: fx.Node) -> Any:
        """Return the module that a node calls."""
        return self._model.get_submodule(str(node.target))

    def value(self, node: fx.Node) -> Any:
        """Return what a node yields for the example."""
        return self._values[node]

    def layout(self, node: fx.Node) -> Layout | None:
        """Return where channels lie in what a node yields; None if nothing in it may move."""
        return self._layouts[node]

    def argument(self, node: fx.Node, place: int, name: str, default: Any) -> Any:
        """Return an argument given by place or by name, or its default; torch takes NumPy's names, too."""
        if len(node.args) > place:
            return node.args[place]
        return node.kwargs.get(name, node.kwargs.get(_NUMPY_NAMES.get(name, name), default))

    def need_axis(self, node: fx.Node, axis: int) -> None:
        """Refuse a node whose first input has its channels along another axis."""
        first = node.all_input_nodes[0]
        layout = self.layout(first)
        if layout is not None and layout.axis != axis:
            self.refuse(node, f"needs channels along axis {axis}, which lie along axis {layout.axis}")

    def refuse(self, node: fx.Node, why: str) -> NoReturn:
        """Raise ValueError that names a node."""
        kind = f" ({type(self.module(node)).__name__})" if node.op == "call_module" else ""
        raise ValueError(
            f"model must consist of operations through which channels can be followed; got {node.name!r}, "
            f"{node.op} of {_words(node.target)}{kind}, which {why}"
        )

    # What rules find.

    def keep(self, node: fx.Node, layout: Layout | None) -> None:
        """Remember where channels lie in what a node yields."""
        if layout is not None:
            shape = tuple(self.value(node).shape)
            if layout.axis >= len(shape) or shape[layout.axis] != layout.positions.size:
                self.refuse(node, f"returns shape {shape}, without the channels at axis {layout.axis}")
        self._layouts[node] = layout

    def fix(self, nodes: Iterable[fx.Node]) -> None:
        """Demand that channels of what nodes yield stay where they are."""
        for node in nodes:
            layout = self.layout(node)
            if layout is not None:
                self.classes.fix(layout.positions)

    def read(self, node: fx.Node) -> None:
        """Remember a parameter that a node reads on its own."""
        value = self.value(node)
        if isinstance(value, Tensor):
            self._owners.append((f"node {node.name!r}", _memory(value)))

    def produced(self, node: fx.Node, columns: Positions | None, n_outputs: int, groups: int) -> Positions:
        """Use the weight and bias of a layer that mixes channels, within groups; return the outputs."""
        target = str(node.target)
        if self._seen_before(target, columns):
            found = self._outputs[target]
            assert found is not None
            return found
        height = n_outputs // groups
        parts = [self.classes.new(height, (target, group)) for group in range(groups)]
        outputs = self.classes.see(np.concatenate(parts))
        self._outputs[target] = outputs
        self._use(node, "weight", 0, outputs)
        self._use(node, "bias", 0, outputs)
        if columns is not None:
            for group, part in enumerate(np.split(columns, groups)):
                if groups > 1:
                    self.classes.mark(part, (target, "inputs", group))
                self._use(node, "weight", 1, part, (group * height, (group + 1) * height) if groups > 1 else None)
        return outputs

    def filtered(self, node: fx.Node, columns: Positions | None, multiplier: int) -> Positions | None:
        """Use the weight and bias of a layer that treats each channel alone; return the outputs."""
        target = str(node.target)
        if not self._seen_before(target, columns):
            outputs = None if columns is None else self.classes.see(np.repeat(columns, multiplier))
            self._outputs[target] = outputs
            if outputs is not None:
                self._use(node, "weight", 0, outputs)
                self._use(node, "bias", 0, outputs)
        return self._outputs[target]

    def adjusted(self, node: fx.Node, columns: Positions | None, names: Sequence[str]) -> None:
        """Use parameters and buffers with one entry for each channel."""
        if not self._seen_before(str(node.target), columns) and columns is not None:
            for name in names:
                self._use(node, name, 0, columns)

    def tied(self, node: fx.Node, operands: Sequence[fx.Node]) -> Layout | None:
        """Demand that the channels of operands, which are broadcast, agree."""
        shape = tuple(self.value(node).shape)
        found: Layout | None = None
        tensors = [each for each in operands if isinstance(self.value(each), Tensor)]
        for each in tensors:
            layout = self.layout(each)
            if layout is None or (layout.positions.size == 1):
                continue
            here = Layout(layout.axis + len(shape) - self.value(each).ndim, layout.positions)
            if found is None:
                found = here
            elif here.axis != found.axis:
                self.refuse(node, f"joins channels along axes {found.axis} and {here.axis}")
            else:
                self.classes.tie(found.positions, here.positions)
        if found is not None:
            for each in tensors:
                own = self.value(each).shape
                place = found.axis - len(shape) + len(own)
                # A tensor with one entry along the axis treats all channels alike.
                if self.layout(each) is None and place >= 0 and own[place] > 1:
                    self.classes.fix(found.positions)
        return found

    def ties(self) -> tuple[ChannelTies, ...]:
        """Return the sets of channels with the axes that hold them."""
        roots, found = self.classes.roots(), []
        for chosen in self.classes.sets():
            axes = []
            for use in self._uses:
                places = _places(roots[use.positions], chosen)
                if places is not None:
                    axes.append(ChannelAxis(use.parameter, use.axis, places, use.rows))
            found.append(ChannelTies(len(chosen), tuple(axes)))
        return tuple(found)

    def _seen_before(self, target: str, columns: Positions | None) -> bool:
        """Return whether a module was called already; its inputs are tied to those of that call then."""
        if target not in self._columns:
            self._columns[target] = columns
            return False
        before = self._columns[target]
        if before is not None and columns is not None:
            self.classes.tie(before, columns)
        for one, other in ((before, columns), (columns, before)):
            if one is None and other is not None:
                self.classes.fix(other)
        return True

    def _use(
        self, node: fx.Node, name: str, axis: int, positions: Positions, rows: tuple[int, int] | None = None
    ) -> None:
        module, target = self.module(node), str(node.target)
        computed = parametrize.is_parametrized(module, name) or (
            name not in module._parameters and name not in module._buffers
        )
        tensor = getattr(module, name, None)
        if tensor is None:
            return
        if computed:
            self.refuse(node, f"computes its {name} from other tensors")
        own = _memory(tensor)
        others = [owner for owner, memory in self._owners if owner != f"{target}.{name}" and _overlap(own, memory)]
        if others:
            self.refuse(node, f"shares its {name} with {', '.join(others)}")
        self._uses.append(_Use(f"{target}.{name}", axis, self.classes.see(positions), rows))


def _owners(model: nn.Module) -> list[tuple[str, range]]:
    """Return the names of all parameters and buffers, and where they lie; a module that occurs twice has one name."""
    return [
        (f"{module_name}.{name}" if module_name else name, _memory(tensor))
        for module_name, module in model.named_modules()
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None
    ]


def _memory(tensor: Tensor) -> range:
    """Return the addresses from the first to the last entry: two parameters may be views of the same numbers."""
    if not tensor.numel():
        return range(0)
    last = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return range(tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size())


def _overlap(a: range, b: range) -> bool:
    return bool(a and b) and a.start < b.stop and b.start < a.stop


def _places(roots: Positions, chosen: Positions) -> Tensor | None:
    """Return the indices at which each class lies, in ascending order; None if it does not lie there."""
    inside = np.flatnonzero(np.isin(roots, chosen))
    if not inside.size:
        return None
    ordered = inside[np.argsort(roots[inside], kind="stable")]
    return torch.from_numpy(ordered.reshape(len(chosen), -1))


def _words(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", repr(target))
