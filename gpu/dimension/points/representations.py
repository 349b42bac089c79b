"""Intrinsic dimension of what a layer of a network returns."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.recording import check_batches, run_batches
from sparsetheory.gpu.dimension.points.estimators import mle_dimension

__all__ = ["representation_dimension"]


def representation_dimension(
    model: nn.Module, layer: str, batches: Iterable[Any], *, estimator: Callable[[Tensor], float] = mle_dimension
) -> float:
    """Estimate the intrinsic dimension of the outputs of a layer, one point for each sample.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode and without gradients; its modes are restored, and nothing stays attached to it.
    layer : str
        Name of a module, as ``model.named_modules()`` gives it; any kind whose output is a tensor.
    batches : iterable
        What the model takes: a tensor, a tuple of positional arguments, or a mapping of keyword arguments. All outputs
        of the layer are in memory together.
    estimator : callable
        From points, one per row, to a dimension: :func:`mle_dimension`, :func:`twonn_dimension`, or one of these with
        other options by :func:`functools.partial`. Units that are off for many samples may make points coincide:
        ``duplicates="drop"`` allows it.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If `batches` is a single batch, or the output of the layer is no tensor.
    ValueError
        If the model has no such module, or does not call it.

    Notes
    -----
    The published bound of the test loss with the dimension of a representation is in N. Konz and M. A. Mazurowski, ICLR
    2024, arXiv:2401.08865.

    Examples
    --------
    Two inputs stay a surface, however wide the layer:

    >>> import torch
    >>> from sparsetheory.gpu.core.models import MLP
    >>> x = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> round(representation_dimension(MLP([2, 64, 3], activation="tanh"), "1", [x]))
    2
    """
    check_batches("batches", batches)
    modules = dict(model.named_modules())
    if layer not in modules:
        raise ValueError(f"layer must be the name of a module of the model; got {layer!r}")
    outputs: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise TypeError(f"layer must return a tensor; {layer!r} returns a {type(output).__name__}")
        if not output.ndim:
            raise TypeError(f"layer must return one row for each sample; {layer!r} returns a single number")
        outputs.append(output.detach().reshape(*output.shape, 1).flatten(1).clone())

    handle = modules[layer].register_forward_hook(keep)
    try:
        for _ in run_batches(model, batches):
            pass
    finally:
        handle.remove()
    if not outputs:
        raise ValueError(f"layer must be called by the model; {layer!r} was not, in any batch")
    return estimator(torch.cat(outputs))
