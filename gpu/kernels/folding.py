"""What follows a layer in the graph of a network and can be computed with it: normalisation and clamp."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["Tail", "folded", "tails"]


@dataclass(frozen=True)
class Tail:
    """What follows one layer alone.

    Parameters
    ----------
    norm, clamp : str or None
        Names of a BatchNorm2d, and of an activation that clamps.
    lower, upper : float
        The bounds of the clamp.
    """

    norm: str | None = None
    clamp: str | None = None
    lower: float = -np.inf
    upper: float = np.inf

    @property
    def names(self) -> tuple[str, ...]:
        """The modules, in the order in which they run."""
        return tuple(name for name in (self.norm, self.clamp) if name is not None)


def tails(model: nn.Module, graph: fx.Graph, layers: Collection[str]) -> dict[str, Tail]:
    """Return what follows each of some layers: a BatchNorm2d with statistics, then ReLU, ReLU6 or Hardtanh, or one.

    A module counts only if the graph calls it once, with what the one before it yields, which nobody else reads. Behind
    a linear layer no normalisation counts.
    """
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    found = dict.fromkeys(layers, Tail())
    for node in graph.nodes:
        name = str(node.target)
        if node.op != "call_module" or name not in found or calls[name] != 1:
            continue
        tail, after = Tail(), _only_reader(node, calls)
        module = model.get_submodule(str(after.target)) if after else None
        convolves = isinstance(model.get_submodule(name), nn.Conv2d)
        if after and convolves and isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            tail, after = replace(tail, norm=str(after.target)), _only_reader(after, calls)
            module = model.get_submodule(str(after.target)) if after else None
        bounds = _bounds(module)
        if after and bounds:
            tail = replace(tail, clamp=str(after.target), lower=bounds[0], upper=bounds[1])
        found[name] = tail
    return found


def folded(layer: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor | None]:
    """Return the weight and bias of a convolution with the normalisation behind it, in evaluation mode.

    ``(W x + c - mean) / sqrt(var + eps) * gamma + beta`` is linear in x: rows of W are scaled, and zeros stay zeros.
    """
    if norm is None:
        return layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        weight, bias = fuse_conv_bn_weights(
            layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
    return weight.detach(), bias.detach()


def _only_reader(node: fx.Node, calls: Counter[str]) -> fx.Node | None:
    """Return the call of a module that alone reads what a node yields, as its only argument."""
    if len(node.users) != 1:
        return None
    reader = next(iter(node.users))
    once = reader.op == "call_module" and calls[str(reader.target)] == 1
    return reader if once and reader.args == (node,) and not reader.kwargs else None


def _bounds(module: nn.Module | None) -> tuple[float, float] | None:
    # Not what a user derives from them: it may compute in its own way.
    if isinstance(module, nn.Hardtanh) and type(module) in (nn.Hardtanh, nn.ReLU6):
        return float(module.min_val), float(module.max_val)
    return (0.0, np.inf) if type(module) is nn.ReLU else None
