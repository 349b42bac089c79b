"""Seconds that the kernels of torch take with a weight, dense and in CSR, beside what operations promise."""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.core.layers import is_matrix, weight_name, weight_rows
from sparsetheory.gpu.core.recording import observing, run_batches

__all__ = ["kernel_seconds"]

# Long enough for a median of several runs; the time of one layer is twice this.
_SECONDS = 0.01


def kernel_seconds(model: nn.Module, batch: Any, names: Iterable[str]) -> dict[str, tuple[float, float | None]]:
    """Measure the products of layers with their inputs of one batch, each the median of several runs.

    Layers are measured while the model runs, so that the input of no other one is held.

    Parameters
    ----------
    model : torch.nn.Module
    batch
        What the model takes.
    names : iterable of str
        Weights, as ``"layer.weight"``; those of other layers than linear and convolutional ones are left out.

    Returns
    -------
    dict of str to (float, float or None)
        Seconds of the layer as it is, and of the product of its weight in CSR with its inputs: None for convolutions,
        for which torch has no such kernel, and where the precision has none on the device.
    """
    places = [name.rpartition(".") for name in names]
    layers = {layer: model.get_submodule(layer) for layer, _, leaf in places if leaf == "weight"}
    found: dict[str, tuple[float, float | None]] = {}

    def observe(name: str, layer: nn.Module, x: Tensor) -> None:
        weight = weight_name(name)
        if weight not in found:
            # Its place is taken first: the layer runs while it is measured, which leads here again.
            found[weight] = (0.0, None)
            found[weight] = _layer_seconds(layer, x)

    with observing({name: layer for name, layer in layers.items() if is_matrix(layer)}, observe):
        next(run_batches(model, [batch]))
    return found


def _layer_seconds(layer: nn.Module, x: Tensor) -> tuple[float, float | None]:
    if isinstance(layer, nn.Conv2d):
        return _seconds("layer(x)", layer=layer, x=x), None
    weight, rows = weight_rows(layer), x.reshape(-1, x.shape[-1])
    dense = _seconds("functional.linear(rows, weight)", rows=rows, weight=weight)
    if rows.device.type == "cpu" and not torch.backends.mkl.is_available():
        return dense, None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        sparse = weight.to_sparse_csr()
    try:
        return dense, _seconds("sparse @ columns", sparse=sparse, columns=rows.T)
    except NotImplementedError:
        return dense, None


def _seconds(statement: str, **names: Any) -> float:
    # Compilers of torch come with it, half a second.
    from torch.utils.benchmark import Timer

    timer = Timer(
        f"with torch.no_grad(): {statement}",
        globals={"torch": torch, "functional": functional, **names},
        num_threads=torch.get_num_threads(),
    )
    return float(timer.blocked_autorange(min_run_time=_SECONDS).median)
