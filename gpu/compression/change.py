"""How far the outputs of two models are apart on the same data."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.recording import attention_mask, run_batches

__all__ = ["OutputChange", "output_change", "output_tensor"]


@dataclass(frozen=True)
class OutputChange:
    """Difference of the outputs of two models, over all rows that count.

    Parameters
    ----------
    relative_error : float
        Sum of the squared differences, relative to the squares of the outputs of the first model.
    mean_cosine : float
        Mean cosine of the two outputs of a row.
    """

    relative_error: float
    mean_cosine: float


def output_tensor(output: Any) -> Tensor:
    """Return the tensor that a model is judged by: logits, else the last hidden state, else the first tensor."""
    for name in ("logits", "last_hidden_state"):
        found = getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    first = output[0] if isinstance(output, tuple | list) else output
    if not isinstance(first, Tensor):
        raise TypeError(
            f"model must return a tensor, a tuple, or an output of transformers; got {type(output).__name__}"
        )
    return first


def output_change(
    dense: nn.Module,
    model: nn.Module,
    batches: Iterable[Any],
    mask: Callable[[Any], Tensor | None] | None = None,
) -> OutputChange:
    """Compare a model with its dense original.

    Parameters
    ----------
    dense, model : torch.nn.Module
    batches : iterable
        As :func:`sparsetheory.gpu.core.collect_grams` takes them.
    mask : callable, optional
        From a batch to what is not zero where a token counts; the attention mask by default.

    Returns
    -------
    OutputChange
        NaN where there is no row.
    """
    squares = torch.zeros(2, dtype=torch.float64)
    cosines, rows = 0.0, 0
    for batch in batches:
        (before,), (after,) = (run_batches(each, [batch]) for each in (dense, model))
        old, new = (_counted(output_tensor(each), (mask or attention_mask)(batch)) for each in (before, after))
        squares += torch.stack([(old - new).square().sum(), old.square().sum()]).cpu()
        cosines += float(torch.nn.functional.cosine_similarity(old, new, dim=1).sum())
        rows += len(old)
    if rows == 0:
        return OutputChange(float("nan"), float("nan"))
    return OutputChange(float(squares[0] / squares[1]), cosines / rows)


def _counted(output: Tensor, kept: Tensor | None) -> Tensor:
    if kept is not None and kept.shape == output.shape[:-1]:
        output = output[kept.to(output.device) != 0]
    return output.reshape(-1, output.shape[-1]).to(torch.float64)
