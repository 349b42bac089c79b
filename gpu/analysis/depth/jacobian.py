"""The mean Jacobian of a layer: how far it is from letting its input pass."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.analysis.depth.blocks import hidden_input, hidden_output, one_block
from sparsetheory.gpu.analysis.depth.residual_stream import LayerCall, Mask, observe_stream
from sparsetheory.gpu.core.modes import in_mode

__all__ = ["jacobian_of_call", "mean_jacobian"]


def mean_jacobian(model: nn.Module, i: int | str, batch: Any, mask: Mask | None = None) -> Tensor:
    """Return the mean derivative of the outputs of a layer by its inputs.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode; its mode is restored.
    i : int or str
        Number of the layer among :func:`residual_layers`, or its name.
    batch
        What the model takes.
    mask : callable, optional
        From a batch to the tensor that is not zero where a token counts; by default the attention mask of a mapping.

    Returns
    -------
    Tensor of float64 of shape (width, width)
        Row o is the derivative of output o, summed over the tokens that count, by the inputs of a token, averaged over
        the tokens that count. A linear layer gives its weight.

    Notes
    -----
    One backward pass through the layer for each of its outputs.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> torch.allclose(mean_jacobian(model, 1, torch.ones(3, 2)).float(), model[1].weight)
    True
    """
    layer = one_block(model, i)
    calls: list[LayerCall] = []
    observe_stream(model, {str(i): layer}, batch, lambda _, call: calls.append(call), mask)
    with in_mode(model, training=False):
        return jacobian_of_call(layer, calls[0])


def jacobian_of_call(layer: nn.Module, call: LayerCall) -> Tensor:
    """Return the mean Jacobian of a layer, in the mode that it is in, at the call that is given."""
    entered = hidden_input(call.args, call.kwargs)
    with torch.enable_grad():
        x = entered.detach().clone().requires_grad_()
        first = next(iter(call.kwargs), "") if not call.args else ""
        kwargs = {name: x if name == first else value for name, value in call.kwargs.items()}
        output = hidden_output(layer(*((x, *call.args[1:]) if call.args else ()), **kwargs))
        rows = torch.ones(x.shape[:-1], device=x.device) if call.rows is None else call.rows.to(x.device) != 0
        counts = rows.reshape(*x.shape[:-1], 1).to(x)
        sums = (output * counts).reshape(-1, x.shape[-1]).sum(0)
        width, n_tokens = x.shape[-1], float(counts.sum())
        jacobian = torch.empty(width, width, dtype=torch.float64, device=x.device)
        for row in range(width):
            (slope,) = torch.autograd.grad(sums[row], x, retain_graph=row + 1 < width, materialize_grads=True)
            jacobian[row] = (slope * counts).reshape(-1, width).double().sum(0) / n_tokens
    return jacobian
