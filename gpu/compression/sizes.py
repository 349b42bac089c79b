"""Parameters, bytes and operations of a compressed model."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sparsetheory.gpu.compression.report import ModelSize
from sparsetheory.gpu.core.flops import count_flops
from sparsetheory.gpu.core.layers import as_weight, find_layers
from sparsetheory.gpu.core.report.storage import storage

__all__ = ["model_size"]


def model_size(model: nn.Module, batch: Any, masks: Mapping[str, Tensor]) -> ModelSize:
    """Return the size of a model in which some layers are stored in the smallest of their formats.

    Parameters
    ----------
    model : torch.nn.Module
    batch
        For which operations are counted.
    masks : mapping of str to Tensor of bool
        For each compressed layer what is kept, one row per output.

    Returns
    -------
    ModelSize
    """
    layers = find_layers(model, list(masks))
    shaped = {f"{name}.weight": as_weight(layer, masks[name]) for name, layer in layers.items()}
    counted = count_flops(model, batch, shaped)
    saved = 0
    for name, layer in layers.items():
        weight = layer.weight
        assert isinstance(weight, Tensor)
        # N:M groups of a convolution run along its channels, as rows are laid out.
        formats = storage(masks[name], weight.element_size())
        saved += int(formats.dense - min(formats.dense, formats.csr, formats.bitmap, formats.nm))
    return ModelSize(
        n_parameters=counted.n_parameters,
        n_nonzero=counted.n_nonzero,
        dense_bytes=counted.n_bytes,
        sparse_bytes=counted.n_bytes - saved,
        dense_flops=counted.flops,
        sparse_flops=counted.sparse_flops,
    )
