"""The graph of a network and the tensors that flow along it for an example."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.kernels.sparse_conv import SparseConv1x1

__all__ = ["arguments", "run_graph", "traced"]


def arguments(example: Any) -> tuple[Any, ...]:
    """Return what a model is called with: the tensor alone, or the members of a tuple."""
    return example if isinstance(example, tuple) else (example,)


class _Tracer(fx.Tracer):
    """Takes a sparse convolution for one operation, as those of torch are."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, SparseConv1x1) or super().is_leaf_module(m, module_qualified_name)


@contextmanager
def traced(model: nn.Module, advice: str = "ties can be written by hand") -> Iterator[fx.Graph]:
    """Yield the graph of a model; its calls name the modules of the model itself.

    Constants of the graph are attributes of the model meanwhile. The advice is for models that have no graph.

    Raises
    ------
    ValueError
        If torch.fx cannot trace it, as where control depends on the values of tensors.
    """
    before = set(vars(model))
    try:
        yield _graph(model, advice)
    finally:
        for name in set(vars(model)) - before:
            if name.startswith("_tensor_constant"):
                delattr(model, name)


def _graph(model: nn.Module, advice: str) -> fx.Graph:
    try:
        with in_mode(model, training=False):
            return _Tracer().trace(model)
    # The code of the model runs on stand-ins for tensors, so it may fail in any way.
    except Exception as error:
        raise ValueError(
            f"model must be traceable by torch.fx; got {type(model).__name__}: {error}; {advice}"
        ) from error


def run_graph(model: nn.Module, graph: fx.Graph, example: Any) -> dict[fx.Node, Any]:
    """Return what each node of a graph yields for an example, in evaluation mode and without gradients."""
    run = fx.Interpreter(model, garbage_collect_values=False, graph=graph)
    with in_mode(model, training=False), torch.no_grad():
        run.run(*(each.clone() if isinstance(each, Tensor) else each for each in arguments(example)))
    return run.env
